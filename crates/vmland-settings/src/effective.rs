// SPDX-License-Identifier: GPL-2.0-only
//! Effective settings: a configuration, and on top of it what was set for single VMs while
//! the scheduler runs.
//!
//! What was set stays over a reload, and ends with the scheduler or when it is taken
//! back. It is for a name or a UUID, so that it also holds for a VM that is started
//! again. Whatever is changed is checked whole first.

use super::config::Config;
use super::finding::{Diagnostics, Source, Warning};
use super::load::Sources;
use super::matching::{Field, Match, VmFacts};
use super::parse::known_key;
use super::rule::Rule;
use super::settings::{Key, Settings};

/// Most VMs for which something is set at a time.
const LIVE_MAX: usize = 1000;

/// Stands for a value where there is not even a default.
const NONE: &str = "none";

/// For whom something is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Name(&'a str),
    /// In lower case.
    Uuid(&'a str),
}

impl Target<'_> {
    fn matches(self) -> Match {
        match self {
            Target::Name(name) => Match::exactly(Field::Name, name),
            Target::Uuid(uuid) => Match::exactly(Field::Uuid, uuid),
        }
    }
}

/// A value of a VM's that is another than before, both as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The VM's place in the list that was given.
    pub vm: usize,
    pub key: Key,
    pub from: String,
    pub to: String,
}

#[derive(Debug)]
pub struct EffectiveSettings {
    sources: Sources,
    config: Config,
    /// Rules of the configuration; behind them is what was set.
    configured: usize,
    /// The effective settings of a VM for which nothing is set.
    defaults: Settings,
}

impl EffectiveSettings {
    /// `config` is what `sources` say.
    pub fn new(config: Config, sources: Sources, defaults: Settings) -> Self {
        Self {
            sources,
            configured: config.rules.len(),
            config,
            defaults,
        }
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many rules the configuration has, defaults and flags among them.
    pub fn configured(&self) -> usize {
        self.configured
    }

    /// Everything that holds for a VM: of each key that has a default, a value.
    pub fn settings_for(&self, vm: &VmFacts) -> Settings {
        let mut settings = self.config.settings_for(vm);
        settings.fill(&self.defaults, |_| {});
        settings
    }

    /// The same for a VM that has not been identified yet.
    pub fn settings_for_any(&self, vcpus: u32) -> Settings {
        let mut settings = self.config.settings_for_any(vcpus);
        settings.fill(&self.defaults, |_| {});
        settings
    }

    /// The value of `key` for a VM as it is written, and its origin; None is the
    /// default.
    pub fn explain(&self, vm: &VmFacts, key: Key) -> (String, Option<String>) {
        let explained = self.config.explain(vm);
        let origin = explained.origin(key).map(|place| place.to_string());
        let written = self.settings_for(vm).written(key);
        (written.unwrap_or_else(|| NONE.into()), origin)
    }

    /// Reads the configuration anew, and says what is different for these VMs.
    ///
    /// # Errors
    /// All that is wrong with it. Then nothing has changed.
    pub fn reload(
        &mut self,
        vms: &[&VmFacts],
    ) -> Result<(Vec<Changed>, Vec<Warning>), Diagnostics> {
        let (mut config, mut warnings) = Config::load(&self.sources)?;
        warnings.extend(config.warnings_for(vms));

        let before: Vec<_> = vms.iter().map(|vm| self.settings_for(vm)).collect();
        let configured = config.rules.len();
        if self.config.rules.len() > self.configured {
            config.rebuilt(configured, self.config.rules.drain(self.configured..));
        }
        self.config = config;
        self.configured = configured;
        let after = vms.iter().map(|vm| self.settings_for(vm));
        let pairs = before.iter().zip(after).enumerate();
        let differing = pairs.filter(|(_, (before, after))| *before != after);
        let changes = differing.flat_map(|(vm, (before, after))| changes(vm, before, &after));
        let changes = changes.collect();
        Ok((changes, warnings))
    }

    /// Sets what holds for one VM, all or nothing. Values are as the command line has them.
    /// Says what contradicts the rest of the configuration.
    ///
    /// # Errors
    /// All that is wrong. Then nothing has changed.
    pub fn set(
        &mut self,
        target: Target<'_>,
        vm: &VmFacts,
        given: &[(String, String)],
    ) -> Result<Option<Warning>, Vec<String>> {
        let (place, mut rule) = self.live_rule(target);
        let mut errors = fill(&mut rule, given);
        let above = self.sources.host_cpus.and_then(|cpus| rule.cap_above(cpus));
        errors.extend(above.map(|finding| finding.text));
        if place.is_none() && self.config.rules.len() - self.configured >= LIVE_MAX {
            let text = format!("something is set for {LIVE_MAX} VMs already, which is the most");
            errors.push(text);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.put(place, Some(rule));
        Ok(self.config.contradiction_for(vm))
    }

    /// Takes back what was set; None: all of it. Returns the keys that were.
    ///
    /// # Errors
    /// Keys that there are not. Then nothing has changed.
    pub fn unset(
        &mut self,
        target: Target<'_>,
        keys: Option<&[String]>,
    ) -> Result<Vec<Key>, Vec<String>> {
        let mut errors = vec![];
        let keys: Vec<Key> = match keys {
            None => Key::ALL.to_vec(),
            Some(keys) => {
                let named = keys.iter().map(|name| known_key(name));
                named
                    .filter_map(|key| key.map_err(|e| errors.push(e)).ok())
                    .collect()
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let (place, mut rule) = self.live_rule(target);
        let is_set = |key: &Key| rule.settings.written(*key).is_some();
        let removed: Vec<Key> = keys.into_iter().filter(is_set).collect();
        for key in &removed {
            rule.settings.copy(*key, &Settings::default());
        }
        if place.is_some() {
            let is_empty = rule.settings == Settings::default();
            self.put(place, (!is_empty).then_some(rule));
        }
        Ok(removed)
    }

    /// Forgets what was set for VMs that are gone, if there is room for no more.
    pub fn make_room(&mut self, vms: &[&VmFacts]) {
        if self.config.rules.len() - self.configured < LIVE_MAX {
            return;
        }
        let mut live = self.config.rules.split_off(self.configured);
        live.retain(|rule| vms.iter().any(|vm| rule.matches.is_exactly(vm)));
        self.config.rebuilt(self.configured, live);
    }

    /// What was set for the target, with its place among the rules, or a rule without any.
    fn live_rule(&self, target: Target<'_>) -> (Option<usize>, Rule) {
        let matches = target.matches();
        let live = self.config.rules.iter().enumerate().skip(self.configured);
        match { live }.find(|(_, rule)| rule.matches == matches) {
            Some((place, rule)) => (Some(place), rule.clone()),
            None => (None, Rule::new(Source::Live, None, matches)),
        }
    }

    /// In the place of the old one, if there is one; None takes that away.
    fn put(&mut self, place: Option<usize>, rule: Option<Rule>) {
        let mut live = self.config.rules.split_off(self.configured);
        match (place.map(|place| place - self.configured), rule) {
            (Some(place), Some(rule)) => live[place] = rule,
            (Some(place), None) => drop(live.remove(place)),
            (None, rule) => live.extend(rule),
        }
        self.config.rebuilt(self.configured, live);
    }
}

/// What is another value than before for the VM in this place.
fn changes(vm: usize, before: &Settings, after: &Settings) -> Vec<Changed> {
    let written = |settings: &Settings, key| settings.written(key).unwrap_or_else(|| NONE.into());
    let all = Key::ALL.iter().map(|&key| Changed {
        vm,
        key,
        from: written(before, key),
        to: written(after, key),
    });
    all.filter(|changed| changed.from != changed.to).collect()
}

/// Whether settings, as the command line has them, could be set together.
///
/// # Errors
/// All that is wrong with them.
pub fn check_settings(given: &[(String, String)]) -> Result<(), Vec<String>> {
    let errors = fill(&mut Rule::new(Source::Live, None, Match::default()), given);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Returns what is wrong.
fn fill(rule: &mut Rule, given: &[(String, String)]) -> Vec<String> {
    let mut errors = vec![];
    for (name, value) in given {
        let set = known_key(name).and_then(|key| rule.set_word(key, value.trim()));
        errors.extend(set.err());
    }
    if given.is_empty() {
        errors.push("nothing is to be set".into());
    }
    if errors.is_empty() {
        errors.extend(rule.contradiction().map(|finding| finding.text));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Latency, YieldTo};
    use vmland_identity::Vmm;

    const MS: u64 = 1_000_000;

    fn vm(name: &str) -> VmFacts {
        VmFacts {
            name: name.into(),
            uuid: Some(format!("uuid-of-{name}")),
            vmm: Vmm::Qemu,
            cgroup: None,
            uid: Some(64055),
            vcpus: 2,
        }
    }

    fn effective(flags: &[&str]) -> EffectiveSettings {
        let sources = Sources {
            file: "/nowhere/config.toml".into(),
            host_cpus: Some(8),
            flags: flags.iter().map(std::string::ToString::to_string).collect(),
            ..Sources::default()
        };
        let (config, _) = Config::load(&sources).expect("right");
        let defaults = Settings {
            weight: Some(100),
            slice_ns: Some(10 * MS),
            yield_to: Some(YieldTo::Honour),
            ..Settings::default()
        };
        EffectiveSettings::new(config, sources, defaults)
    }

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn set_and_taken_back() {
        let mut now = effective(&["a*:weight=200,latency=low"]);
        let (a, ab) = (vm("a"), vm("ab"));
        let set = |now: &mut EffectiveSettings, target, pairs| now.set(target, &a, &given(pairs));
        assert_eq!(
            set(&mut now, Target::Name("a"), &[("weight", "300")]),
            Ok(None)
        );
        assert_eq!(
            set(&mut now, Target::Name("a"), &[("cpus", "1,3")]),
            Ok(None)
        );
        assert_eq!(now.settings_for(&a).weight, Some(300));
        assert_eq!(now.settings_for(&a).latency, Some(Latency::Low));
        assert_eq!(now.settings_for(&ab).weight, Some(200));
        let says = |now: &EffectiveSettings, key| now.explain(&a, key);
        assert_eq!(
            says(&now, Key::weight),
            ("300".into(), Some("vmland vm set".into()))
        );
        assert_eq!(says(&now, Key::cpus).0, "1,3");
        assert_eq!(says(&now, Key::slice), ("10ms".into(), None));
        assert_eq!(says(&now, Key::slice_min), ("none".into(), None));

        // Later ones win, by name or by UUID.
        let by_uuid = Target::Uuid("uuid-of-a");
        assert_eq!(set(&mut now, by_uuid, &[("weight", "400")]), Ok(None));
        assert_eq!(now.settings_for(&a).weight, Some(400));
        assert_eq!(now.unset(by_uuid, None), Ok(vec![Key::weight]));
        assert_eq!(now.settings_for(&a).weight, Some(300));

        let (changes, _) = now.reload(&[&a, &ab]).expect("right");
        assert_eq!(changes, []);
        assert_eq!(now.settings_for(&a).weight, Some(300));
        let keys = ["weight".to_string(), "slice".to_string()];
        let taken = now.unset(Target::Name("a"), Some(&keys));
        assert_eq!(taken, Ok(vec![Key::weight]));
        assert_eq!(now.settings_for(&a).weight, Some(200));
        assert_eq!(says(&now, Key::cpus).0, "1,3");
        assert_eq!(now.unset(Target::Name("a"), None), Ok(vec![Key::cpus]));
        assert_eq!(now.unset(Target::Name("a"), None), Ok(vec![]));
        assert_eq!(now.config().rules().len(), now.configured());
    }

    #[test]
    fn all_or_nothing() {
        let mut now = effective(&["a:slice=2ms"]);
        let a = vm("a");
        let name = Target::Name("a");
        for (pairs, text) in [
            (
                &[("weight", "300"), ("wieght", "1")][..],
                "did you mean \"weight\"?",
            ),
            (
                &[("weight", "300"), ("slice", "5")],
                "did you mean \"5ms\"?",
            ),
            (
                &[("weight", "300"), ("slice", "1ms"), ("slice_min", "2ms")],
                "slice_min = \"2ms\" is longer than slice = \"1ms\"",
            ),
            (&[("weight", "300"), ("cap", "8.5")], "more than the 8 CPUs"),
            (&[], "nothing"),
        ] {
            let errors = now.set(name, &a, &given(pairs)).expect_err("wrong");
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains(text), "{errors:?}");
            assert_eq!(now.settings_for(&a).weight, Some(100));
        }
        // What others say is a contradiction, but theirs.
        let warning = now.set(name, &a, &given(&[("slice_min", "3ms")]));
        let warning = warning.expect("right").expect("a warning").text;
        assert!(warning.contains("it gets \"2ms\" for both"), "{warning}");
        assert_eq!(now.settings_for(&a).slice_min_ns, Some(2 * MS));

        let keys = ["slice_min".to_string(), "sliec".to_string()];
        let errors = now.unset(name, Some(&keys)).expect_err("wrong");
        assert!(errors[0].contains("did you mean \"slice\"?"), "{errors:?}");
        assert_eq!(now.settings_for(&a).slice_min_ns, Some(2 * MS));
    }

    #[test]
    fn names_are_no_globs() {
        let mut now = effective(&[]);
        let star = vm("db-*");
        let done = now.set(Target::Name("db-*"), &star, &given(&[("weight", "7")]));
        assert_eq!(done, Ok(None));
        assert_eq!(now.settings_for(&star).weight, Some(7));
        assert_eq!(now.settings_for(&vm("db-1")).weight, Some(100));
    }

    #[test]
    fn there_is_a_limit() {
        let mut now = effective(&[]);
        let weight = given(&[("weight", "7")]);
        for i in 0..LIVE_MAX {
            let name = format!("vm-{i}");
            assert_eq!(now.set(Target::Name(&name), &vm(&name), &weight), Ok(None));
        }
        let errors = now.set(Target::Name("b"), &vm("b"), &weight);
        assert!(errors.expect_err("too many")[0].contains("1000 VMs"));
        let again = now.set(Target::Name("vm-3"), &vm("vm-3"), &weight);
        assert_eq!(again, Ok(None));

        let left = [vm("b"), vm("vm-3"), vm("vm-0")];
        now.make_room(&left.each_ref());
        assert_eq!(now.config().rules().len() - now.configured(), 2);
        assert_eq!(now.settings_for(&vm("vm-3")).weight, Some(7));
        now.make_room(&[]);
        assert_eq!(now.settings_for(&vm("vm-3")).weight, Some(7));
        assert_eq!(now.unset(Target::Name("vm-0"), None), Ok(vec![Key::weight]));
        assert_eq!(now.set(Target::Name("b"), &vm("b"), &weight), Ok(None));
    }

    #[test]
    fn a_vm_that_is_not_identified_has_what_holds_for_every_vm() {
        let mut now = effective(&["*:slice=3ms,weight=200", "a*:weight=300"]);
        let weight = [("weight".into(), "400".into())];
        assert_eq!(now.set(Target::Name("a"), &vm("a"), &weight), Ok(None));
        let any = now.settings_for_any(2);
        assert_eq!(any.weight, Some(200));
        assert_eq!(any.slice_ns, Some(3 * MS));
        assert_eq!(any.yield_to, Settings::DEFAULTS.yield_to);
        assert_eq!(any, now.settings_for(&vm("b")));
    }

    #[test]
    fn a_reload_says_what_changed() {
        let mut now = effective(&["a:weight=200"]);
        let (a, b) = (vm("a"), vm("b"));
        now.sources.flags = vec!["*:weight=200,cpus=1".into()];
        let (changes, warnings) = now.reload(&[&a, &b]).expect("right");
        let changed: Vec<_> = changes
            .iter()
            .map(|c| (c.vm, c.key, c.from.as_str(), c.to.as_str()))
            .collect();
        assert_eq!(
            changed,
            [
                (0, Key::cpus, "none", "1"),
                (1, Key::weight, "100", "200"),
                (1, Key::cpus, "none", "1"),
            ]
        );
        assert_eq!(warnings, []);
        now.sources.flags = vec!["c:weight=0".into()];
        let errors = now.reload(&[&a, &b]).expect_err("wrong").to_string();
        assert!(errors.contains("from 1 to 10000"), "{errors}");
        assert_eq!(now.settings_for(&b).weight, Some(200));
        now.sources.flags = vec!["c:weight=1".into()];
        let (_, warnings) = now.reload(&[&a, &b]).expect("right");
        assert!(warnings[0].text.contains("no VM's name matches \"c\""));
    }
}
