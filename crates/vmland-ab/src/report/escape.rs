// SPDX-License-Identifier: GPL-2.0-only
//! The texts of a record, escaped for every report.
//!
//! Notes quote other programs, and users choose the names of VMs. Characters that control a
//! terminal, break a line or reorder text are replaced here, once for all reports. A format
//! escapes what is special to it alone.

use std::collections::BTreeMap;

use crate::record::Record;
use vmland_base::printable::harmless;

/// The same record with each text on one line and harmless.
pub fn record(record: &Record) -> Record {
    let mut record = record.clone();
    let about = &mut record.about;
    for text in about.command.iter_mut().chain([
        &mut about.version,
        &mut about.kernel,
        &mut about.machine,
        &mut about.started,
    ]) {
        escape(text);
    }
    for arm in &mut record.arms {
        escape(&mut arm.name);
        arm.command.iter_mut().for_each(escape);
    }
    for metric in &mut record.metrics {
        escape(&mut metric.id);
        escape(&mut metric.title);
        escape(&mut metric.unit);
        escape(&mut metric.about);
    }
    for window in &mut record.windows {
        escape_keys(&mut window.values);
        escape_keys(&mut window.vms);
        window.vms.values_mut().for_each(escape_keys);
        window.discarded.iter_mut().for_each(escape);
    }
    for switch in &mut record.switches {
        switch.failed.iter_mut().for_each(escape);
    }
    for note in &mut record.notes {
        escape(&mut note.text);
    }
    for comparison in &mut record.comparisons {
        escape(&mut comparison.metric);
    }
    record
}

fn escape_keys<T>(map: &mut BTreeMap<String, T>) {
    *map = std::mem::take(map)
        .into_iter()
        .map(|(mut key, value)| {
            escape(&mut key);
            (key, value)
        })
        .collect();
}

fn escape(text: &mut String) {
    *text = text
        .trim()
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { harmless(c) })
        .collect();
}
