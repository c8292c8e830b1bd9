// SPDX-License-Identifier: GPL-2.0-only
//! What holds for a VM, and why.

use std::borrow::Borrow;

use super::config::Config;
use super::finding::{Place, Warning};
use super::matching::{Field, VmFacts};
use super::rule::Rule;
use super::rule_index::{Hits, RuleId};
use super::settings::{Key, Settings};

/// The settings of a VM, each with where it was set.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    pub settings: Settings,
    /// By [`Key`]: the rule that won, and with which key.
    from: [Option<(RuleId, Key)>; Key::ALL.len()],
    rules: &'a [Rule],
}

impl Explained<'_> {
    /// Where `key` was set. None: nowhere.
    pub fn origin(&self, key: Key) -> Option<Place> {
        let (rule, key) = self.from[key as usize]?;
        Some(self.rules[rule as usize].place_of(key))
    }
}

impl Config {
    /// What holds for a VM: the last of `[defaults]`, rules and flags that sets it.
    ///
    /// Rules may together ask for a `slice_min` above the `slice`: then `slice` holds
    /// for both, and [`Config::warnings_for`] says so.
    pub fn settings_for(&self, vm: &VmFacts) -> Settings {
        self.explain(vm).settings
    }

    /// As [`Config::settings_for`], with where each value was set.
    pub fn explain(&self, vm: &VmFacts) -> Explained<'_> {
        let hits = self.index.hits(vm);
        self.resolve(&self.index.matching(&self.rules, vm, &hits))
    }

    /// The settings of a VM of which no more is known than its number of vCPUs: those of the
    /// rules that hold for every such VM.
    pub fn settings_for_any(&self, vcpus: u32) -> Settings {
        let rules = (0..).zip(&self.rules);
        let found: Vec<RuleId> = rules
            .filter(|(_, rule)| rule.matches.holds_for_any(vcpus))
            .map(|(id, _)| id)
            .collect();
        self.resolve(&found).settings
    }

    fn resolve(&self, found: &[RuleId]) -> Explained<'_> {
        let mut explained = self.merge(found);
        if explained.settings.is_contradictory() {
            explained.settings.slice_min_ns = explained.settings.slice_ns;
            explained.from[Key::slice_min as usize] = explained.from[Key::slice as usize];
        }
        explained
    }

    /// From the last to the first, so that what is set stays.
    fn merge(&self, found: &[RuleId]) -> Explained<'_> {
        let mut explained = Explained {
            settings: Settings::default(),
            from: [None; Key::ALL.len()],
            rules: &self.rules,
        };
        for id in found.iter().rev() {
            let rule = &self.rules[*id as usize];
            let Explained { settings, from, .. } = &mut explained;
            settings.fill(&rule.settings, |key| from[key as usize] = Some((*id, key)));
        }
        explained
    }

    /// What is hardly meant, given the VMs that there are: globs and rules that match
    /// none of them, and rules that contradict each other for one.
    pub fn warnings_for<V: Borrow<VmFacts>>(&self, vms: &[V]) -> Vec<Warning> {
        let mut seen = Seen::new(self);
        let mut contradictions = vec![];
        for vm in vms.iter().map(V::borrow) {
            let hits = self.index.hits(vm);
            let found = self.index.matching(&self.rules, vm, &hits);
            seen.note(&hits, &found);
            let explained = self.merge(&found);
            if explained.settings.is_contradictory() {
                contradictions.push(contradiction(vm, &explained));
            }
        }
        let rules = (0..).zip(&self.rules);
        let unseen = rules.filter_map(|(id, rule)| seen.missing(self, id, rule));
        unseen.flatten().chain(contradictions).collect()
    }
}

/// What has matched some VM.
struct Seen {
    rules: Vec<bool>,
    /// By [`Field`] and glob.
    globs: [Vec<bool>; 3],
}

impl Seen {
    fn new(config: &Config) -> Self {
        Self {
            rules: vec![false; config.rules.len()],
            globs: Field::ALL.map(|field| vec![false; config.index.globs_of(field)]),
        }
    }

    fn note(&mut self, hits: &Hits, found: &[RuleId]) {
        for rule in found {
            self.rules[*rule as usize] = true;
        }
        for (seen, hits) in self.globs.iter_mut().zip(hits) {
            for glob in hits {
                seen[*glob as usize] = true;
            }
        }
    }

    /// Warnings of the rule's globs that match nothing, or else of the rule.
    fn missing(&self, config: &Config, id: RuleId, rule: &Rule) -> Option<Vec<Warning>> {
        let globs = Field::ALL.into_iter().flat_map(|field| {
            let globs = &rule.matches.globs[field as usize];
            let wanted = config.index.wanted(id as usize, field);
            let unseen = move |id: u32| !self.globs[field as usize][id as usize];
            let pairs = wanted.iter().zip(globs);
            pairs
                .filter(move |(id, _)| unseen(**id))
                .map(move |(_, glob)| Warning {
                    place: rule.at(glob.position),
                    text: format!("no VM's {} matches {:?}", field.as_str(), glob.as_str()),
                })
        });
        let mut warnings: Vec<_> = globs.collect();
        // Defaults need no VM.
        if warnings.is_empty() && !self.rules[id as usize] && !rule.matches.is_for_all() {
            warnings.push(Warning {
                place: rule.place(),
                text: "the rule matches no VM".into(),
            });
        }
        (!warnings.is_empty()).then_some(warnings)
    }
}

impl Config {
    /// What rules together ask for that cannot be had, for one VM.
    pub(super) fn contradiction_for(&self, vm: &VmFacts) -> Option<Warning> {
        let hits = self.index.hits(vm);
        let explained = self.merge(&self.index.matching(&self.rules, vm, &hits));
        let is = explained.settings.is_contradictory();
        is.then(|| contradiction(vm, &explained))
    }
}

fn contradiction(vm: &VmFacts, explained: &Explained<'_>) -> Warning {
    let place = |key| explained.origin(key).expect("set by some rule");
    let written = |key| explained.settings.written(key).unwrap_or_default();
    let (min, max) = (written(Key::slice_min), written(Key::slice));
    Warning {
        place: place(Key::slice_min),
        text: format!(
            "for {:?}, slice_min = {min:?} is longer than slice = {max:?} ({}); it gets {max:?} for both",
            vm.name,
            place(Key::slice),
        ),
    }
}
