// SPDX-License-Identifier: GPL-2.0-only
//! The rules of a configuration, in their order.

use super::rule::Rule;
use super::rule_index::RuleIndex;

/// A whole and valid configuration.
#[derive(Debug)]
pub struct Config {
    /// Defaults, rules, flags: later ones win.
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: RuleIndex,
}

impl Config {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self {
            index: RuleIndex::new(&rules),
            rules,
        }
    }

    /// With one rule more, which comes last.
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        Self::new(self.rules)
    }

    /// With these rules behind the first `kept`.
    pub(crate) fn rebuilt(&mut self, kept: usize, rules: impl IntoIterator<Item = Rule>) {
        self.rules.truncate(kept);
        self.rules.extend(rules);
        self.index = RuleIndex::new(&self.rules);
    }

    /// Defaults, rules and flags, in the order in which they count.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}
