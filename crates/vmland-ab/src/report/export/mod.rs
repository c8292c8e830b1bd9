// SPDX-License-Identifier: GPL-2.0-only
//! The formats that a report can be written in, one file each.
//!
//! A new format is a file here with a [`Format`], and its entry in [`FORMATS`]. `vmland ab`
//! and `vmland bench` take their options from that list.

mod csv;
mod html;
mod json;
mod markdown;

use super::Model;

pub const FORMATS: [&Format; 4] = [&json::JSON, &csv::CSV, &markdown::MARKDOWN, &html::HTML];

/// An export format.
pub struct Format {
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
