// SPDX-License-Identifier: GPL-2.0-only
//! The whole record as JSON: the format for programs.

use serde::Serialize;

use super::file_format::{FileFormat, Target};
use crate::record::Record;
use crate::report::model::Model;

pub const JSON: FileFormat = FileFormat {
    option: "export-json",
    help: "Write the windows, their values and the comparisons as JSON",
    target: Target::File,
    render: json,
};

/// Raised with every change that a reader of the old shape would not understand.
///
/// | version | |
/// | --- | --- |
/// | none | a metric has only a `name`, by which values and comparisons go |
/// | 2 | a metric has an `id`, by which values and comparisons go, and a `title` |
const VERSION: u32 = 2;

#[derive(Serialize)]
struct Versioned<'a> {
    format_version: u32,
    #[serde(flatten)]
    record: &'a Record,
}

/// The fields of [`Record`], after the version of their shape.
fn json(model: &Model) -> String {
    let versioned = Versioned {
        format_version: VERSION,
        record: model.record,
    };
    let json = serde_json::to_string_pretty(&versioned);
    json.expect("all keys are strings") + "\n"
}
