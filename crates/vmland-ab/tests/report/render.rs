// SPDX-License-Identifier: GPL-2.0-only
//! The renderings of a record.

use vmland_ab::record::Record;
use vmland_ab::report::{self, Model, export};

pub fn terminal(record: &Record, width: Option<u16>) -> String {
    report::terminal(&Model::new(record), width)
}

pub fn json(record: &Record) -> String {
    export("export-json", record)
}

pub fn csv(record: &Record) -> String {
    export("export-csv", record)
}

pub fn markdown(record: &Record) -> String {
    export("export-markdown", record)
}

pub fn html(record: &Record) -> String {
    export("report", record)
}

fn export(option: &str, record: &Record) -> String {
    let format = export::FORMATS.iter().find(|f| f.option == option);
    (format.expect("a format").render)(&Model::new(record))
}
