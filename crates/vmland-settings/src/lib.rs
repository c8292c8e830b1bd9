// SPDX-License-Identifier: GPL-2.0-only
//! What each VM may have, as the administrator says.
//!
//! ```toml
//! [defaults]
//! slice = "5ms"
//!
//! [[vm]]
//! match = { name = "db-*", vcpus = ">=4" }
//! weight = 400
//! ```
//!
//! [`Config::load`] reads a file, those beside it and the command line's `--vm`
//! ([`Sources`]) and checks them whole; [`Config::settings_for`] says what holds
//! for a VM. `[defaults]` come first, whichever file they are in, then the rules in
//! their order, then the command line; the last word counts.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `settings` | the table of all settings ([`settings_table`]); `table` makes types of it |
//! | `kind/` | the kinds of values: numbers, times, words, lists of CPUs |
//! | `matching`, `glob_text`, `vcpus`, `uids` | for which VMs a rule is |
//! | `parse`, `flag` | rules from a file, and from the command line |
//! | `read`, `trust` | which files are read at all |
//! | `rule_index`, `glob_index` | the rules of a VM, found fast |
//! | `load`, `explain` | from files and flags to a [`Config`], and from that to settings |
//! | `effective` | a configuration, and what was set since on top of it |
//! | `edit`, `save` | what was set, written into a file |
//! | `config` | the rules, in their order |
//! | `finding` | errors and warnings: where, and what |
//! | `schema`, `sample` | all settings for editors, and for people |

mod config;
mod edit;
mod effective;
mod explain;
mod finding;
mod flag;
mod glob_index;
mod glob_text;
mod kind;
mod load;
mod matching;
mod parse;
mod read;
mod rule;
mod rule_index;
mod sample;
mod save;
mod schema;
mod settings;
mod table;
mod trust;
mod uids;
mod vcpus;

pub use config::Config;
pub use edit::Edit;
pub use effective::{Changed, EffectiveSettings, Target, check_settings};
pub use explain::Explained;
pub use finding::{Diagnostics, Finding, Place, Position, Source, Warning};
pub use kind::{CPU_MAX, Cosched, CpuSet, Latency, YieldTo};
pub use load::{DEFAULT_FILE, RULES_MAX, Sources, host_cpus};
pub use matching::VmFacts;
pub use read::FILE_MAX;
pub use rule::Rule;
pub use sample::sample;
pub use save::{SaveError, save};
pub use schema::schema;
pub use settings::{Key, Settings};
pub use trust::Caller;
