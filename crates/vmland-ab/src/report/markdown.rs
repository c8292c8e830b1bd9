// SPDX-License-Identifier: GPL-2.0-only
//! A comparison as GitHub's Markdown.

use super::strip::strip;
use super::{rows, safe, summary, words};
use crate::record::Record;

/// Width of the spread, in characters.
const STRIP_WIDTH: usize = 24;

/// The report as a section with a heading, to be pasted into an issue.
pub fn markdown(record: &Record) -> String {
    let record = safe::safe(record);
    let mut blocks = vec![
        format!("## {}", escape(&summary::title(&record))),
        escape(&summary::sentences(&record).join(" ")),
        metrics(&record),
    ];
    blocks.extend(vms(&record));
    blocks.extend(events(&record));
    blocks.join("\n\n") + "\n"
}

fn metrics(record: &Record) -> String {
    let mut lines = vec![
        line([
            "metric",
            "scheduler",
            "median",
            "quartiles",
            "spread",
            "ratio [95 %]",
            "p",
            "verdict",
        ]),
        line(["---", "---", "--:", "--:", "---", "--:", "--:", "---"]),
    ];
    for metric in record.compared() {
        let rows = rows::results(record, metric);
        let extent = rows::extent(&rows);
        for (i, row) in rows.iter().enumerate() {
            let heading = match i {
                0 => format!(
                    "**{}** ({})",
                    escape(&words::with_unit(metric)),
                    words::better(metric.better)
                ),
                _ => String::new(),
            };
            let spread = extent.map_or(String::new(), |(low, high)| {
                format!("`{}`", strip(&row.values, low, high, STRIP_WIDTH))
            });
            let (ratio, p) = match row.verdict {
                Some(_) => (format!("{} {}", row.ratio, row.interval), row.p.clone()),
                None => (String::new(), String::new()),
            };
            lines.push(line([
                heading,
                escape(row.arm),
                row.median.clone(),
                row.quartiles.clone(),
                spread,
                escape(&ratio),
                escape(&p),
                row.words.clone(),
            ]));
        }
    }
    lines.join("\n")
}

fn vms(record: &Record) -> Option<String> {
    let vms = rows::vms(record)?;
    let columns = vms.columns.iter().map(|column| escape(column));
    let fixed = ["VM", "scheduler"].map(str::to_owned);
    let mut lines = vec![
        line(fixed.into_iter().chain(columns)),
        line(
            ["---"; 2]
                .into_iter()
                .chain(vms.columns.iter().map(|_| "--:")),
        ),
    ];
    for row in &vms.rows {
        let fixed = [row.vm, row.arm].map(escape);
        lines.push(line(fixed.into_iter().chain(row.medians.iter().cloned())));
    }
    Some(format!("### VMs, medians\n\n{}", lines.join("\n")))
}

fn events(record: &Record) -> Option<String> {
    let events: Vec<String> = rows::events(record)
        .iter()
        .map(|event| format!("- {} {}", event.at, escape(&event.text)))
        .collect();
    (!events.is_empty()).then(|| format!("### Notes\n\n{}", events.join("\n")))
}

/// A line of a table.
fn line<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    cells.into_iter().fold(String::from("|"), |line, cell| {
        format!("{line} {} |", cell.as_ref())
    })
}

/// Text that Markdown shows as it is. An underscore within a word marks nothing
/// up, and names are full of them.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut chars = text.chars().peekable();
    let mut in_word = false;
    while let Some(c) = chars.next() {
        let special = match c {
            '_' => !(in_word && chars.peek().is_some_and(|next| next.is_alphanumeric())),
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '!' | '$' => true,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
        in_word = c.is_alphanumeric();
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_marks_it_up() {
        assert_eq!(escape("scx_vmland"), "scx_vmland");
        assert_eq!(escape("_a_ b_"), "\\_a\\_ b\\_");
        assert_eq!(
            escape("a|b <i> **c** `d`"),
            "a\\|b \\<i\\> \\*\\*c\\*\\* \\`d\\`"
        );
    }
}
