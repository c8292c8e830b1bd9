// SPDX-License-Identifier: GPL-2.0-only
//! This host, as the runner of a comparison sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vmland_ab::measure::{Sample, Values};
use vmland_ab::record::Arm;
use vmland_ab::run::Host;

use super::arm::{Leaving, Running, Spec, Standby};
use super::command;
use super::metrics::WORKLOAD_TIME;
use super::previous::Previous;
use super::sampler::Sampler;
use crate::sched_ext;

/// A workload that takes so many windows will not end.
const WORKLOAD_LIMIT: u32 = 10;
const POLL: Duration = Duration::from_millis(20);

/// What takes part beside the schedulers, such as the guests of `vmland bench`.
pub trait Company {
    /// Before an arm's settling.
    fn enter(&mut self, arm: &str) -> Result<()>;
    /// Does all go on as it should?
    fn check(&mut self) -> Result<()>;
    /// Its counters.
    fn sample(&mut self, sample: &mut Sample);
    /// A window begins.
    fn window_begins(&mut self);
    /// A window ends: the values that come from no counter.
    fn window_ends(&mut self) -> Values;
}

pub struct Live<'a> {
    pub began: Instant,
    pub sampler: Sampler,
    specs: Vec<Spec>,
    workload: Vec<String>,
    stopped: &'static AtomicBool,
    company: Option<&'a mut dyn Company>,
    running: Option<Running>,
    /// The one before, for as long as its process may be ending.
    leaving: Option<Leaving>,
    /// Of an arm by this name, whose turn is next.
    standby: Option<(String, Standby)>,
    previous: Option<Previous>,
    notes: Vec<String>,
    /// Why it cannot go on: something that takes part has failed.
    broken: Option<String>,
}

impl<'a> Live<'a> {
    pub fn new(
        began: Instant,
        specs: Vec<Spec>,
        sampler: Sampler,
        workload: Vec<String>,
        company: Option<&'a mut dyn Company>,
        stopped: &'static AtomicBool,
    ) -> Result<Self> {
        Ok(Self {
            began,
            sampler,
            specs,
            workload,
            stopped,
            company,
            running: None,
            leaving: None,
            standby: None,
            previous: Previous::find()?,
            notes: Vec::new(),
            broken: None,
        })
    }

    /// Why the run ended before its time, if it did not by request.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The name of the scheduler that was attached before the comparison.
    pub fn before(&self) -> Option<&str> {
        self.previous.as_ref().map(|previous| previous.ops.as_str())
    }

    /// Notes what a reader of the report should know.
    pub fn note(&mut self, text: String) {
        eprintln!("{text}");
        self.notes.push(text);
    }

    fn spec(&self, arm: &Arm) -> Result<Spec, String> {
        let spec = self.specs.iter().find(|spec| spec.name == arm.name);
        spec.cloned().ok_or_else(|| "no such arm".into())
    }

    /// Nothing is attached when this returns.
    fn clear(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            self.leaving = Some(running.stop()?);
        }
        if sched_ext::attached().is_some() {
            let previous = self.previous.as_ref();
            previous
                .context("another program has attached a scheduler")?
                .stop()?;
        }
        Ok(())
    }

    fn wait(&self, seconds: f64) {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while !self.stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(POLL));
        }
    }

    /// Runs the workload again and again until the window is over. The last run
    /// goes on to its end, for half a run says nothing.
    fn run_workload(&mut self, seconds: f64) -> Option<f64> {
        let limit = Duration::from_secs_f64(seconds) * WORKLOAD_LIMIT;
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let mut times = Vec::new();
        while Instant::now() < end && !self.stopped() {
            let stopped = self.stopped;
            let run =
                command::time_workload(&self.workload, limit, &|| stopped.load(Ordering::Relaxed));
            match run {
                Ok(Some(time)) => times.push(time),
                Ok(None) => break,
                Err(e) => {
                    self.notes.push(format!("the workload {e:#}"));
                    self.wait(end.saturating_duration_since(Instant::now()).as_secs_f64());
                }
            }
        }
        (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64)
    }
}

impl Host for Live<'_> {
    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.broken.is_some()
    }

    fn prepare(&mut self, arm: &Arm) {
        let stopped = self.stopped;
        let stopped = || stopped.load(Ordering::Relaxed);
        let loaded = self.spec(arm).ok();
        let loaded = loaded.and_then(|spec| Standby::load(&spec, &stopped));
        self.standby = loaded.map(|standby| (arm.name.clone(), standby));
    }

    fn switch(&mut self, arm: &Arm) -> Result<(), String> {
        let spec = self.spec(arm)?;
        let stopped = self.stopped;
        let mut switch = || -> Result<()> {
            self.clear()?;
            if let Some(company) = &mut self.company {
                company.enter(&spec.name)?;
            }
            let stopped = || stopped.load(Ordering::Relaxed);
            let loaded = self.standby.take().filter(|(name, _)| *name == spec.name);
            self.running = match loaded {
                Some((_, standby)) => Some(standby.attach(&stopped)?),
                None if spec.words.is_empty() => None,
                None => {
                    self.leaving = None;
                    Some(Running::start(&spec, &stopped)?)
                }
            };
            Ok(())
        };
        switch().map_err(|e| format!("{e:#}"))
    }

    fn check(&mut self, _arm: &Arm) -> Result<(), String> {
        let mut check = || -> Result<()> {
            match &mut self.running {
                Some(running) => running.check()?,
                None => anyhow::ensure!(
                    sched_ext::is_stock(),
                    "another scheduler has been attached: {}",
                    sched_ext::attached().unwrap_or_default()
                ),
            }
            Ok(())
        };
        let checked = check().map_err(|e| {
            // What is left of it must not be taken for the next arm.
            self.running = None;
            format!("{e:#}")
        });
        if let Some(company) = &mut self.company
            && let Err(e) = company.check()
        {
            self.broken = Some(format!("{e:#}"));
        }
        checked
    }

    fn settle(&mut self, seconds: f64) {
        self.leaving = None;
        self.wait(seconds);
        self.sampler.look_around();
    }

    fn pass(&mut self, seconds: f64) -> Values {
        if let Some(company) = &mut self.company {
            company.window_begins();
        }
        let mut given = Values::new();
        if self.workload.is_empty() {
            self.wait(seconds);
        } else if let Some(time) = self.run_workload(seconds) {
            given.insert(WORKLOAD_TIME.into(), time);
        }
        if let Some(company) = &mut self.company {
            given.extend(company.window_ends());
        }
        given.extend(self.sampler.levels());
        given
    }

    fn sample(&mut self) -> Sample {
        let mut sample = self.sampler.read(self.running.as_ref().map(Running::pid));
        if let Some(company) = &mut self.company {
            company.sample(&mut sample);
        }
        sample
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = self.sampler.notes();
        notes.append(&mut self.notes);
        notes
    }

    fn restore(&mut self) -> Result<(), String> {
        let mut restore = || -> Result<()> {
            self.clear()?;
            self.standby = None;
            self.leaving = None;
            match &mut self.previous {
                Some(previous) => previous.start_again(),
                None => Ok(()),
            }
        };
        restore().map_err(|e| format!("{e:#}"))
    }
}
