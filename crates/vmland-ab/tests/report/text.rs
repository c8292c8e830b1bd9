// SPDX-License-Identifier: GPL-2.0-only
//! The reports that are text.

use std::collections::BTreeMap;

use vmland_ab::comparison::Verdict;
use vmland_ab::record::{Metric, Record, Window};
use vmland_ab::report;

use crate::sample;

/// With plain spaces, for a person to compare.
fn plain(text: String) -> String {
    text.replace('\u{a0}', " ")
}

const SMALL_TABLE: &str = "\
new was compared with EEVDF on Example CPU (2 CPUs, Linux 7.3.4), in one round of 8 s a scheduler;
2 windows counted, 1 discarded. new was better in guests' work.

guests' work, 1/s (higher is better; axis 12 000..19 600)
EEVDF  12 000  12 000..12 000  ▂·······························                            reference
new    19 600  19 600..19 600  ·······························▂  1.63 [1.20..2.10]  0.034  better

VMs, medians
VM        scheduler  guests' work, 1/s
web, \"1\"  EEVDF                  6 020
          new                    9 820

Notes
0:22  window of new in round 1 discarded: a guest was stopped
1:05  the host swapped
";

const SMALL_MARKDOWN: &str = "\
## EEVDF and new compared

new was compared with EEVDF on Example CPU (2 CPUs, Linux 7.3.4), in one round of 8 s a scheduler; \
2 windows counted, 1 discarded. new was better in guests' work.

| metric | scheduler | median | quartiles | spread | ratio [95 %] | p | verdict |
| --- | --- | --: | --: | --- | --: | --: | --- |
| **guests' work, 1/s** (higher is better) | EEVDF | 12 000 | 12 000..12 000 | `▂·······················` |  |  | reference |
|  | new | 19 600 | 19 600..19 600 | `·······················▂` | 1.63 \\[1.20..2.10\\] | 0.034 | better |

### VMs, medians

| VM | scheduler | guests' work, 1/s |
| --- | --- | --: |
| web, \"1\" | EEVDF | 6 020 |
| web, \"1\" | new | 9 820 |

### Notes

- 0:22 window of new in round 1 discarded: a guest was stopped
- 1:05 the host swapped
";

#[test]
fn the_table_tells_all_in_100_columns() {
    assert_eq!(plain(report::table(&sample::small(), None)), SMALL_TABLE);
}

#[test]
fn the_markdown_tells_the_same() {
    assert_eq!(plain(report::markdown(&sample::small())), SMALL_MARKDOWN);
}

#[test]
fn tables_are_as_narrow_as_the_terminal() {
    for width in [50, 60, 80, 100, 132] {
        let table = report::table(&sample::large(), Some(width));
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(width.into()), "{width}:\n{table}");
    }
}

#[test]
fn the_columns_of_all_metrics_align() {
    let table = report::table(&sample::large(), Some(100));
    let starts: Vec<usize> = table
        .lines()
        .filter_map(|line| line.find("[").map(|at| line[..at].chars().count()))
        .take(8)
        .collect();
    assert_eq!(starts.len(), 8);
    assert!(starts.iter().all(|at| *at == starts[0]), "{table}");
}

/// Every way that a comparison may end is told in words.
#[test]
fn verdicts_are_told_in_words() {
    let words = |verdict: Verdict, detectable: Option<f64>| {
        let mut record = sample::small();
        let versus = record.comparisons[0].arms[1].versus.as_mut().unwrap();
        versus.verdict = verdict;
        versus.detectable = detectable;
        plain(report::markdown(&record))
    };
    let none = Verdict::NoDifferenceShown;
    for (report, expected) in [
        (words(Verdict::Better, None), "| better |"),
        (words(Verdict::Worse, None), "| worse |"),
        (words(Verdict::Different, None), "| different |"),
        (words(none, None), "| no difference shown |"),
        (
            words(none, Some(1.08)),
            "| no difference shown; 8 % would have been |",
        ),
    ] {
        assert!(report.contains(expected), "{expected}:\n{report}");
    }
}

#[test]
fn what_was_not_measured_is_said() {
    let mut record = sample::small();
    record.interrupted = true;
    record.comparisons[0].arms[1].versus = None;
    let report = report::markdown(&record);
    assert!(report.contains("It was stopped before its last window."));
    assert!(report.contains("| too few windows |"));
    assert!(report.contains("new could not be compared"));
    record.comparisons.clear();
    let report = report::markdown(&record);
    assert_eq!(report.matches("| not measured |").count(), 2);
}

#[test]
fn nothing_controls_the_terminal() {
    let table = report::table(&sample::large(), None);
    assert!(table.contains("exit code 70"));
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn an_empty_record_is_no_reason_to_panic() {
    let empty = Record::default();
    assert_eq!(report::table(&empty, None), "No scheduler took part.\n");
    assert!(report::markdown(&empty).starts_with("## Nothing compared"));
    assert!(report::html(&empty).contains("No scheduler took part."));
}

#[test]
fn a_metric_without_values_leaves_the_others_aligned() {
    let mut record = sample::large();
    let before = report::table(&record, None);
    record.metrics.push(Metric {
        name: "unknown".into(),
        ..record.metrics[0].clone()
    });
    let after = report::table(&record, None);
    let (start, end) = before.split_once("\nVMs").unwrap();
    assert!(after.starts_with(start) && after.ends_with(end));
    assert_eq!(after.matches("not measured").count(), 3);
    assert!(report::html(&record).contains("No window has a value."));
}

#[test]
fn indices_beyond_the_arms_are_no_reason_to_panic() {
    let mut record = sample::small();
    record.windows[0].arm = 9;
    record.switches[0].arm = 9;
    record.switches[0].failed = Some("why".into());
    assert!(report::table(&record, None).contains("why"));
    assert!(report::html(&record).contains("why"));
}

#[test]
fn the_csv_has_every_value_with_all_its_digits() {
    let record = sample::large();
    let mut bytes = Vec::new();
    report::csv(&record, &mut bytes).unwrap();
    let rows: Vec<BTreeMap<String, String>> = csv::Reader::from_reader(bytes.as_slice())
        .deserialize()
        .collect::<Result<_, _>>()
        .unwrap();

    let values = |w: &Window| w.values.len() + w.vms.values().map(BTreeMap::len).sum::<usize>();
    assert_eq!(rows.len(), record.windows.iter().map(values).sum::<usize>());
    for row in rows {
        let window = &record.windows[row["window"].parse::<usize>().unwrap()];
        assert_eq!(row["round"], window.round.to_string());
        assert_eq!(row["arm"], record.arms[window.arm].name);
        assert_eq!(row["start_s"].parse(), Ok(window.start_s));
        assert_eq!(row["end_s"].parse(), Ok(window.end_s));
        assert_eq!(
            row["discarded"],
            window.discarded.clone().unwrap_or_default()
        );
        let values = match row["scope"].as_str() {
            "host" => &window.values,
            _ => &window.vms[&row["vm"]],
        };
        assert_eq!(row["value"].parse(), Ok(values[&row["metric"]]));
        let metric = record.metrics.iter().find(|m| m.name == row["metric"]);
        assert_eq!(row["unit"], metric.unwrap().unit);
    }
}

#[test]
fn the_csv_quotes_what_needs_it() {
    let mut bytes = Vec::new();
    report::csv(&sample::small(), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(
        text.lines().take(3).collect::<Vec<_>>(),
        [
            "window,round,arm,start_s,end_s,scope,vm,metric,value,unit,discarded",
            "0,0,EEVDF,2,10,host,,guests' work,12038,1/s,",
            "0,0,EEVDF,2,10,vm,\"web, \"\"1\"\"\",balloon,0.25,,",
        ]
    );
}
