// SPDX-License-Identifier: GPL-2.0-only
//! One rule: for which VMs, and what they get.

use super::finding::{Finding, Place, Position, Source};
use super::kind::Given;
use super::matching::Match;
use super::settings::{Key, Settings};

/// A `[[vm]]` of a file, its `[defaults]`, or a `--vm`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) source: Source,
    /// Where it begins; None on the command line.
    pub(super) position: Option<Position>,
    pub(super) matches: Match,
    pub(super) settings: Settings,
    /// By [`Key`], where it is set.
    pub(super) positions: [Option<Position>; Key::ALL.len()],
}

impl Rule {
    pub(super) fn new(source: Source, position: Option<Position>, matches: Match) -> Self {
        Self {
            source,
            position,
            matches,
            settings: Settings::default(),
            positions: [None; Key::ALL.len()],
        }
    }

    /// What it sets.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is for every VM, as `[defaults]` are.
    pub fn is_for_all(&self) -> bool {
        self.matches.is_for_all()
    }

    /// Sets `key` to a value that was written as `shown` says; or says what is wrong.
    pub(super) fn set(
        &mut self,
        key: Key,
        given: &Given<'_>,
        shown: impl FnOnce() -> String,
    ) -> Result<(), String> {
        self.settings.read(key, given).map_err(|meant| {
            let meant = match meant {
                Some(meant) if !key.is_quoted() => format!("; did you mean {meant}?"),
                Some(meant) => format!("; did you mean {meant:?}?"),
                None => String::new(),
            };
            let (name, shown, expected) = (key.name(), shown(), key.values());
            format!("{name} = {shown}: expected {expected}{meant}")
        })
    }

    /// The same for a word of the command line.
    pub(super) fn set_word(&mut self, key: Key, word: &str) -> Result<(), String> {
        self.set(key, &Given::Word(word), || format!("{word:?}"))
    }

    pub(super) fn place(&self) -> Place {
        self.at(self.position)
    }

    pub(super) fn place_of(&self, key: Key) -> Place {
        self.at(self.positions[key as usize])
    }

    pub(super) fn at(&self, position: Option<Position>) -> Place {
        Place {
            source: self.source.clone(),
            position,
        }
    }

    /// What it says cannot be meant. Rules that contradict each other are for
    /// [`Config::warnings_for`](crate::Config::warnings_for).
    pub(super) fn contradiction(&self) -> Option<Finding> {
        let written = |key| self.settings.written(key).unwrap_or_default();
        self.settings.is_contradictory().then(|| Finding {
            place: self.place_of(Key::slice_min),
            text: format!(
                "slice_min = {:?} is longer than slice = {:?} beside it",
                written(Key::slice_min),
                written(Key::slice),
            ),
        })
    }

    /// It grants more CPUs than the host has.
    pub(super) fn cap_above(&self, cpus: u64) -> Option<Finding> {
        let cap = self.settings.cap_millicpus.filter(|cap| *cap > cpus * 1000);
        cap.map(|_| Finding {
            place: self.place_of(Key::cap),
            text: format!(
                "cap = {} is more than the {cpus} CPUs of the host",
                self.settings.written(Key::cap).unwrap_or_default(),
            ),
        })
    }
}
