// SPDX-License-Identifier: GPL-2.0-only
//! `vmland top`: what the VMs do, again and again.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `columns` | what is shown of a VM, and where it comes from |
//! | `order` | which VMs, in which order |
//! | `host` | the lines on the host |
//! | `app` | the state of the screen, and what keys do to it |
//! | `screen` | drawing it |
//! | `terminal` | the terminal's part: keys in, frames out |
//! | `text`, `export` | the same for pipes: text; JSON and CSV |

mod app;
mod columns;
mod export;
mod host;
mod order;
mod screen;
mod terminal;
mod text;

use std::io::{IsTerminal, Write, stdin, stdout};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::observe::Source;
use crate::observe::rates::Rates;
use order::Order;

/// Show what the VMs do: CPU time, time ready without a CPU, pause exits, directed yields
///
/// It works under any scheduler; what only scx_vmland or KVM knows is missing elsewhere. On a
/// terminal it is a screen, on which "?" explains the keys and columns. READY% is what a guest
/// sees as steal time. Root sees all VMs.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// Seconds between two readings.
    #[arg(short, long, value_name = "SEC", default_value_t = 1.0, value_parser = interval)]
    interval: f64,

    /// Stop after N readings.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Text, one table after the other, as where there is no terminal. Several readings end with
    /// one over all of their time.
    #[arg(long)]
    batch: bool,

    /// One table over the interval: --batch --count 1.
    #[arg(long, conflicts_with = "count")]
    once: bool,

    /// A JSON object a reading, each on a line.
    #[arg(long, conflicts_with_all = ["batch", "csv"])]
    json: bool,

    /// A CSV line for each VM and reading.
    #[arg(long, conflicts_with = "batch")]
    csv: bool,

    /// A column, by its title or its name in JSON; or "name".
    #[arg(long, value_name = "COLUMN", default_value = "ready_percent", value_parser = order::sort)]
    sort: order::Sort,

    /// Only VMs whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

pub fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(sec) if (0.1..=3_600.0).contains(&sec) => Ok(sec),
        _ => Err("expected seconds, from 0.1 to 3600".into()),
    }
}

pub fn run(opts: &Opts) -> Result<()> {
    let order = Order::new(opts.sort, &opts.filter);
    let interval = Duration::from_secs_f64(opts.interval);
    let to_pipe = opts.batch || opts.once || opts.json || opts.csv;
    if !to_pipe && stdin().is_terminal() && stdout().is_terminal() {
        return terminal::run(order, interval, opts.count);
    }
    let count = if opts.once { Some(1) } else { opts.count };
    let mut out = stdout().lock();
    if opts.csv {
        export::csv_header(&mut out)?;
    }
    let mut source = Source::default();
    let first = source.read();
    let mut last = first.clone();
    let mut readings = 0;
    while count.is_none_or(|count| readings < count) {
        sleep(interval);
        let now = source.read();
        let rates = Rates::between(&last, &now);
        if opts.json {
            export::json(&mut out, &rates, &order)?;
        } else if opts.csv {
            export::csv(&mut out, &rates, &order)?;
        } else {
            writeln!(out, "{}", text::text(&rates, &order))?;
        }
        out.flush()?;
        last = now;
        readings += 1;
    }
    if readings > 1 && !opts.json && !opts.csv {
        let rates = Rates::between(&first, &last);
        writeln!(
            out,
            "Over {:.0} s:\n{}",
            rates.span_s,
            text::text(&rates, &order)
        )?;
    }
    Ok(())
}
