// SPDX-License-Identifier: GPL-2.0-only
//! What every other crate of the project may use, and what itself uses none of them.
//!
//! | module | content |
//! | --- | --- |
//! | [`background`] | a function that may block, called in threads of its own |
//! | [`cpus`] | lists of CPUs in the kernel's form |
//! | [`exit`] | exit codes of the programs |
//! | [`lifetime`] | child processes that end with their parent |
//! | [`printable`] | text of others, made safe to print |
//! | [`suggest`] | the known word that a misspelt one is nearest to |
//! | [`system_file`] | small files below `/proc` and `/sys`, and the error if one cannot be read |

pub mod background;
pub mod cpus;
pub mod exit;
pub mod lifetime;
pub mod printable;
pub mod suggest;
pub mod system_file;

/// Mount point of cgroup v2.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";
