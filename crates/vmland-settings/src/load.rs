// SPDX-License-Identifier: GPL-2.0-only
//! From files and flags to a [`Config`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::Config;
use super::finding::{Diagnostics, Finding, Warning};
use super::matching::Match;
use super::read::{self, Unread};
use super::rule::Rule;
use super::settings::{Key, Settings};
use super::trust::Caller;
use super::{flag, parse};
use vmland_base::cpus;

/// Where the configuration is unless somebody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/scx_vmland/config.toml";

/// Most rules of all files and flags together.
pub const RULES_MAX: usize = 10_000;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The main file. Beside it, in the directory of the same name with the
    /// ending `.d` (`config.toml`, `config.d`), are further ones.
    pub file: PathBuf,
    /// That there is no such file is an error.
    pub must_exist: bool,
    /// `NAME-GLOB:key=value,…`, each.
    pub flags: Vec<String>,
    /// Who may own the files, beside root.
    pub caller: Caller,
    /// How many CPUs the host has, which no `cap` may exceed. None: that is not checked.
    pub host_cpus: Option<u64>,
}

impl Default for Sources {
    /// [`DEFAULT_FILE`], if there is one, for root.
    fn default() -> Self {
        Self {
            file: DEFAULT_FILE.into(),
            must_exist: false,
            flags: vec![],
            caller: Caller::ROOT,
            host_cpus: None,
        }
    }
}

/// How many CPUs of this host are online. None where that cannot be told.
pub fn host_cpus() -> Option<u64> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    Some(cpus::parse(&list)?.len() as u64)
}

#[derive(Default)]
struct Loader {
    defaults: Vec<Rule>,
    rules: Vec<Rule>,
    errors: Vec<Finding>,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All that is wrong, in all files and flags. Nothing is loaded then.
    pub fn load(sources: &Sources) -> Result<(Config, Vec<Warning>), Diagnostics> {
        let mut loader = Loader::default();
        loader.file(&sources.file, sources.must_exist, sources);
        loader.rest(sources)
    }

    /// As [`Config::load`], were `text` what the main file says.
    pub fn load_as_if(
        sources: &Sources,
        text: &str,
    ) -> Result<(Config, Vec<Warning>), Diagnostics> {
        let mut loader = Loader::default();
        loader.text(&sources.file, text);
        loader.rest(sources)
    }

    /// The rule that a `--vm` stands for, `NAME-GLOB:key=value,…`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse_vm_flag(text: &str) -> Result<Rule, Diagnostics> {
        flag::parse(text)
    }
}

impl Loader {
    /// What comes after the main file.
    fn rest(mut self, sources: &Sources) -> Result<(Config, Vec<Warning>), Diagnostics> {
        let directory = sources.file.with_extension("d");
        if directory != sources.file {
            match read::files_of(&directory, sources.caller) {
                Ok(files) => {
                    for file in files.unwrap_or_default() {
                        self.file(&file, true, sources);
                    }
                }
                Err(error) => self.errors.push(error),
            }
        }
        for text in &sources.flags {
            match flag::parse(text) {
                Ok(rule) => self.rules.push(rule),
                Err(Diagnostics(errors)) => self.errors.extend(errors),
            }
        }
        if let Some(cpus) = sources.host_cpus {
            let rules = self.defaults.iter().chain(&self.rules);
            self.errors
                .extend(rules.filter_map(|rule| rule.cap_above(cpus)));
        }
        self.finish()
    }

    fn text(&mut self, path: &Path, text: &str) {
        let parsed = parse::parse(text, &Arc::from(path));
        self.defaults.extend(parsed.defaults);
        self.rules.extend(parsed.rules);
        self.errors.extend(parsed.errors);
    }

    fn file(&mut self, path: &Path, must_exist: bool, sources: &Sources) {
        match read::text(path, sources.caller) {
            Ok(text) => self.text(path, &text),
            Err(Unread::Bad(error)) => self.errors.push(error),
            Err(Unread::Missing) if must_exist => {
                let text = "there is no such file".into();
                self.errors.push(read::finding(path, None, text));
            }
            Err(Unread::Missing) => {}
        }
    }

    fn finish(mut self) -> Result<(Config, Vec<Warning>), Diagnostics> {
        if let Some(rule) = self.rules.get(RULES_MAX) {
            self.errors.push(Finding {
                place: rule.place(),
                text: format!(
                    "is rule {} of {}; at most {RULES_MAX} are allowed",
                    RULES_MAX + 1,
                    self.rules.len()
                ),
            });
        }
        if !self.errors.is_empty() {
            return Err(Diagnostics(self.errors));
        }
        let warnings = idle(&self.rules).chain(repeated(&self.rules)).collect();
        let mut rules = self.defaults;
        rules.extend(self.rules);
        Ok((Config::new(rules), warnings))
    }
}

/// Rules that set nothing.
fn idle(rules: &[Rule]) -> impl Iterator<Item = Warning> {
    let idle = rules
        .iter()
        .filter(|rule| rule.settings == Settings::default());
    idle.map(|rule| Warning {
        place: rule.place(),
        text: "the rule sets nothing".into(),
    })
}

/// Settings that a later rule of the same file makes for the very same VMs. Files
/// of their own, and flags, are there to override.
fn repeated(rules: &[Rule]) -> Vec<Warning> {
    let mut warnings = vec![];
    for rules in rules.chunk_by(|a, b| a.source == b.source) {
        let mut last: HashMap<&Match, [Option<&Rule>; Key::ALL.len()]> = HashMap::new();
        for rule in rules {
            let last = last.entry(&rule.matches).or_default();
            for key in Key::ALL {
                if rule.positions[*key as usize].is_none() {
                    continue;
                }
                if let Some(before) = last[*key as usize].replace(rule) {
                    warnings.push(Warning {
                        place: before.place_of(*key),
                        text: format!(
                            "{} never counts: {} sets it for the same VMs",
                            key.name(),
                            rule.place_of(*key)
                        ),
                    });
                }
            }
        }
    }
    warnings
}
