// SPDX-License-Identifier: GPL-2.0-only
//! A comparison for a terminal.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::format;
use super::model::{ArmRow, MetricTable, Model};
use super::sparkline::sparkline;

/// Width in columns where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 100;

/// Columns of a sparkline below which an interval moves below its number.
const SPARKLINE_MIN: usize = 12;

/// Columns of a sparkline below which there is none.
const SPARKLINE_LEAST: usize = 6;

/// Columns of the widest sparkline: a wider one shows no more.
const SPARKLINE_MAX: usize = 32;

/// Columns between two cells.
const GAP: usize = 2;

/// Longest line of a verdict, in columns.
const VERDICT_WIDTH: usize = 20;

/// Widest name of a scheduler, in columns.
const NAME_WIDTH: usize = 24;

/// The report as lines of at most `width` columns, as far as long words allow; 100 if none.
///
/// Each metric has a line an arm: median, quartiles, the spread of the windows
/// (see the axis in the metric's heading), [`Ratio`](crate::comparison::Ratio)
/// to the reference with its 95 % interval, corrected p, and the verdict. Where a
/// line does not hold all that, it is two lines an arm; then the spread is left out.
pub fn terminal(model: &Model, width: Option<u16>) -> String {
    let width = width.unwrap_or(DEFAULT_WIDTH);
    let mut blocks = vec![wrap(&model.sentences.join(" "), width)];
    blocks.extend(metrics(model, width));
    blocks.extend(vms(model, width));
    blocks.extend(events(model, width));
    blocks.join("\n\n") + "\n"
}

/// How an arm's cells are arranged, the same for all metrics so that they align.
struct Layout {
    width: u16,
    /// Without the spread.
    cells: fn(&ArmRow) -> Vec<String>,
    /// The spread's column, before the ratio's.
    sparkline_at: usize,
    /// With the spread's. None if there is no room for one: then each table is on its own.
    columns: Option<Vec<usize>>,
}

/// Each cell on a line.
fn wide(row: &ArmRow) -> Vec<String> {
    let (ratio, p) = match &row.versus {
        Some(versus) => (
            format!("{} {}", versus.ratio, versus.interval),
            versus.p.clone(),
        ),
        None => Default::default(),
    };
    vec![
        row.arm.clone(),
        row.median.clone(),
        row.quartiles.clone(),
        ratio,
        p,
        row.outcome.clone(),
    ]
}

/// Intervals below their numbers.
fn stacked(row: &ArmRow) -> Vec<String> {
    let ratio = row.versus.as_ref().map_or(String::new(), |versus| {
        format!("{}, p {}\n{}", versus.ratio, versus.p, versus.interval)
    });
    let median = format!("{}\n{}", row.median, row.quartiles);
    vec![row.arm.clone(), median, ratio, row.outcome.clone()]
}

impl Layout {
    /// The one that shows the most of `rows`.
    fn of(rows: &[&ArmRow], width: u16) -> Self {
        let room = |columns: &[usize]| {
            let taken = columns.iter().map(|w| w + GAP).sum::<usize>();
            usize::from(width).saturating_sub(taken)
        };
        let mut layout = Self {
            width,
            cells: wide,
            sparkline_at: 3,
            columns: None,
        };
        let mut columns = layout.columns_of(rows);
        if room(&columns) < SPARKLINE_MIN {
            layout.cells = stacked;
            layout.sparkline_at = 2;
            columns = layout.columns_of(rows);
        }
        let sparkline = room(&columns).min(SPARKLINE_MAX);
        if sparkline >= SPARKLINE_LEAST && !rows.is_empty() {
            columns.insert(layout.sparkline_at, sparkline);
            layout.columns = Some(columns);
        }
        layout
    }

    /// What the cells need.
    fn columns_of(&self, rows: &[&ArmRow]) -> Vec<usize> {
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

    fn metric(&self, metric: &MetricTable) -> String {
        let extent = metric.extent();
        let axis = match (extent, &self.columns) {
            (Some((low, high)), Some(_)) => format!("; axis {}", format::range(low, high)),
            _ => String::new(),
        };
        let heading = format!("{} ({}{axis})", metric.heading, metric.better);
        let heading = wrap(&heading, self.width);

        let mut table = bare();
        for row in &metric.rows {
            let mut cells = (self.cells)(row);
            if let Some(columns) = &self.columns {
                let width = columns[self.sparkline_at];
                let drawn = extent.map(|axis| sparkline(row.values(), axis, width));
                cells.insert(self.sparkline_at, drawn.unwrap_or_default());
            }
            table.add_row(cells);
        }
        for column in table.column_iter_mut().take(self.sparkline_at).skip(1) {
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

fn metrics(model: &Model, width: u16) -> impl Iterator<Item = String> {
    let rows: Vec<&ArmRow> = model.metrics.iter().flat_map(|m| &m.rows).collect();
    let layout = Layout::of(&rows, width);
    model.metrics.iter().map(move |m| layout.metric(m))
}

fn vms(model: &Model, width: u16) -> Option<String> {
    let vms = model.vms.as_ref()?;
    let mut table = bare();
    let fixed = ["VM", "scheduler"].map(str::to_owned);
    table.set_header(fixed.into_iter().chain(vms.columns.iter().cloned()));
    let mut last = "";
    for row in &vms.rows {
        let vm = if row.vm == last { "" } else { &row.vm };
        last = &row.vm;
        let fixed = [vm, &model.arms[row.arm].name].map(str::to_owned);
        table.add_row(fixed.into_iter().chain(row.medians.iter().cloned()));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Some(format!("VMs, medians\n{}", fitted(table, width)))
}

fn events(model: &Model, width: u16) -> Option<String> {
    if model.events.is_empty() {
        return None;
    }
    let mut table = bare();
    for event in &model.events {
        table.add_row([&event.at, &event.text]);
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
