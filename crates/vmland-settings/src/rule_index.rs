// SPDX-License-Identifier: GPL-2.0-only
//! Which rules are for a VM, without looking at each.
//!
//! A VM's name, UUID and cgroup are each looked up once in a [`GlobIndex`] of all
//! globs of that kind. A rule with globs of several kinds is looked at only where
//! its most selective kind matches: the one whose globs are shared with the fewest
//! rules. Rules without globs are looked at for every VM.
//!
//! With R rules of bounded length and V VMs: built in O(R); all VMs together take
//! O(V × (length of their texts + rules looked at)). What remains quadratic is what
//! is quadratic in its result: rules that all match all VMs.

use std::collections::HashMap;

use super::glob_index::{GlobId, GlobIndex};
use super::matching::{Field, VmFacts};
use super::rule::Rule;

/// Place of a rule in the list that the index was built from.
pub(super) type RuleId = u32;

#[derive(Debug)]
pub(super) struct RuleIndex {
    /// By [`Field`].
    globs: [GlobIndex; 3],
    /// By [`Field`] and glob: the rules to look at where it matches.
    behind: [Vec<Vec<RuleId>>; 3],
    /// Rules to look at for every VM.
    always: Vec<RuleId>,
    /// By rule and [`Field`]: its globs.
    wanted: Vec<[Box<[GlobId]>; 3]>,
}

/// By [`Field`]: the globs that match a VM, ascending.
pub(super) type Hits = [Vec<GlobId>; 3];

impl RuleIndex {
    pub fn new(rules: &[Rule]) -> Self {
        let mut wanted: Vec<[Box<[GlobId]>; 3]> =
            rules.iter().map(|_| Default::default()).collect();
        let mut users: [Vec<usize>; 3] = Default::default();
        let globs = Field::ALL.map(|field| {
            let field = field as usize;
            let mut ids: HashMap<&str, GlobId> = HashMap::new();
            let mut globs = vec![];
            for (rule, wanted) in rules.iter().zip(&mut wanted) {
                wanted[field] = rule.matches.globs[field]
                    .iter()
                    .map(|glob| {
                        let id = *ids.entry(glob.as_str()).or_insert_with(|| {
                            globs.push(glob);
                            users[field].push(0);
                            (globs.len() - 1) as GlobId
                        });
                        users[field][id as usize] += 1;
                        id
                    })
                    .collect();
            }
            GlobIndex::new(&globs)
        });

        let mut behind = users.each_ref().map(|users| vec![vec![]; users.len()]);
        let mut always = vec![];
        for (rule, wanted) in (0..).zip(&wanted) {
            let shared = |field: &usize| {
                wanted[*field]
                    .iter()
                    .map(|id| users[*field][*id as usize])
                    .sum::<usize>()
            };
            let fields = (0..Field::ALL.len()).filter(|field| !wanted[*field].is_empty());
            match fields.min_by_key(shared) {
                Some(field) => {
                    for id in &wanted[field] {
                        behind[field][*id as usize].push(rule);
                    }
                }
                None => always.push(rule),
            }
        }
        Self {
            globs,
            behind,
            always,
            wanted,
        }
    }

    pub fn hits(&self, vm: &VmFacts) -> Hits {
        Field::ALL.map(|field| match vm.text(field) {
            Some(text) => self.globs[field as usize].matching(text),
            None => vec![],
        })
    }

    /// The rules for a VM, in ascending order; `rules` are those of the index.
    pub fn matching(&self, rules: &[Rule], vm: &VmFacts, hits: &Hits) -> Vec<RuleId> {
        let behind = hits.iter().zip(&self.behind);
        let candidates = behind.flat_map(|(hits, behind)| {
            hits.iter()
                .flat_map(|id| behind[*id as usize].iter().copied())
        });
        let mut found: Vec<RuleId> = candidates
            .chain(self.always.iter().copied())
            .filter(|rule| self.is_match(rules, *rule, vm, hits))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn is_match(&self, rules: &[Rule], rule: RuleId, vm: &VmFacts, hits: &Hits) -> bool {
        let is_hit = |field: usize| {
            let wanted = &self.wanted[rule as usize][field];
            let is_hit = |id| hits[field].binary_search(id).is_ok();
            wanted.is_empty() || wanted.iter().any(is_hit)
        };
        (0..hits.len()).all(is_hit) && rules[rule as usize].matches.allows(vm)
    }

    /// How many different globs there are of a kind.
    pub fn globs_of(&self, field: Field) -> usize {
        self.globs[field as usize].len()
    }

    /// The globs of a rule, in the order in which it has them.
    pub fn wanted(&self, rule: usize, field: Field) -> &[GlobId] {
        &self.wanted[rule][field as usize]
    }
}
