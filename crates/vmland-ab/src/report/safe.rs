// SPDX-License-Identifier: GPL-2.0-only
//! A record's words made safe to show.
//!
//! Notes quote what other programs wrote, and whoever starts a VM chooses its
//! name. What controls a terminal, breaks a line or reorders text is replaced
//! here, once and for every report; what is special to one format is that
//! report's business.

use std::collections::BTreeMap;

use crate::record::Record;
use vmland_base::printable::harmless;

/// The same record with every string on one line and harmless.
pub fn safe(record: &Record) -> Record {
    let mut record = record.clone();
    let about = &mut record.about;
    for text in about.command.iter_mut().chain([
        &mut about.version,
        &mut about.kernel,
        &mut about.machine,
        &mut about.started,
    ]) {
        clean(text);
    }
    for arm in &mut record.arms {
        clean(&mut arm.name);
        arm.command.iter_mut().for_each(clean);
    }
    for metric in &mut record.metrics {
        clean(&mut metric.id);
        clean(&mut metric.title);
        clean(&mut metric.unit);
        clean(&mut metric.about);
    }
    for window in &mut record.windows {
        clean_keys(&mut window.values);
        clean_keys(&mut window.vms);
        window.vms.values_mut().for_each(clean_keys);
        window.discarded.iter_mut().for_each(clean);
    }
    for switch in &mut record.switches {
        switch.failed.iter_mut().for_each(clean);
    }
    for note in &mut record.notes {
        clean(&mut note.text);
    }
    for comparison in &mut record.comparisons {
        clean(&mut comparison.metric);
    }
    record
}

fn clean_keys<T>(map: &mut BTreeMap<String, T>) {
    *map = std::mem::take(map)
        .into_iter()
        .map(|(mut key, value)| {
            clean(&mut key);
            (key, value)
        })
        .collect();
}

fn clean(text: &mut String) {
    *text = text
        .trim()
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { harmless(c) })
        .collect();
}
