// SPDX-License-Identifier: GPL-2.0-only
//! A comparison as GitHub's Markdown.

use super::file_format::{FileFormat, Target};
use crate::report::model::Model;
use crate::report::sparkline::sparkline;

pub const MARKDOWN: FileFormat = FileFormat {
    option: "export-markdown",
    help: "Write the tables as Markdown",
    target: Target::File,
    render: markdown,
};

/// Width of the spread, in characters.
const SPARKLINE_WIDTH: usize = 24;

/// A section with a heading, to be pasted into an issue.
fn markdown(model: &Model) -> String {
    let mut blocks = vec![
        format!("## {}", escape(&model.title)),
        escape(&model.sentences.join(" ")),
        metrics(model),
    ];
    blocks.extend(vms(model));
    blocks.extend(events(model));
    blocks.join("\n\n") + "\n"
}

fn metrics(model: &Model) -> String {
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
    for metric in &model.metrics {
        let extent = metric.extent();
        for (i, row) in metric.rows.iter().enumerate() {
            let heading = match i {
                0 => format!("**{}** ({})", escape(&metric.heading), metric.better),
                _ => String::new(),
            };
            let spread = extent.map_or(String::new(), |axis| {
                format!("`{}`", sparkline(row.values(), axis, SPARKLINE_WIDTH))
            });
            let (ratio, p) = match &row.versus {
                Some(versus) => (
                    format!("{} {}", versus.ratio, versus.interval),
                    versus.p.clone(),
                ),
                None => Default::default(),
            };
            lines.push(line([
                heading,
                escape(&row.arm),
                row.median.clone(),
                row.quartiles.clone(),
                spread,
                escape(&ratio),
                escape(&p),
                row.outcome.clone(),
            ]));
        }
    }
    lines.join("\n")
}

fn vms(model: &Model) -> Option<String> {
    let vms = model.vms.as_ref()?;
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
        let fixed = [&row.vm, &model.arms[row.arm].name].map(|text| escape(text));
        lines.push(line(fixed.into_iter().chain(row.medians.iter().cloned())));
    }
    Some(format!("### VMs, medians\n\n{}", lines.join("\n")))
}

fn events(model: &Model) -> Option<String> {
    let events: Vec<String> = model
        .events
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
