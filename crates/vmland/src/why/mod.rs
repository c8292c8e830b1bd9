// SPDX-License-Identifier: GPL-2.0-only
//! `vmland why`: why a VM is scheduled as it is.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `measure` | what the VM did while we looked |
//! | `limits` | the quotas and the cap that hold for it |
//! | `explain` | all of it in words |

mod explain;
mod limits;
mod measure;

use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use vmland_base::CGROUP_ROOT;
use vmland_control::client::{Error, ask};
use vmland_control::{ErrorKind, Request, Why};

use crate::client::Client;
use crate::vm::cgroup;
use measure::{Measured, Reading};

/// Say why a VM is scheduled as it is
///
/// Its mode, the evidence for that, its share, what it waits for, and what would change it.
/// Evidence is counted per second of CPU time of its vCPUs. The share that its weight gives
/// it is of the CPU time that all VMs had; where VMs may use some CPUs only, it can be less.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// Name or UUID.
    #[arg(value_name = "NAME")]
    vm: String,

    /// Seconds over which it is measured.
    #[arg(short, long, value_name = "SEC", default_value_t = 1.0, value_parser = crate::top::interval)]
    interval: f64,

    /// As JSON; times in nanoseconds.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// At the end of the interval.
    #[serde(flatten)]
    why: Why,
    /// Over the interval.
    now: Measured,
}

pub fn run(opts: &Opts) -> Result<()> {
    let before = planned(&opts.vm)?;
    let root = Path::new(CGROUP_ROOT);
    let read = |client: &mut Client| Reading::new(client, root, &before.shown);
    let mut client = Client::connect()?;
    let first = read(&mut client)?;
    sleep(Duration::from_secs_f64(opts.interval));
    let last = read(&mut client)?;
    let mut why = planned(&opts.vm)?;
    let now = Measured::between(&first, &last, &why.shown).context("the VM has just ended")?;
    cgroup::add_to(&mut why.shown, root);
    let report = Report { why, now };
    let mut out = std::io::stdout().lock();
    if opts.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", explain::text(&report.why, &report.now))?;
    }
    Ok(())
}

fn planned(vm: &str) -> Result<Why> {
    ask(&Request::Why { vm: vm.into() }).map_err(|e| match e {
        // It knows no such request.
        Error::Refused(refused) if refused.kind == ErrorKind::Malformed => anyhow::Error::from(
            Error::Refused(refused),
        )
        .context(
            "the scx_vmland that runs here is older than this vmland, and has no planner to ask",
        ),
        e => e.into(),
    })
}
