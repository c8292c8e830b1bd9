// SPDX-License-Identifier: GPL-2.0-only
//! `vmland trace`: who had which CPU, and why, as a file that Perfetto opens.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `ring` | the scheduler's ring of records |
//! | `model` | from records to turns, waits and hand-offs |
//! | `chrome` | these as a file |
//!
//! The scheduler is asked over the control socket, and stops by itself after the time. Its records
//! are read here: no thread of its does anything for it.

mod chrome;
mod model;
mod ring;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vmland_base::printable::harmless;
use vmland_control::Request;
use vmland_control::client::ask;
use vmland_control::trace::{Event, LONGEST_NS, Tracing};

use crate::client::Client;
use chrome::{About, Names};
use model::Model;
use ring::Ring;

/// How often the ring is emptied: it has room for 26 ms of a million records a second.
const POLL: Duration = Duration::from_millis(5);

/// Records that are kept: 128 MiB here, and some 800 MiB of file.
const RECORDS_MAX: usize = 4_000_000;

/// Record who has which CPU, and why
///
/// Who runs on each CPU and why, why each turn ends, which vCPU yields to which, and which
/// IPI put whom first, as a file for https://ui.perfetto.dev or chrome://tracing. Tracing
/// costs the host some CPU time while it lasts.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// For how long: up to 1 minute.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = span)]
    span: Duration,

    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// At most so many records; the trace ends when there are as many.
    #[arg(long, value_name = "N", default_value_t = RECORDS_MAX as u64,
          value_parser = clap::value_parser!(u64).range(1..=RECORDS_MAX as u64))]
    records: u64,
}

fn span(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_nanos(LONGEST_NS);
    match humantime::parse_duration(text) {
        Ok(span) if !span.is_zero() && span <= longest => Ok(span),
        _ => Err("expected a time up to 1 minute, such as 500ms or 5s".into()),
    }
}

pub fn run(opts: &Opts) -> Result<()> {
    let mut client = Client::connect()?;
    // Before a trace is begun that could not be written.
    let file = File::create(&opts.output);
    let file = file.with_context(|| format!("cannot write {}", opts.output.display()))?;
    let recorded = record(opts)?;
    let model = Model::new(recorded.events);
    let names = Known::of(&model, &mut client)?;
    let about = About {
        version: env!("CARGO_PKG_VERSION").into(),
        records: recorded.records,
        lost: recorded.lost,
        cut: recorded.cut,
    };
    let mut out = BufWriter::new(file);
    chrome::write(&mut out, &model, &names, &about)?;
    out.flush()?;
    say(&about, opts);
    Ok(())
}

fn say(about: &About, opts: &Opts) {
    let file = opts.output.display();
    eprintln!(
        "vmland: {} records; open {file} at https://ui.perfetto.dev",
        about.records
    );
    if about.lost > 0 {
        eprintln!("vmland: {} more found no room, and are missing", about.lost);
    }
    if about.cut {
        eprintln!("vmland: it ended early, for there were as many records as --records allows");
    }
}

struct Recorded {
    events: Vec<Event>,
    records: usize,
    lost: u64,
    cut: bool,
}

fn record(opts: &Opts) -> Result<Recorded> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    let begun: Tracing = ask(&Request::Trace {
        ns: opts.span.as_nanos() as u64,
    })?;
    let taken = Ring::open(&begun).map(|ring| {
        let most = opts.records as usize;
        let mut events = vec![];
        let take = |events: &mut Vec<Event>| {
            ring.take(|record| {
                if events.len() < most {
                    events.extend(Event::decode(record));
                }
            });
        };
        let end = Instant::now() + opts.span;
        while Instant::now() < end && events.len() < most && !stop.load(Ordering::Relaxed) {
            sleep(POLL);
            take(&mut events);
        }
        (events, most)
    });
    // Whatever happened: nobody reads the ring any more.
    let ended: Tracing = ask(&Request::Trace { ns: 0 })?;
    let (events, most) = taken?;
    Ok(Recorded {
        records: events.len(),
        lost: ended.lost - begun.lost,
        cut: events.len() == most,
        events,
    })
}

/// Names as of the end of the trace.
struct Known {
    tasks: HashMap<i32, String>,
    vms: HashMap<u32, (i32, String)>,
}

impl Known {
    fn of(model: &Model, client: &mut Client) -> Result<Self> {
        let metrics = client.metrics()?;
        let mut vms = HashMap::new();
        let mut tasks = HashMap::new();
        for (vm_id, vm) in &metrics.vms {
            let name = client.identity(*vm_id, vm.tgid).name.clone();
            for (id, tid) in &vm.vcpus {
                tasks.insert(*tid, format!("{name} vCPU {id}"));
            }
            vms.insert(*vm_id, (vm.tgid, name));
        }
        for pid in model.pids() {
            tasks.entry(pid).or_insert_with(|| thread_name(pid));
        }
        Ok(Self { tasks, vms })
    }
}

/// Of a thread that has ended, its number.
fn thread_name(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name.trim_end().chars().map(harmless).collect(),
        Err(_) => format!("thread {pid}"),
    }
}

impl Names for Known {
    fn task(&self, pid: i32) -> String {
        let known = self.tasks.get(&pid);
        known.cloned().unwrap_or_else(|| format!("thread {pid}"))
    }

    /// A VM that has ended has no process; its number does not clash with one.
    fn vm(&self, vm_id: u32) -> (i32, String) {
        let known = self.vms.get(&vm_id);
        known
            .cloned()
            .unwrap_or_else(|| (-(vm_id as i32), format!("VM {vm_id}, which has ended")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long() {
        assert_eq!(span("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(span("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["61s", "0s", "5", "-1s", ""] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
