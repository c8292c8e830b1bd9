// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler: glue between the framework and the policy.

mod bpf;
mod bpf_skel;
mod clients;
mod descriptors;
mod group_weight;
mod host;
mod identify;
mod kvm;
mod memory;
mod metrics;
mod nice;
mod opts;
mod params;
mod prefer;
mod receiver_time;
mod refusal;
mod scheduler;
mod settings;
mod standby;
mod trace;
mod vcpu_events;
mod verifier;
mod vms;

// The framework's connector looks for this and bpf_skel at the crate's root.
mod bpf_intf {
    #![allow(warnings)]
    include!(concat!(env!("OUT_DIR"), "/bpf_intf.rs"));
}

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use log::{error, info, warn};
use scx_utils::build_id;
use scx_utils::compat::struct_has_field;
use scx_vmland::threads;
use tracing_subscriber::filter::LevelFilter;
use vmland_base::exit;
use vmland_control::stats;
use vmland_host::{core_sched, preflight};
use vmland_settings::EffectiveSettings;

use opts::Opts;
use scheduler::Ended;

const NAME: &str = "scx_vmland";

/// An end of which everything has been logged.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
struct Exit(u8);

fn main() -> ExitCode {
    let opts: Opts = match exit::parse() {
        Ok(opts) => opts,
        Err(code) => return ExitCode::from(code),
    };
    ExitCode::from(match run(&opts) {
        Ok(code) => code,
        Err(e) => e.downcast_ref().map_or_else(
            || {
                error!("{e:#}");
                exit::FAILURE
            },
            |&Exit(code)| code,
        ),
    })
}

fn run(opts: &Opts) -> Result<u8> {
    if opts.version {
        println!("{}", version());
        return Ok(exit::OK);
    }
    if opts.help_stats {
        stats::describe::<(), ()>().describe_meta(&mut std::io::stdout(), None)?;
        return Ok(exit::OK);
    }
    start_log(opts.verbose)?;
    if let Some(sec) = opts.monitor {
        metrics::monitor(Duration::from_secs_f64(sec))?;
        return Ok(exit::OK);
    }

    let sources = opts.sources();
    let config = match settings::load(&sources) {
        Ok(config) => config,
        Err(errors) => {
            error!("{errors}");
            return Ok(exit::USAGE);
        }
    };
    // In standby another scheduler may have the place, until the word comes.
    let root = "/".as_ref();
    let checked = if opts.standby {
        preflight::capable(root)
    } else {
        preflight::check(root)
    };
    match checked {
        Ok(host) => {
            info!("{}, Linux {}", version(), host.release);
            let fixed = || struct_has_field("scx_rq", "lock_drop_seq").unwrap_or(false);
            if bpf_skel::has_core_sched() && core_sched::can_deadlock(host.version, fixed()) {
                warn!("{}", core_sched::WARNING);
            }
        }
        Err(refusal) => {
            error!("{refusal}");
            return Ok(refusal.exit_code());
        }
    }
    descriptors::make_room();
    threads::end_with_any();
    let now = EffectiveSettings::new(config, sources, params::defaults(opts));
    if let Some(sec) = opts.stats {
        threads::start("monitor", move || {
            let _ = metrics::monitor(Duration::from_secs_f64(sec));
        });
    }
    match scheduler::run(opts, now)? {
        Ended::Stopped => Ok(exit::OK),
        Ended::Ejected => Ok(exit::SOFTWARE),
        Ended::Restart => {
            error!("a CPU went offline or came online while attaching; start again");
            Ok(exit::TEMPFAIL)
        }
    }
}

fn version() -> String {
    format!(
        "{NAME} {} (scx_rustland_core {})",
        build_id::full_version(env!("CARGO_PKG_VERSION")),
        scx_rustland_core::VERSION
    )
}

/// What libbpf and the framework log goes the same way.
fn start_log(verbose: bool) -> Result<()> {
    let level = if verbose {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .without_time()
        .with_target(false)
        .try_init()
        .map_err(|e| anyhow!("cannot start the log: {e}"))
}
