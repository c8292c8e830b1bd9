// SPDX-License-Identifier: GPL-2.0-only
//! What each export format says of itself.

use crate::report::model::Model;

/// An export format.
pub struct FileFormat {
    /// The option that asks for it, without the dashes.
    pub option: &'static str,
    /// What `--help` says of the option.
    pub help: &'static str,
    pub target: Target,
    /// The content of the file.
    pub render: fn(&Model) -> String,
}

/// What the option names.
pub enum Target {
    File,
    /// A directory, in which the file has this name.
    Directory(&'static str),
}
