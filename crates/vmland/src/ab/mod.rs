// SPDX-License-Identifier: GPL-2.0-only
//! `vmland ab`: compares schedulers on this host, with its VMs running.

mod arm;
mod command;
mod errors;
mod exits;
mod histogram;
mod live;
pub mod metrics;
mod output;
mod previous;
mod sampler;
mod vms;

use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use procfs::{CpuInfo, Current, Meminfo};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use vmland_ab::gate::{self, Gate, Outcome};
use vmland_ab::measure::Measure;
use vmland_ab::record::{About, Better, Record, Settings};
use vmland_ab::report::Model;
use vmland_ab::run;
use vmland_ab::statistics::fewest_windows;
use vmland_base::exit;

use crate::{Exit, sched_ext};
use command::MetricCommand;
pub use errors::{NoSchedExt, NotRoot, WrongUsage};
pub use exits::PAUSE;
pub use live::Company;
use live::Live;
use sampler::Sampler;

/// One comparison at a time: two would switch each other's schedulers.
const LOCK: &str = "/run/vmland-ab.lock";

/// Compare schedulers on this host, in turn, with its VMs running
///
/// Switches between the schedulers many times, in a balanced order, and measures a
/// window each time. The report says which metric differs, by how much, and whether
/// chance can explain it. Ctrl-C ends the comparison at any time: vmland restores the
/// previous scheduler and reports what it has measured. If vmland is killed, the
/// kernel's own scheduler takes over.
///
/// Metrics of the host and of each VM: pause exits, all VM exits, yields asked and
/// accepted, CPU time and waiting of vCPUs. Metrics of the host: context switches, CPU
/// pressure, CPU time of the scheduler. --metric and WORKLOAD add their own.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    #[command(flatten)]
    pub plan: PlanOpts,

    /// Add a metric: COMMAND prints a total, and the metric is its growth per second.
    /// NAME@=COMMAND: the metric is the number itself, at the window's end. NAME-= and
    /// NAME@-=: lower is better. May be repeated.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = parse_metric)]
    metric: Vec<MetricCommand>,

    /// A command that runs repeatedly in each window; its wall time is a metric.
    #[arg(last = true, value_name = "WORKLOAD")]
    workload: Vec<String>,
}

/// The options of every comparison.
#[derive(clap::Args)]
pub struct PlanOpts {
    /// Length of a window.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_window)]
    pub window: Duration,

    /// Windows for each scheduler.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pub rounds: u16,

    /// The schedulers; the first is the reference. "eevdf" is the kernel's own; others
    /// are a program's name or NAME=COMMAND. An empty COMMAND attaches nothing. Quote a
    /// comma within COMMAND as for a shell: "eevdf,mine=scx_mine --cpus '1,2'". May be
    /// repeated.
    #[arg(
        long,
        value_name = "NAME[=COMMAND],…",
        default_value = "eevdf,scx_vmland"
    )]
    pub schedulers: Vec<String>,

    /// Time after a switch that is not measured.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    pub settle: Duration,

    /// Seed of the order of the windows.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Conditions on metrics of the host, by their ids in JSON or CSV: "work>=0.97" asks
    /// for at least 0.97 times the reference, "<=" for at most. The 95 % interval of the
    /// ratio decides: all of it within the bound is met, all of it beyond is broken,
    /// otherwise the condition is open. "work" stands for every "work_LOAD". It holds for
    /// each scheduler but the reference. Exit codes: 0 all met; 2 one is broken; 3 none
    /// is broken, and one is open, as all that is met is when it was interrupted.
    #[arg(long, value_name = "METRIC>=RATIO,…")]
    pub gate: Option<Gate>,

    #[command(flatten)]
    pub output: output::Opts,
}

fn parse_metric(text: &str) -> Result<MetricCommand, String> {
    MetricCommand::parse(text).map_err(|e| format!("{e:#}"))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= Duration::from_secs(86_400) => Ok(time),
        Ok(_) => Err("expected a day at most".into()),
        Err(_) => Err("expected a time such as 2s or 1500ms".into()),
    }
}

fn parse_window(text: &str) -> Result<Duration, String> {
    let window = parse_time(text)?;
    if window < Duration::from_secs(1) {
        return Err("expected 1s at least: too little is counted in less".into());
    }
    Ok(window)
}

pub fn run(opts: &Opts) -> Result<()> {
    if let Some(program) = opts.workload.first() {
        which::which(program)
            .map_err(|_| WrongUsage(format!("no program \"{program}\" to run as the workload")))?;
    }
    let mut measures = Vec::new();
    if !opts.workload.is_empty() {
        measures.push(metrics::of_workload());
    }
    let comparison = Comparison {
        plan: &opts.plan,
        metrics: opts.metric.clone(),
        workload: opts.workload.clone(),
        measures,
        extra_arms: &[],
        notes: vec![],
    };
    comparison.run(None, Instant::now())
}

/// What `ab` and `bench` have in common.
pub struct Comparison<'a> {
    pub plan: &'a PlanOpts,
    pub metrics: Vec<MetricCommand>,
    pub workload: Vec<String>,
    /// Of what takes part; shown before all others.
    pub measures: Vec<Measure>,
    /// Names of arms that are no schedulers.
    pub extra_arms: &'a [&'a str],
    /// What a reader of the report should know.
    pub notes: Vec<String>,
}

impl Comparison<'_> {
    pub fn run(&self, company: Option<&mut dyn Company>, began: Instant) -> Result<()> {
        let specs = self.check()?;
        let _lock = lock()?;
        let stopped = catch_signals()?;

        let mut sampler = Sampler::new(began, self.metrics.clone());
        sampler.look_around();
        let mut measures = self.measures.clone();
        measures.extend(sampler.measures());
        let details = sampler.details();
        self.warn_of_too_few_windows(&measures, specs.len());

        let mut live = Live::new(
            began,
            specs.clone(),
            sampler,
            self.workload.clone(),
            company,
            stopped,
        )?;
        for note in &self.notes {
            live.note(note.clone());
        }
        if let Some(before) = live.before() {
            eprintln!("{before} is attached; it is restored in the end");
        }
        let (vms, vcpus) = live.sampler.counts();
        if vms == 0 {
            eprintln!("no VM runs on this host: only the host is measured");
        } else {
            eprintln!("{vms} VMs run, with {vcpus} vCPUs that were seen to run");
        }

        let meter = output::Meter::new(self.plan.window + self.plan.settle);
        let setup = run::Setup {
            about: about()?,
            settings: self.settings(),
            arms: specs.iter().map(arm::Spec::arm).collect(),
            measures,
            details,
        };
        let record = run::run(&mut live, setup, &mut |progress| meter.tell(progress));
        meter.end();
        let model = Model::new(&record);
        // Files first: printing fails when the reader of a pipe is gone.
        self.plan.output.write(&model)?;
        output::print(&model)?;
        if let Some(why) = live.broken() {
            bail!("{why}");
        }
        verdict(&record)?;
        self.pass_gate(&record)
    }

    /// Says what became of each condition of the gate, and ends with its exit code.
    fn pass_gate(&self, record: &Record) -> Result<()> {
        let Some(gate) = &self.plan.gate else {
            return Ok(());
        };
        let judgements = gate.judge(record, |arm| !self.extra_arms.contains(&arm));
        let mut out = std::io::stdout().lock();
        for judgement in &judgements {
            writeln!(out, "gate: {judgement}")?;
        }
        match gate::outcome(&judgements) {
            Outcome::Met => Ok(()),
            Outcome::Open => Err(Exit(exit::GATE_OPEN).into()),
            Outcome::Broken => Err(Exit(exit::GATE_BROKEN).into()),
        }
    }

    /// Checks that the comparison can be run here. Returns the arms.
    pub fn check(&self) -> Result<Vec<arm::Spec>> {
        let specs = self.specs().map_err(|e| WrongUsage(format!("{e:#}")))?;
        metrics::check_names(&self.metrics, &self.measures)?;
        self.check_gate()?;
        self.preflight(&specs)?;
        Ok(specs)
    }

    fn specs(&self) -> Result<Vec<arm::Spec>> {
        let spec = |text: &str| {
            if self.extra_arms.contains(&text) {
                return Ok(arm::Spec::nothing(text));
            }
            arm::Spec::parse(text)
        };
        let specs: Vec<_> = self
            .plan
            .schedulers
            .iter()
            .flat_map(|list| arm::list(list))
            .map(spec)
            .collect::<Result<_>>()?;
        ensure!(
            specs.len() >= 2,
            "a comparison needs two schedulers at least"
        );
        for (i, spec) in specs.iter().enumerate() {
            ensure!(
                !specs[..i].iter().any(|other| other.name == spec.name),
                "two schedulers are called {}: give one of them another name, as NAME=COMMAND",
                spec.name
            );
        }
        Ok(specs)
    }

    fn check_gate(&self) -> Result<()> {
        let Some(gate) = &self.plan.gate else {
            return Ok(());
        };
        let commands = self.metrics.iter().map(metrics::of_command);
        let given = commands.chain(self.measures.iter().cloned());
        let measures: Vec<_> = given.chain(metrics::own(true)).collect();
        let metrics: Vec<_> = measures.iter().map(|measure| &measure.metric).collect();
        Ok(gate
            .check(&metrics)
            .map_err(|e| WrongUsage(format!("--gate: {e}")))?)
    }

    fn preflight(&self, specs: &[arm::Spec]) -> Result<()> {
        // The kernel first, as in scx_vmland: root does not help without sched_ext.
        let schedulers = specs.iter().any(|spec| !spec.words.is_empty());
        ensure!(!schedulers || sched_ext::has_sched_ext(), NoSchedExt);
        ensure!(nix::unistd::geteuid().is_root(), NotRoot);
        self.plan.output.check()
    }

    /// Warns before the run if there are too few windows for any outcome to be significant.
    fn warn_of_too_few_windows(&self, measures: &[Measure], arms: usize) {
        let goals = measures
            .iter()
            .filter(|m| m.metric.better != Better::Neither);
        let metrics = goals.count();
        let tests = metrics * (arms - 1);
        let fewest = fewest_windows(tests);
        if usize::from(self.plan.rounds) < fewest {
            eprintln!(
                "{} rounds cannot show a difference in any of {metrics} metrics: {fewest} or more could",
                self.plan.rounds
            );
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            window_s: self.plan.window.as_secs_f64(),
            settle_s: self.plan.settle.as_secs_f64(),
            rounds: self.plan.rounds.into(),
            seed: self.plan.seed,
        }
    }
}

/// A comparison that measured nothing has failed.
fn verdict(record: &Record) -> Result<()> {
    if record.interrupted {
        return Ok(());
    }
    ensure!(
        (0..record.arms.len()).any(|arm| record.counted(arm).next().is_some()),
        "no window could be measured"
    );
    Ok(())
}

fn lock() -> Result<Flock<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .with_context(|| format!("cannot open {LOCK}"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| anyhow::anyhow!("another comparison runs on this host"))
}

/// Ctrl-C and SIGTERM end the comparison in order.
fn catch_signals() -> Result<&'static AtomicBool> {
    static STOPPED: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| STOPPED.store(true, Ordering::Relaxed))
        .context("cannot catch signals")?;
    Ok(&STOPPED)
}

fn about() -> Result<About> {
    let cpus = CpuInfo::current().ok();
    let model = cpus.as_ref().and_then(|cpus| cpus.model_name(0));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(About {
        command: std::env::args().collect(),
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: release.trim().into(),
        machine: model.unwrap_or("unknown").into(),
        cpus: std::thread::available_parallelism()?.get(),
        memory_bytes: Meminfo::current().map_or(0, |memory| memory.mem_total),
        started: OffsetDateTime::now_utc().format(&Rfc3339)?,
    })
}
