// SPDX-License-Identifier: GPL-2.0-only
//! A comparison for a terminal.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::rows::{self, ResultRow};
use super::strip::strip;
use super::{safe, summary, words};
use crate::record::{Metric, Record};

/// Width in columns where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 100;

/// Before a strip gets narrower, an interval moves below its number.
const STRIP_MIN: usize = 12;

/// Before it gets narrower than this, it is left out.
const STRIP_LEAST: usize = 6;

/// Wider ones tell no more.
const STRIP_MAX: usize = 32;

/// Columns between two cells.
const GAP: usize = 2;

/// Longest line of a verdict, in columns.
const VERDICT_WIDTH: usize = 20;

/// Widest name of a scheduler, in columns.
const NAME_WIDTH: usize = 24;

/// The report as lines of at most `width` columns, where words allow; 100 if none.
///
/// Each metric has a line an arm: median, quartiles, the spread of the windows
/// (see the axis in the metric's heading), [`Ratio`](crate::comparison::Ratio)
/// to the reference with its 95 % interval, corrected p, and the verdict. Where a
/// line does not hold all that, it is two lines an arm; then the spread is left out.
pub fn table(record: &Record, width: Option<u16>) -> String {
    let record = safe::safe(record);
    let width = width.unwrap_or(DEFAULT_WIDTH);
    let mut blocks = vec![wrap(&summary::sentences(&record).join(" "), width)];
    blocks.extend(metrics(&record, width));
    blocks.extend(vms(&record, width));
    blocks.extend(events(&record, width));
    blocks.join("\n\n") + "\n"
}

/// How an arm's cells are arranged, the same for all metrics so that they align.
struct Layout {
    width: u16,
    /// Without the spread.
    cells: fn(&ResultRow) -> Vec<String>,
    /// The spread goes before the ratio.
    strip_at: usize,
    /// With the spread's. None if there is no room for one: then each table is on its own.
    columns: Option<Vec<usize>>,
}

/// Each cell on a line.
fn wide(row: &ResultRow) -> Vec<String> {
    let (ratio, p) = match row.verdict {
        Some(_) => (format!("{} {}", row.ratio, row.interval), row.p.clone()),
        None => (String::new(), String::new()),
    };
    let (median, quartiles) = (row.median.clone(), row.quartiles.clone());
    vec![
        row.arm.into(),
        median,
        quartiles,
        ratio,
        p,
        row.words.clone(),
    ]
}

/// Intervals below their numbers.
fn stacked(row: &ResultRow) -> Vec<String> {
    let ratio = match row.verdict {
        Some(_) => format!("{}, p {}\n{}", row.ratio, row.p, row.interval),
        None => String::new(),
    };
    let median = format!("{}\n{}", row.median, row.quartiles);
    vec![row.arm.into(), median, ratio, row.words.clone()]
}

impl Layout {
    /// The one that shows the most of `rows`.
    fn of(rows: &[&ResultRow], width: u16) -> Self {
        let room = |columns: &[usize]| {
            let taken = columns.iter().map(|w| w + GAP).sum::<usize>();
            usize::from(width).saturating_sub(taken)
        };
        let mut layout = Self {
            width,
            cells: wide,
            strip_at: 3,
            columns: None,
        };
        let mut columns = layout.columns_of(rows);
        if room(&columns) < STRIP_MIN {
            layout.cells = stacked;
            layout.strip_at = 2;
            columns = layout.columns_of(rows);
        }
        let strip = room(&columns).min(STRIP_MAX);
        if strip >= STRIP_LEAST && !rows.is_empty() {
            columns.insert(layout.strip_at, strip);
            layout.columns = Some(columns);
        }
        layout
    }

    /// What the cells need.
    fn columns_of(&self, rows: &[&ResultRow]) -> Vec<usize> {
        let mut table = bare();
        table.add_rows(rows.iter().map(|row| (self.cells)(row)));
        let widths = table.column_max_content_widths().into_iter();
        let mut columns: Vec<usize> = widths.map(usize::from).collect();
        if let [name, .., verdict] = columns.as_mut_slice() {
            *name = (*name).min(NAME_WIDTH);
            *verdict = (*verdict).min(VERDICT_WIDTH);
        }
        columns
    }

    fn metric(&self, metric: &Metric, rows: &[ResultRow]) -> String {
        let extent = rows::extent(rows);
        let (name, better) = (words::with_unit(metric), words::better(metric.better));
        let axis = match (extent, &self.columns) {
            (Some((low, high)), Some(_)) => format!("; axis {}", words::range(low, high)),
            _ => String::new(),
        };
        let heading = wrap(&format!("{name} ({better}{axis})"), self.width);

        let mut table = bare();
        for row in rows {
            let mut cells = (self.cells)(row);
            if let Some(columns) = &self.columns {
                let strip =
                    extent.map(|(low, high)| strip(&row.values, low, high, columns[self.strip_at]));
                cells.insert(self.strip_at, strip.unwrap_or_default());
            }
            table.add_row(cells);
        }
        for column in table.column_iter_mut().take(self.strip_at).skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let Some(columns) = &self.columns else {
            return format!("{heading}\n{}", fitted(table, self.width));
        };
        for (column, width) in table.column_iter_mut().zip(columns) {
            let width = Width::Fixed((width + GAP) as u16);
            column.set_constraint(ColumnConstraint::Absolute(width));
        }
        format!("{heading}\n{}", lines(table))
    }
}

fn metrics(record: &Record, width: u16) -> Vec<String> {
    let results: Vec<_> = record
        .compared()
        .map(|metric| (metric, rows::results(record, metric)))
        .collect();
    let rows: Vec<&ResultRow> = results.iter().flat_map(|(_, rows)| rows).collect();
    let layout = Layout::of(&rows, width);
    results
        .iter()
        .map(|(metric, rows)| layout.metric(metric, rows))
        .collect()
}

fn vms(record: &Record, width: u16) -> Option<String> {
    let vms = rows::vms(record)?;
    let mut table = bare();
    let fixed = ["VM", "scheduler"].map(str::to_owned);
    table.set_header(fixed.into_iter().chain(vms.columns));
    let mut last = "";
    for row in &vms.rows {
        let vm = if row.vm == last { "" } else { row.vm };
        last = row.vm;
        let fixed = [vm, row.arm].map(str::to_owned);
        table.add_row(fixed.into_iter().chain(row.medians.iter().cloned()));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Some(format!("VMs, medians\n{}", fitted(table, width)))
}

fn events(record: &Record, width: u16) -> Option<String> {
    let events = rows::events(record);
    if events.is_empty() {
        return None;
    }
    let mut table = bare();
    for event in events {
        table.add_row([event.at, event.text]);
    }
    Some(format!("Notes\n{}", fitted(table, width)))
}

/// No borders.
fn bare() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).force_no_tty();
    table
}

/// The table's lines, broken between words where they are too long.
fn fitted(mut table: Table, width: u16) -> String {
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    lines(table)
}

/// The table's lines, with [`GAP`] columns between two cells.
fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn wrap(text: &str, width: u16) -> String {
    let mut table = bare();
    table.add_row([text]);
    fitted(table, width)
}
