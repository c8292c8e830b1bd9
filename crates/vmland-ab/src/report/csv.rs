// SPDX-License-Identifier: GPL-2.0-only
//! The windows' values as CSV, one value a row.

use std::io::Write;

use crate::record::Record;

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

/// Writes a heading and one row for each window, scope and metric.
///
/// | column | |
/// | --- | --- |
/// | `window`, `round` | from 0, in the order of time |
/// | `arm` | name of the scheduler |
/// | `start_s`, `end_s` | seconds since the comparison began |
/// | `scope`, `vm` | `host` and nothing, or `vm` and its name |
/// | `metric`, `value`, `unit` | `metric` is the id; `unit` is empty where the metric is a VM's only |
/// | `discarded` | why the window does not count, or nothing |
///
/// A value that could not be read has no row. Quoting is that of RFC 4180.
///
/// # Errors
///
/// Those of the writer.
pub fn csv(record: &Record, out: impl Write) -> Result<(), ::csv::Error> {
    let mut out = ::csv::Writer::from_writer(out);
    out.write_record(HEADER)?;
    for (i, window) in record.windows.iter().enumerate() {
        let arm = record.arms.get(window.arm).map_or("", |arm| &arm.name);
        let host = window.values.iter().map(|value| ("host", "", value));
        let vms = window
            .vms
            .iter()
            .flat_map(|(vm, values)| values.iter().map(move |value| ("vm", vm.as_str(), value)));
        for (scope, vm, (metric, value)) in host.chain(vms) {
            let unit = record.metric(metric).map_or("", |m| &m.unit);
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
    out.flush()?;
    Ok(())
}
