// SPDX-License-Identifier: GPL-2.0-only
//! Carries a plan out: schedulers in turn, a reading at both ends of each window.

use crate::measure::{self, Measure, Sample, Values};
use crate::plan::plan;
use crate::record::{About, Arm, Note, Record, Settings, Switch, Window};
use crate::statistics;

/// An arm that failed this often in a row is left out from then on.
pub const FAILURES: usize = 2;

/// What a comparison does to a host, and what it reads there.
///
/// The runner always calls [`restore`](Host::restore) last: after it, it asks for nothing but the time.
pub trait Host {
    /// Seconds since the comparison began.
    fn now_s(&self) -> f64;

    /// Somebody asked it to end: the runner stops at once.
    fn stopped(&self) -> bool;

    /// Does what can be done for `arm` before its turn, while another arm is active, so that the switch is
    /// short. A failure shows when its turn comes.
    fn prepare(&mut self, arm: &Arm);

    /// Makes a scheduler active and waits until the kernel reports it.
    ///
    /// # Errors
    ///
    /// Why it is not active, in the kernel's words if there are any.
    fn switch(&mut self, arm: &Arm) -> Result<(), String>;

    /// Checks that `arm` is active, and that all that is measured still runs.
    fn check(&mut self, arm: &Arm) -> Result<(), String>;

    /// Lets time pass until `stopped`.
    fn settle(&mut self, seconds: f64);

    /// Lets a window pass, and gives the values that come from no counter.
    fn pass(&mut self, seconds: f64) -> Values;

    fn sample(&mut self) -> Sample;

    /// What happened since the last call and a reader should know.
    fn notes(&mut self) -> Vec<String>;

    /// Makes the scheduler active that was so before the comparison.
    fn restore(&mut self) -> Result<(), String>;
}

/// Where a run is.
pub struct Progress<'a> {
    pub round: usize,
    /// Windows done, of how many.
    pub done: usize,
    pub windows: usize,
    pub arm: &'a str,
}

/// What is compared, and how.
pub struct Setup {
    pub about: About,
    pub settings: Settings,
    /// The first is the reference.
    pub arms: Vec<Arm>,
    /// In the order in which they are shown.
    pub measures: Vec<Measure>,
    /// Their values are kept with each window, but neither shown nor compared.
    pub details: Vec<Measure>,
}

/// Runs the whole comparison; `tell` hears of each window before it begins.
pub fn run(host: &mut dyn Host, setup: Setup, tell: &mut dyn FnMut(Progress)) -> Record {
    let mut runner = Runner {
        host,
        active: None,
        failures: vec![0; setup.arms.len()],
        record: Record {
            about: setup.about,
            settings: setup.settings,
            arms: setup.arms,
            metrics: setup.measures.iter().map(|m| m.metric.clone()).collect(),
            ..Record::default()
        },
        measures: [setup.measures, setup.details].concat(),
    };
    runner.record.interrupted = runner.all_rounds(tell).is_err();
    if let Err(why) = runner.host.restore() {
        runner.note(format!(
            "the previous scheduler could not be restored: {why}"
        ));
    }
    let mut record = runner.record;
    record.comparisons = statistics::compare(&record);
    record
}

/// The host was asked to end it before all was done.
struct Stopped;

struct Runner<'a> {
    host: &'a mut dyn Host,
    /// Those that are shown, and the details.
    measures: Vec<Measure>,
    active: Option<usize>,
    /// In a row, for each arm.
    failures: Vec<usize>,
    record: Record,
}

impl Runner<'_> {
    fn all_rounds(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<(), Stopped> {
        let settings = &self.record.settings;
        let plan = plan(self.record.arms.len(), settings.rounds, settings.seed);
        let windows = plan.iter().map(Vec::len).sum();
        let turns = plan.iter().enumerate();
        let turns: Vec<_> = turns
            .flat_map(|(round, arms)| arms.iter().map(move |&arm| (round, arm)))
            .collect();
        self.prepare_for(None, &turns);
        for (done, &(round, arm)) in turns.iter().enumerate() {
            if self.failures[arm] >= FAILURES {
                continue;
            }
            self.unless_stopped()?;
            tell(Progress {
                round,
                done,
                windows,
                arm: &self.record.arms[arm].name,
            });
            let turn = self.turn(round, arm, &turns[done + 1..]);
            self.take_notes();
            turn?;
        }
        Ok(())
    }

    fn unless_stopped(&self) -> Result<(), Stopped> {
        if self.host.stopped() {
            Err(Stopped)
        } else {
            Ok(())
        }
    }

    /// One arm's turn: switch, settle, window. `later` turns follow.
    fn turn(&mut self, round: usize, arm: usize, later: &[(usize, usize)]) -> Result<(), Stopped> {
        if !self.activate(arm, later)? {
            return Ok(());
        }
        let window = self.window(round, arm);
        // Cut short, it says nothing.
        self.unless_stopped()?;
        match window.discarded {
            Some(_) => self.failed(arm),
            None => self.failures[arm] = 0,
        }
        self.record.windows.push(window);
        Ok(())
    }

    /// False if the arm failed.
    fn activate(&mut self, arm: usize, later: &[(usize, usize)]) -> Result<bool, Stopped> {
        let wanted = self.record.arms[arm].clone();
        if self.active == Some(arm) && self.host.check(&wanted).is_ok() {
            return Ok(true);
        }
        self.active = None;
        let at_s = self.host.now_s();
        let failed = self.host.switch(&wanted).err();
        let took_s = self.host.now_s() - at_s;
        // It may have failed for just that.
        self.unless_stopped()?;
        let attached = failed.is_none();
        self.record.switches.push(Switch {
            at_s,
            arm,
            took_s,
            failed,
        });
        if !attached {
            self.failed(arm);
            return Ok(false);
        }
        self.active = Some(arm);
        self.prepare_for(Some(arm), later);
        self.host.settle(self.record.settings.settle_s);
        self.unless_stopped()?;
        Ok(true)
    }

    /// Prepares the next switch.
    fn prepare_for(&mut self, active: Option<usize>, later: &[(usize, usize)]) {
        let others = later.iter().map(|&(_, arm)| arm);
        let next = others
            .filter(|&arm| self.failures[arm] < FAILURES)
            .find(|&arm| Some(arm) != active);
        if let Some(next) = next {
            self.host.prepare(&self.record.arms[next]);
        }
    }

    fn window(&mut self, round: usize, arm: usize) -> Window {
        let wanted = self.record.arms[arm].clone();
        let mut window = Window {
            round,
            arm,
            start_s: self.host.now_s(),
            ..Window::default()
        };
        let mut check = self.host.check(&wanted);
        if check.is_ok() {
            let before = self.host.sample();
            let given = self.host.pass(self.record.settings.window_s);
            let after = self.host.sample();
            check = self.host.check(&wanted);
            let worth = measure::worth(&self.measures, &before, &after);
            (window.values, window.vms) = (worth.host, worth.vms);
            for vm in worth.left_out {
                self.note(format!(
                    "VM {vm} ended, or a vCPU of it, within the window of {} in round {}: it is left out of that window",
                    wanted.name,
                    round + 1
                ));
            }
            let given = given.into_iter().filter(|(_, value)| value.is_finite());
            window.values.extend(given);
        }
        window.end_s = self.host.now_s();
        if let Err(why) = check {
            window.discarded = Some(why);
            self.active = None;
        }
        window
    }

    /// The record has why, with the window or the switch.
    fn failed(&mut self, arm: usize) {
        self.failures[arm] += 1;
        if self.failures[arm] == FAILURES {
            let name = &self.record.arms[arm].name;
            self.note(format!(
                "{name} is left out from here on: it failed {FAILURES} times in a row"
            ));
        }
    }

    fn note(&mut self, text: String) {
        let at_s = self.host.now_s();
        // A warning that comes with every window is worth one line.
        if !self.record.notes.iter().any(|note| note.text == text) {
            self.record.notes.push(Note { at_s, text });
        }
    }

    fn take_notes(&mut self) {
        for text in self.host.notes() {
            self.note(text);
        }
    }
}
