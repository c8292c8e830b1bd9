// SPDX-License-Identifier: GPL-2.0-only
//! The windows' values as CSV, one value a row.

use ::csv::Writer;

use super::file_format::{FileFormat, Target};
use crate::report::model::Model;

pub const CSV: FileFormat = FileFormat {
    option: "export-csv",
    help: "Write the windows' values as CSV, one value a row",
    target: Target::File,
    render: csv,
};

const HEADER: [&str; 11] = [
    "window",
    "round",
    "arm",
    "start_s",
    "end_s",
    "scope",
    "vm",
    "metric",
    "value",
    "unit",
    "discarded",
];

/// A heading and one row for each window, scope and metric.
///
/// | column | |
/// | --- | --- |
/// | `window`, `round` | from 0, in the order of time |
/// | `arm` | name of the scheduler |
/// | `start_s`, `end_s` | seconds since the comparison began |
/// | `scope`, `vm` | `host` and nothing, or `vm` and its name |
/// | `metric`, `value` | the metric's id and its value |
/// | `unit` | empty for a metric that no report shows |
/// | `discarded` | why the window does not count, or nothing |
///
/// A value that could not be read has no row. Quoting is that of RFC 4180.
fn csv(model: &Model) -> String {
    let mut out = Writer::from_writer(Vec::new());
    write(model, &mut out).expect("a vector takes all that is written");
    let bytes = out
        .into_inner()
        .expect("a vector takes all that is written");
    String::from_utf8(bytes).expect("all cells are UTF-8")
}

fn write(model: &Model, out: &mut Writer<Vec<u8>>) -> Result<(), ::csv::Error> {
    let record = model.record;
    out.write_record(HEADER)?;
    for (i, window) in record.windows.iter().enumerate() {
        let arm = record.arms.get(window.arm).map_or("", |arm| &arm.name);
        let host = window.values.iter().map(|value| ("host", "", value));
        let vms = window
            .vms
            .iter()
            .flat_map(|(vm, values)| values.iter().map(move |value| ("vm", vm.as_str(), value)));
        for (scope, vm, (metric, value)) in host.chain(vms) {
            let unit = record.metric(metric).map_or("", |metric| &metric.unit);
            out.write_record([
                &i.to_string(),
                &window.round.to_string(),
                arm,
                &window.start_s.to_string(),
                &window.end_s.to_string(),
                scope,
                vm,
                metric,
                &value.to_string(),
                unit,
                window.discarded.as_deref().unwrap_or(""),
            ])?;
        }
    }
    Ok(())
}
