// SPDX-License-Identifier: GPL-2.0-only
//! A reading as text, for pipes and logs: all columns, however wide that is.

use comfy_table::{CellAlignment, Table, presets};

use super::columns::{COLUMNS, cell};
use super::host::{joined, lines};
use super::order::Order;
use crate::observe::rates::Rates;

pub fn text(rates: &Rates, order: &Order) -> String {
    let mut text = String::new();
    for line in lines(&rates.host) {
        if !line.is_empty() {
            text += &joined(&line, usize::MAX);
            text += "\n";
        }
    }
    let mut table = Table::new();
    let titles = COLUMNS.iter().map(|column| column.title);
    table
        .load_preset(presets::NOTHING)
        .set_header(["VM", "vCPUs"].into_iter().chain(titles));
    for vm in order.apply(rates) {
        let first = [vm.identity.name.clone(), vm.vcpus.len().to_string()];
        let cells = COLUMNS
            .iter()
            .map(|column| cell(column, (column.of_vm)(vm)));
        table.add_row(first.into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    text + &table.to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rates::tests::of_two_vms;

    #[test]
    fn a_row_a_vm() {
        let text = text(&of_two_vms(), &Order::new(Some(0), ""));
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(lines[2][..4], ["VM", "vCPUs", "CPU%", "DUE%"]);
        assert_eq!(
            lines[3][..6],
            ["web-1", "2", "120.0", "135.0", "30.0", "5.00"]
        );
        assert_eq!(lines[4][..3], ["db-1", "2", "60.0"]);
        assert_eq!(lines.len(), 5);
    }
}
