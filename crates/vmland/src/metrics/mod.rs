// SPDX-License-Identifier: GPL-2.0-only
//! `vmland metrics`: an exporter for Prometheus, in a process of its own.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `address` | where it listens |
//! | `families` | what is exported, and what it is called |
//! | `exposition` | a reading as OpenMetrics text |
//! | `http` | one request and its response |
//! | `server` | clients, however they behave |

mod address;
mod exposition;
mod families;
mod http;
mod server;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::observe::Source;
use address::Address;
use server::Server;

/// However often it is asked, it does not look at the host more often.
const FRESH: Duration = Duration::from_secs(1);

/// Export the VMs' metrics to Prometheus
///
/// It serves http://ADDR/metrics as OpenMetrics, under any scheduler, until it is stopped.
/// All who may connect can read the names of the VMs. Run it as root, or it sees less.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// A port of the loopback interface, an address and a port, or the path of a Unix socket.
    #[arg(value_name = "ADDR")]
    address: Address,
}

pub fn run(opts: &Opts) -> Result<()> {
    let listener = opts.address.listen();
    let listener = listener.with_context(|| format!("cannot listen on {}", opts.address))?;
    eprintln!("vmland: metrics are on {}", listener.address());
    let mut source = Source::default();
    let mut last: Option<(Instant, String)> = None;
    let mut text = || {
        if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
            last = Some((Instant::now(), exposition::text(source.read())));
        }
        last.as_ref().map_or("", |(_, text)| text).to_owned()
    };
    let mut server = Server::new(listener);
    loop {
        server.turn(&mut text);
    }
}
