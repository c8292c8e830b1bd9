// SPDX-License-Identifier: GPL-2.0-only
//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Parser;
use scx_utils::libbpf_clap_opts::LibbpfOpts;
use vmland_settings::{DEFAULT_FILE, Key, Settings, Sources, host_cpus};

/// A sched_ext scheduler for KVM hosts that honours yield_to
///
/// scx_vmland replaces the host's CPU scheduler for as long as it runs. It knows
/// which threads are vCPUs of which VM, and when KVM sees one of them spin and
/// asks to run a sibling instead, the sibling runs. Stop it with Ctrl-C or
/// SIGTERM; the kernel goes back to its own scheduler at once, as it does by
/// itself should scx_vmland ever crash or hang.
///
/// Every task is charged for CPU time by its weight, and the task with the
/// earliest deadline runs next. A yielder is charged what its target is credited
/// with, so that spinning neither earns nor costs a VM CPU time. Where the vCPUs of
/// a VM spin for each other, a planner in user space makes the VM a gang, whose
/// vCPUs have their turns at the same time.
///
/// VMs compete with each other by weight, however many vCPUs they have. Weights,
/// slices and more can be set for each by name, in a file or with --vm; SIGHUP
/// or "vmland config reload" makes the scheduler read the file anew, and "vmland
/// vm set" changes what a VM has at once.
///
/// Exit codes: 0 stopped; 1 failed; 64 wrong usage; 69 this host cannot run it;
/// 70 rejected or ejected by the kernel; 75 another scheduler is attached;
/// 77 no permission.
#[derive(Debug, Parser)]
#[command(name = super::NAME, verbatim_doc_comment, disable_version_flag = true)]
pub struct Opts {
    /// Time slice in microseconds.
    #[arg(short = 's', long, value_name = "USEC", default_value_t = us(Settings::DEFAULTS.slice_ns),
          value_parser = clap::value_parser!(u64).range(range_us(Key::slice)))]
    pub slice_us: u64,

    /// Least difference of virtual time, in microseconds, by which a waking task
    /// preempts a running one, and least time that the turn of this one has lasted
    /// by then.
    #[arg(short = 'S', long, value_name = "USEC", default_value_t = us(Settings::DEFAULTS.slice_min_ns),
          value_parser = clap::value_parser!(u64).range(..=range_us(Key::slice_min).end()))]
    pub slice_us_min: u64,

    /// How long after an IPI, in microseconds, a receiver that waits for a CPU gets that
    /// of the sender when the sender spins, sleeps or has used up its slice. 0: never.
    /// A VM may have another value (ipi_window).
    #[arg(long, value_name = "USEC", default_value_t = us(Settings::DEFAULTS.ipi_window_ns),
          value_parser = clap::value_parser!(u64).range(range_us(Key::ipi_window)))]
    pub ipi_window_us: u64,

    /// Leave out a mechanism, to see what it is worth. May be repeated or be a list:
    /// yield-to (directed yields are honoured), receivers (the receiver of an IPI runs
    /// first), second-chance (a target that merely woke is refused once), turns (a
    /// hand-off passes on what is left of the turn), preemption (a waking task can
    /// preempt), sticky (sender and receiver of IPIs stay on one CPU), prolong (a turn
    /// is prolonged for the receiver of an IPI), gangs (VMs whose vCPUs spin for each
    /// other have aligned turns).
    #[arg(
        long,
        value_name = "MECHANISM,…",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub without: Vec<Mechanism>,

    /// What each VM may have; further files are in the directory of the same name
    /// with the ending .d. "vmland config check" checks it. [default:
    /// /etc/scx_vmland/config.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Settings for VMs of such names, on top of the file's, such as
    /// 'db-*:weight=400,latency=low'. May be repeated.
    #[arg(long, value_name = "NAME-GLOB:key=value,…")]
    pub vm: Vec<String>,

    /// Only schedule tasks that asked for it with sched_setscheduler(2) and
    /// SCHED_EXT. vCPUs are found among those only.
    #[arg(short = 'p', long)]
    pub partial: bool,

    /// Load, and attach when a line comes on standard input; end if that is closed
    /// first. Another scheduler may be attached until then: a switch takes no longer
    /// than attaching does.
    #[arg(long)]
    pub standby: bool,

    /// Length of the kernel's debug dump on an ejection, in bytes. 0: its default.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub exit_dump_len: u32,

    /// Print statistics every SEC seconds while scheduling.
    #[arg(long, value_name = "SEC", value_parser = seconds)]
    pub stats: Option<f64>,

    /// Print the statistics of a running scx_vmland every SEC seconds; start no
    /// scheduler.
    #[arg(long, value_name = "SEC", value_parser = seconds)]
    pub monitor: Option<f64>,

    /// Explain the statistics and exit.
    #[arg(long)]
    pub help_stats: bool,

    /// Print more, libbpf's messages among it.
    #[arg(short = 'v', long)]
    pub verbose: bool,

    /// Print the version and exit.
    #[arg(short = 'V', long)]
    pub version: bool,

    #[command(flatten, next_help_heading = "Libbpf options")]
    pub libbpf: LibbpfOpts,
}

/// What --without can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    YieldTo,
    Receivers,
    SecondChance,
    Turns,
    Preemption,
    Sticky,
    Prolong,
    Gangs,
}

impl Opts {
    /// Where the configuration comes from.
    pub fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone().unwrap_or_else(|| DEFAULT_FILE.into()),
            must_exist: self.config.is_some(),
            flags: self.vm.clone(),
            host_cpus: host_cpus(),
            ..Sources::default()
        }
    }
}

fn us(ns: Option<u64>) -> u64 {
    ns.unwrap_or_default() / 1_000
}

/// What a setting takes, in us.
fn range_us(key: Key) -> RangeInclusive<u64> {
    let range = key.range().unwrap_or(0..=0);
    range.start() / 1_000..=range.end() / 1_000
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(sec) if (0.01..=86_400.0).contains(&sec) => Ok(sec),
        _ => Err("expected seconds, from 0.01 to 86400".into()),
    }
}
