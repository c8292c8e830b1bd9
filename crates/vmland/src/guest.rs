// SPDX-License-Identifier: GPL-2.0-only
//! `vmland guest`: guests in the background, as the project's own tests use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use vmland_base::exit;
use vmland_guests::archive;
use vmland_guests::daemon::{DIRECTORY, Daemon};
use vmland_guests::spec::{self, Load};

use crate::launch::LaunchOpts;

/// Linux guests with a load that run in the background
///
/// The files of a guest are /run/guests/NAME.log (its console), NAME.pid and NAME.qmp
/// (QEMU's QMP socket).
///
/// Exit code: 0; 1 if QEMU or the guest fails, and for "no"; 64 for a usage error; 69 or 77
/// if this host cannot start guests.
#[derive(Args)]
#[command(hide = true, verbatim_doc_comment)]
pub struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Start(Box<Start>),
    /// Wait until it reports
    Wait {
        #[command(flatten)]
        name: Name,
        /// How long at most, in seconds
        #[arg(default_value = "120")]
        sec: u64,
    },
    /// Print its work since its start, by its last report, of which it makes ten a second
    Count(Name),
    /// Stop its vCPUs and its clock
    Pause(Name),
    /// Let it go on
    Cont(Name),
    /// Has its kernel panicked, or QEMU ended?
    Crashed(Name),
    Stop(Stop),
    /// Print name, process and work of each that runs
    List,
    /// Write the guests' user space, a cpio archive
    Userspace {
        /// Where to
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

#[derive(Args)]
struct Name {
    #[arg(value_parser = spec::name)]
    name: String,
}

impl Name {
    fn guest(&self) -> Daemon {
        Daemon::new(Path::new(DIRECTORY), &self.name)
    }
}

/// Start a guest
#[derive(Args)]
struct Start {
    #[command(flatten)]
    name: Name,

    /// What all its vCPUs do: a load of "vmland bench", but neither io nor run
    #[arg(value_parser = spec::daemon_load)]
    load: Load,

    /// Number of its vCPUs
    #[arg(long, value_name = "N", default_value = "2", value_parser = spec::vcpus)]
    vcpus: u32,

    #[command(flatten)]
    launch: LaunchOpts,

    /// Its user space, a cpio archive, in place of the one that is built in
    #[arg(long, value_name = "FILE", env = "VMLAND_GUEST_USERSPACE")]
    userspace: Option<PathBuf>,
}

/// End it
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Stop {
    #[arg(value_parser = spec::name)]
    name: Option<String>,

    /// End all that run
    #[arg(long)]
    all: bool,
}

pub fn run(opts: &Opts) -> Result<()> {
    match &opts.command {
        Command::Start(opts) => start(opts)?,
        Command::Wait { name, sec } => name.guest().wait_up(Duration::from_secs(*sec))?,
        Command::Count(name) => println!("{}", name.guest().work()?),
        Command::Pause(name) => name.guest().pause()?,
        Command::Cont(name) => name.guest().resume()?,
        Command::Crashed(name) => {
            if !name.guest().has_crashed() {
                process::exit(exit::FAILURE.into());
            }
        }
        Command::Stop(opts) => stop(opts)?,
        Command::List => list(),
        Command::Userspace { output } => fs::write(output, archive::userspace())
            .with_context(|| format!("cannot write {}", output.display()))?,
    }
    Ok(())
}

fn start(opts: &Start) -> Result<()> {
    let mut options = opts.launch.options();
    if let Some(file) = &opts.userspace {
        options.userspace =
            fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(opts.name.guest().start(opts.load, opts.vcpus, &options)?)
}

fn stop(opts: &Stop) -> Result<()> {
    let directory = Path::new(DIRECTORY);
    let guests = match &opts.name {
        Some(name) => vec![Daemon::new(directory, name)],
        None => Daemon::running(directory),
    };
    for guest in guests {
        guest.stop()?;
    }
    Ok(())
}

fn list() {
    for guest in Daemon::running(Path::new(DIRECTORY)) {
        let pid = guest.pid().map_or(String::new(), |pid| pid.to_string());
        let work = guest.work().map_or(String::new(), |work| work.to_string());
        println!("{} {pid} {work}", guest.name());
    }
}
