// SPDX-License-Identifier: GPL-2.0-only
//! The formats that a report can be written in, one file each.
//!
//! A new format is a file here with a [`FileFormat`], and its entry in [`FORMATS`].
//! `vmland ab` and `vmland bench` take their options from that list.

mod csv;
mod file_format;
mod html;
mod json;
mod markdown;

pub use self::file_format::{FileFormat, Target};

pub const FORMATS: &[&FileFormat] = &[&json::JSON, &csv::CSV, &markdown::MARKDOWN, &html::HTML];
