// SPDX-License-Identifier: GPL-2.0-only
//! The operator's tool.

mod ab;
mod bench;
mod client;
mod config;
mod doctor;
mod guest;
mod launch;
mod manual;
mod metrics;
mod observe;
mod sched_ext;
mod top;
mod trace;
mod vm;
mod vms;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vmland_base::exit;
use vmland_control::Refused;
use vmland_guests::{daemon, running, spec, workload};
use vmland_settings::{Diagnostics, SaveError};

/// Watch VMs, set what they get, compare schedulers
#[derive(Parser)]
#[command(name = "vmland", version)]
struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Vms(vms::Opts),
    Vm(vm::Opts),
    Top(top::Opts),
    Metrics(metrics::Opts),
    Why(why::Opts),
    Trace(trace::Opts),
    Ab(Box<ab::Opts>),
    Bench(Box<bench::Opts>),
    Doctor(doctor::Opts),
    Config(config::Opts),
    Guest(guest::Opts),
    #[command(hide = true)]
    Manual(manual::Opts),
}

/// An end of which everything has been printed.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
struct Exit(u8);

fn main() -> ExitCode {
    let opts: Opts = match exit::parse() {
        Ok(opts) => opts,
        Err(code) => return ExitCode::from(code),
    };
    let done = match opts.command {
        Command::Vms(opts) => vms::run(&opts),
        Command::Vm(opts) => vm::run(&opts),
        Command::Top(opts) => top::run(&opts),
        Command::Metrics(opts) => metrics::run(&opts),
        Command::Why(opts) => why::run(&opts),
        Command::Trace(opts) => trace::run(&opts),
        Command::Ab(opts) => ab::run(&opts),
        Command::Bench(opts) => bench::run(&opts),
        Command::Doctor(opts) => doctor::run(&opts),
        Command::Config(opts) => config::run(&opts),
        Command::Guest(opts) => guest::run(&opts),
        Command::Manual(opts) => manual::run(&opts),
    };
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        // The reader of our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::from(exit::OK),
        Err(e) => match e.downcast_ref() {
            Some(&Exit(code)) => ExitCode::from(code),
            None => {
                eprintln!("vmland: {e:#}");
                ExitCode::from(exit_code(&e))
            }
        },
    }
}

fn exit_code(e: &anyhow::Error) -> u8 {
    if e.is::<client::NotRunning>() || e.is::<ab::NoSchedExt>() {
        exit::UNAVAILABLE
    } else if e.is::<ab::NotRoot>() {
        exit::NOPERM
    } else if let Some(running::Error::Refused(refusal)) = e.downcast_ref() {
        refusal.exit_code()
    } else if let Some(daemon::Error::Refused(refusal)) = e.downcast_ref() {
        refusal.exit_code()
    } else if let Some(e) = e.downcast_ref::<workload::Error>() {
        e.exit_code()
    } else if let Some(e) = e.downcast_ref::<vmland_control::client::Error>() {
        e.exit_code()
    } else if e.is::<Refused>()
        || matches!(e.downcast_ref(), Some(SaveError::Wrong(_)))
        || e.is::<Diagnostics>()
        || e.is::<ab::WrongUsage>()
        || e.is::<spec::SpecError>()
    {
        exit::USAGE
    } else {
        exit::FAILURE
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_guests::preflight::Refusal;

    #[test]
    fn a_refusal_to_start_guests_has_its_own_exit_code() {
        let stopped = || daemon::Error::NotRunning("a".into());
        assert_eq!(exit_code(&stopped().into()), exit::FAILURE);
        let refused = anyhow::Error::from(daemon::Error::from(Refusal::NoKvm));
        assert_eq!(exit_code(&refused), exit::UNAVAILABLE);
        let refused = anyhow::Error::from(running::Error::from(Refusal::NoKvm));
        assert_eq!(exit_code(&refused), exit::UNAVAILABLE);
    }
}
