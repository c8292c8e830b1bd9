// SPDX-License-Identifier: GPL-2.0-only
//! A whole comparison on a host that exists only here: its clock goes on by what
//! is waited for, and its schedulers are as good, or as bad, as a test makes them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::prelude::*;
use vmland_ab::comparison::Verdict;
use vmland_ab::measure::{Definition, Measure, Sample, Source, Values};
use vmland_ab::plan::plan;
use vmland_ab::record::{About, Arm, Better, Record, Settings, Window};
use vmland_ab::run::{self, FAILURES, Host};

const WINDOW_S: f64 = 10.0;
const SETTLE_S: f64 = 2.0;
/// What the mock takes to switch, to read all counters, and to tell what it noticed.
const SWITCH_S: f64 = 0.5;
const SAMPLE_S: f64 = 0.25;
const NOTES_S: f64 = 0.125;

const EJECTED: &str = "the kernel ejected it";
const FOREIGN: &str = "another scheduler is attached";

/// How a scheduler behaves, the n-th time (from 0) that it is asked.
#[derive(Clone, Copy, Debug)]
struct Scheduler {
    /// Work a second.
    speed: f64,
    attaches: fn(usize) -> bool,
    survives: fn(usize) -> bool,
}

fn steady(speed: f64) -> Scheduler {
    Scheduler {
        speed,
        attaches: |_| true,
        survives: |_| true,
    }
}

fn never_attaches() -> Scheduler {
    Scheduler {
        attaches: |_| false,
        ..steady(100.0)
    }
}

/// Whether it survives its n-th window.
fn ejected_unless(survives: fn(usize) -> bool) -> Scheduler {
    Scheduler {
        survives,
        ..steady(100.0)
    }
}

struct Mock {
    schedulers: Vec<Scheduler>,
    /// By scheduler.
    switches: Vec<usize>,
    windows: Vec<usize>,
    active: Option<usize>,
    /// While somebody else's scheduler is attached, in seconds.
    foreign_s: std::ops::Range<f64>,
    now_s: f64,
    work: f64,
    /// Half of the range of what the work varies by, as a part of it.
    noise: f64,
    rng: Rng,
    /// May the n-th reading fail to have the work?
    unreadable: fn(usize) -> bool,
    /// Is the VM "two" gone at the n-th reading?
    gone: fn(usize) -> bool,
    samples: usize,
    restores: Result<(), String>,
    calls: RefCell<Vec<String>>,
    /// So many calls go by before it is asked to stop.
    stop_after: usize,
    told: Cell<usize>,
}

impl Mock {
    fn new(schedulers: &[Scheduler]) -> Self {
        Self {
            schedulers: schedulers.to_vec(),
            switches: vec![0; schedulers.len()],
            windows: vec![0; schedulers.len()],
            active: None,
            foreign_s: 0.0..0.0,
            now_s: 0.0,
            work: 0.0,
            noise: 0.0,
            rng: Rng::with_seed(1),
            unreadable: |_| false,
            gone: |_| false,
            samples: 0,
            restores: Ok(()),
            calls: RefCell::default(),
            stop_after: usize::MAX,
            told: Cell::new(0),
        }
    }

    fn called(&self, what: impl Into<String>) {
        self.calls.borrow_mut().push(what.into());
    }

    fn asked_to_stop(&self) -> bool {
        self.calls.borrow().len() > self.stop_after
    }

    fn advance(&mut self, seconds: f64) {
        let speed = self.active.map_or(1.0, |arm| self.schedulers[arm].speed);
        let luck = 1.0 + self.noise * (2.0 * self.rng.f64() - 1.0);
        self.now_s += seconds;
        self.work += seconds * speed * luck;
    }

    fn run(&mut self, rounds: usize, seed: u64) -> Record {
        let arms = (0..self.schedulers.len()).map(|arm| Arm {
            name: name(arm),
            command: None,
        });
        let settings = Settings {
            window_s: WINDOW_S,
            settle_s: SETTLE_S,
            rounds,
            seed,
        };
        let told = Cell::new(0);
        let setup = run::Setup {
            about: About::default(),
            settings,
            arms: arms.collect(),
            measures: measures(),
            details: vec![measure("halts", Source::Rate("work".into(), 0.1))],
        };
        let record = run::run(self, setup, &mut |progress| {
            assert!(progress.done < progress.windows);
            told.set(told.get() + 1);
        });
        self.told = told;
        record
    }

    fn count(&self, call: &str) -> usize {
        let calls = self.calls.borrow();
        calls.iter().filter(|c| c.starts_with(call)).count()
    }
}

impl Host for Mock {
    fn now_s(&self) -> f64 {
        self.called("now_s");
        self.now_s
    }

    fn stopped(&self) -> bool {
        self.called("stopped");
        self.asked_to_stop()
    }

    fn prepare(&mut self, arm: &Arm) {
        self.called(format!("prepare {}", arm.name));
        assert_ne!(Some(index(arm)), self.active);
    }

    fn switch(&mut self, arm: &Arm) -> Result<(), String> {
        self.called(format!("switch {}", arm.name));
        self.active = None;
        self.advance(SWITCH_S);
        if self.asked_to_stop() {
            return Err("stopped".into());
        }
        if self.foreign_s.contains(&self.now_s) {
            return Err(FOREIGN.into());
        }
        let index = index(arm);
        let attaches = (self.schedulers[index].attaches)(self.switches[index]);
        self.switches[index] += 1;
        if !attaches {
            return Err("it does not attach".into());
        }
        self.active = Some(index);
        Ok(())
    }

    fn check(&mut self, arm: &Arm) -> Result<(), String> {
        self.called("check");
        if self.foreign_s.contains(&self.now_s) {
            return Err(FOREIGN.into());
        }
        if self.active != Some(index(arm)) {
            return Err(EJECTED.into());
        }
        Ok(())
    }

    fn settle(&mut self, seconds: f64) {
        self.called("settle");
        if !self.asked_to_stop() {
            self.advance(seconds);
        }
    }

    fn pass(&mut self, seconds: f64) -> Values {
        self.called("pass");
        if !self.asked_to_stop() {
            self.advance(seconds);
        }
        let arm = self.active.expect("windows are of active arms");
        let window = self.windows[arm];
        self.windows[arm] += 1;
        if !(self.schedulers[arm].survives)(window) {
            self.active = None;
        }
        let level = if window == 0 { f64::NAN } else { 7.0 };
        BTreeMap::from([("level".into(), level)])
    }

    fn sample(&mut self) -> Sample {
        self.called("sample");
        let mut sample = Sample {
            at_s: self.now_s,
            ..Sample::default()
        };
        if !(self.unreadable)(self.samples) {
            sample.host.insert("work".into(), self.work);
        }
        let vms = if (self.gone)(self.samples) { 1 } else { 2 };
        for vm in &["one", "two"][..vms] {
            let work = BTreeMap::from([("work".into(), self.work / 2.0)]);
            sample.vms.insert(vm.to_string(), work);
        }
        self.samples += 1;
        self.advance(SAMPLE_S);
        sample
    }

    fn notes(&mut self) -> Vec<String> {
        self.called("notes");
        self.advance(NOTES_S);
        let of_now = format!("{} readings by now", self.samples);
        vec!["the clock is unsteady".into(), of_now]
    }

    fn restore(&mut self) -> Result<(), String> {
        self.called("restore");
        self.restores.clone()
    }
}

fn name(arm: usize) -> String {
    format!("arm {arm}")
}

fn index(arm: &Arm) -> usize {
    let index = arm.name.strip_prefix("arm ");
    index.and_then(|i| i.parse().ok()).expect("one of ours")
}

fn measure(id: &str, source: Source) -> Measure {
    Measure::from(Definition {
        id,
        title: "",
        unit: "",
        better: Better::Higher,
        about: "",
        source,
    })
}

fn measures() -> Vec<Measure> {
    vec![
        measure("speed", Source::Rate("work".into(), 1.0)),
        measure("share", Source::Share("work".into())),
        measure("level", Source::Given),
    ]
}

/// Round and arm of each window.
fn order(windows: &[Window]) -> Vec<(usize, usize)> {
    windows.iter().map(|w| (w.round, w.arm)).collect()
}

fn planned(arms: usize, rounds: usize, seed: u64) -> Vec<(usize, usize)> {
    let plan = plan(arms, rounds, seed).into_iter().enumerate();
    plan.flat_map(|(round, arms)| arms.into_iter().map(move |arm| (round, arm)))
        .collect()
}

fn verdict(record: &Record, metric: &str, arm: usize) -> Verdict {
    let comparison = record.comparisons.iter().find(|c| c.metric == metric);
    let versus = comparison.expect("compared").arms[arm].versus;
    versus.expect("enough windows").verdict
}

fn notes_with(record: &Record, text: &str) -> usize {
    let notes = record.notes.iter();
    notes.filter(|note| note.text.contains(text)).count()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn a_better_arm_is_found_and_an_equal_one_is_not() {
    let mut false_alarms = 0;
    for seed in 0..50 {
        let mut host = Mock::new(&[steady(100.0), steady(120.0), steady(100.0)]);
        host.noise = 0.1;
        host.rng = Rng::with_seed(seed);
        let record = host.run(8, seed);
        assert_eq!(verdict(&record, "speed", 1), Verdict::Better, "seed {seed}");
        if verdict(&record, "speed", 2) != Verdict::NoDifferenceShown {
            false_alarms += 1;
        }
    }
    assert!(false_alarms <= 2, "{false_alarms} of 50");
}

#[test]
fn windows_are_the_plans_and_a_switch_comes_only_where_the_arm_changes() {
    for (arms, seed) in [(2, 0), (2, 1), (3, 0), (5, 7)] {
        let mut host = Mock::new(&vec![steady(100.0); arms]);
        let record = host.run(6, seed);
        let plan = planned(arms, 6, seed);
        assert_eq!(order(&record.windows), plan);
        assert_eq!(host.told.get(), plan.len());
        assert!(!record.interrupted);

        let mut changes: Vec<usize> = plan.into_iter().map(|(_, arm)| arm).collect();
        changes.dedup();
        let switches: Vec<usize> = record.switches.iter().map(|s| s.arm).collect();
        assert_eq!(switches, changes);
        assert_eq!(host.count("switch"), changes.len());
        assert_eq!(host.count("settle"), changes.len());
    }
    // ABBA: the case is among them.
    assert!(
        planned(2, 6, 0)
            .windows(2)
            .any(|pair| pair[0].1 == pair[1].1)
    );
}

#[test]
fn times_are_those_of_the_clock() {
    let mut host = Mock::new(&[steady(100.0), steady(250.0)]);
    let record = host.run(4, 0);
    let mut now_s = 0.0;
    let mut switches = record.switches.iter();
    let mut active = None;
    for window in &record.windows {
        if active.replace(window.arm) != Some(window.arm) {
            let switch = switches.next().expect("the arm changed");
            assert!(close(switch.at_s, now_s) && close(switch.took_s, SWITCH_S));
            now_s += SWITCH_S + SETTLE_S;
        }
        assert!(close(window.start_s, now_s), "{window:?}");
        now_s += SAMPLE_S + WINDOW_S + SAMPLE_S;
        assert!(close(window.end_s, now_s), "{window:?}");
        now_s += NOTES_S;
        // Neither the settling nor the other arm is in it.
        let speed = [100.0, 250.0][window.arm];
        assert!(close(window.values["speed"], speed), "{window:?}");
    }
}

#[test]
fn details_are_kept_but_neither_shown_nor_compared() {
    let record = Mock::new(&[steady(100.0); 2]).run(4, 0);
    for window in &record.windows {
        assert!(close(window.values["halts"], 10.0));
        assert!(close(window.vms["one"]["halts"], 5.0));
        assert!(close(window.vms["two"]["share"], 50.0));
    }
    let metrics: Vec<_> = record.metrics.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(metrics, ["speed", "share", "level"]);
    let compared: Vec<_> = record.comparisons.iter().map(|c| &c.metric).collect();
    assert_eq!(compared, ["speed", "level"]);
}

#[test]
fn an_arm_that_never_attaches_is_left_out_and_the_others_go_on() {
    let mut host = Mock::new(&[steady(100.0), never_attaches(), steady(120.0)]);
    let record = host.run(8, 0);
    let windows = |arm| record.windows.iter().filter(|w| w.arm == arm).count();
    assert_eq!([0, 1, 2].map(windows), [8, 0, 8]);
    let failed: Vec<_> = record.switches.iter().filter(|s| s.arm == 1).collect();
    assert_eq!(failed.len(), FAILURES);
    assert!(
        failed
            .iter()
            .all(|s| s.failed.as_deref() == Some("it does not attach"))
    );
    assert_eq!(notes_with(&record, "arm 1 is left out"), 1);
    assert_eq!(notes_with(&record, "is left out"), 1);
    // What is left out is not announced.
    assert_eq!(host.told.get(), 16 + FAILURES);
    assert!(!record.interrupted);
    assert_eq!(verdict(&record, "speed", 2), Verdict::Better);
}

#[test]
fn a_window_in_which_the_arm_was_ejected_does_not_count() {
    let now_and_then = ejected_unless(|window| window % 2 == 0);
    let mut host = Mock::new(&[steady(100.0), now_and_then]);
    let record = host.run(8, 0);
    assert_eq!(order(&record.windows), planned(2, 8, 0));
    assert_eq!(record.counted(0).count(), 8);
    assert_eq!(record.counted(1).count(), 4);
    let discarded = record.windows.iter().filter_map(|w| w.discarded.as_deref());
    assert!(discarded.eq([EJECTED; 4]));
    let speed = record.comparisons[0].arms[1].summary;
    assert_eq!(speed.expect("windows").windows, 4);
    assert_eq!(notes_with(&record, "is left out"), 0);
    // It is attached anew, even if its next window is the very next.
    for pair in record.windows.windows(2) {
        let between = pair[0].end_s..=pair[1].start_s;
        let mut switches = record.switches.iter();
        let switched = switches.any(|s| between.contains(&s.at_s));
        let needed = pair[0].arm != pair[1].arm || pair[0].discarded.is_some();
        assert_eq!(switched, needed, "{pair:?}");
    }
}

#[test]
fn an_arm_that_fails_twice_in_a_row_is_left_out_and_what_it_did_is_kept() {
    let record = Mock::new(&[steady(100.0), ejected_unless(|window| window < 3)]).run(8, 0);
    assert_eq!(record.counted(0).count(), 8);
    assert_eq!(record.counted(1).count(), 3);
    let discarded = record.windows.iter().filter(|w| w.discarded.is_some());
    assert_eq!(discarded.count(), FAILURES);
    assert_eq!(notes_with(&record, "arm 1 is left out"), 1);
}

#[test]
fn somebody_elses_scheduler_spoils_its_time_only() {
    let mut host = Mock::new(&[steady(100.0), steady(120.0)]);
    let undisturbed = host.run(8, 0).windows;
    let mut host = Mock::new(&[steady(100.0), steady(120.0)]);
    // In the second window, and gone before the third, which is the same arm's.
    host.foreign_s = undisturbed[1].start_s + 1.0..undisturbed[1].end_s + 0.1;
    let record = host.run(8, 0);
    assert_eq!(order(&record.windows), planned(2, 8, 0));
    for (index, window) in record.windows.iter().enumerate() {
        let expected = (index == 1).then_some(FOREIGN);
        assert_eq!(window.discarded.as_deref(), expected, "window {index}");
    }
    let [_, second, third, ..] = &record.windows[..] else {
        panic!("16 windows");
    };
    assert_eq!(second.arm, third.arm);
    // Nobody knows what it left behind.
    let mut switches = record.switches.iter();
    assert!(switches.any(|s| second.end_s <= s.at_s && s.at_s < third.start_s));
}

#[test]
fn somebody_elses_scheduler_that_stays_ends_it() {
    let mut host = Mock::new(&[steady(100.0), steady(120.0)]);
    host.foreign_s = 100.0..f64::INFINITY;
    let record = host.run(1_000, 0);
    let good = record.windows.iter().take_while(|w| w.end_s < 100.0);
    assert!(good.clone().all(|w| w.discarded.is_none()));
    let counted = record.counted(0).count() + record.counted(1).count();
    assert_eq!(good.count(), counted);
    assert_eq!(notes_with(&record, "is left out"), 2);
    assert!(record.windows.len() + record.switches.len() < 30);
    assert_eq!(host.count("restore"), 1);
}

#[test]
fn what_cannot_be_read_is_missing_and_the_rest_is_there() {
    let mut host = Mock::new(&[steady(100.0), steady(120.0)]);
    // At one end of each second window.
    host.unreadable = |sample| sample % 4 == 2;
    let record = host.run(8, 0);
    for (index, window) in record.windows.iter().enumerate() {
        assert_eq!(window.values.contains_key("speed"), index % 2 == 0);
        assert!(window.vms["one"].contains_key("speed"));
        assert_eq!(window.discarded, None);
        // No number in an arm's first window.
        let first = record.windows[..index].iter().all(|w| w.arm != window.arm);
        assert_eq!(window.values.contains_key("level"), !first);
    }
    let with_speed = |arm: usize| {
        record.comparisons[0].arms[arm]
            .summary
            .expect("some")
            .windows
    };
    assert_eq!(with_speed(0) + with_speed(1), 8);
}

#[test]
fn a_vm_that_ends_within_a_window_is_left_out_of_it_and_that_is_said() {
    let mut host = Mock::new(&[steady(100.0), steady(120.0)]);
    // From the end of the third window on.
    host.gone = |sample| sample >= 5;
    let record = host.run(4, 0);
    for (index, window) in record.windows.iter().enumerate() {
        assert_eq!(window.vms.contains_key("two"), index < 2);
        assert!(window.values["speed"] > 0.0 && window.discarded.is_none());
        let share = if index < 2 { 50.0 } else { 100.0 };
        assert!(close(window.vms["one"]["share"], share));
    }
    let third = &record.windows[2];
    let note = format!(
        "within the window of arm {} in round {}",
        third.arm,
        third.round + 1
    );
    assert_eq!(notes_with(&record, "VM two ended"), 1);
    assert_eq!(notes_with(&record, &note), 1);
}

#[test]
fn a_note_that_repeats_is_kept_once_with_its_first_time() {
    let record = Mock::new(&[steady(100.0); 2]).run(8, 0);
    let repeated = record
        .notes
        .iter()
        .filter(|n| n.text == "the clock is unsteady");
    let times: Vec<f64> = repeated.map(|note| note.at_s).collect();
    assert_eq!(times, [record.windows[0].end_s + NOTES_S]);
    assert_eq!(notes_with(&record, "readings by now"), 16);
}

#[test]
fn a_restore_that_fails_is_noted() {
    let mut host = Mock::new(&[steady(100.0); 2]);
    host.restores = Err("its unit is masked".into());
    let record = host.run(2, 0);
    assert_eq!(
        notes_with(&record, "could not be restored: its unit is masked"),
        1
    );
}

#[test]
fn nothing_is_switched_for_who_is_stopped_before_it_begins() {
    let mut host = Mock::new(&[steady(100.0); 2]);
    host.stop_after = 0;
    let record = host.run(8, 0);
    assert!(record.interrupted && record.windows.is_empty());
    assert_eq!((host.count("switch"), host.count("restore")), (0, 1));
}

fn scheduler() -> impl Strategy<Value = Scheduler> {
    prop_oneof![
        3 => Just(steady(100.0)),
        1 => Just(never_attaches()),
        1 => Just(ejected_unless(|window| window % 3 != 1)),
        1 => Just(ejected_unless(|window| window < 1)),
    ]
}

proptest! {
    #[test]
    fn stopped_at_any_moment_it_restores_and_keeps_what_it_has(
        schedulers in prop::collection::vec(scheduler(), 2..5),
        rounds in 2usize..5,
        seed in any::<u64>(),
        moment in 0.0..1.1,
    ) {
        // A turn that was done is one of a window, or of a switch that failed.
        let turns = |record: &Record| {
            let failed = record.switches.iter().filter(|s| s.failed.is_some());
            record.windows.len() + failed.count()
        };
        let json = |windows: &[Window]| serde_json::to_string(windows).expect("it is data");

        let mut undisturbed = Mock::new(&schedulers);
        let whole = undisturbed.run(rounds, seed);
        let mut host = Mock::new(&schedulers);
        host.stop_after = (moment * undisturbed.calls.borrow().len() as f64) as usize;
        let record = host.run(rounds, seed);

        prop_assert_eq!(json(&record.windows), json(&whole.windows[..record.windows.len()]));
        prop_assert_eq!(record.interrupted, turns(&record) < turns(&whole));
        prop_assert_eq!(record.comparisons.len(), whole.comparisons.len());
        let calls = host.calls.borrow();
        prop_assert_eq!(calls.iter().filter(|call| *call == "restore").count(), 1);
        let last = calls.iter().rfind(|call| *call != "now_s");
        prop_assert_eq!(last.map(String::as_str), Some("restore"));
        // No other turn is begun.
        let late = calls.iter().skip(host.stop_after);
        prop_assert!(late.filter(|call| call.starts_with("switch")).count() <= 1);

        let written = serde_json::to_string(&record).expect("it is data");
        let read: Record = serde_json::from_str(&written).expect("as it was written");
        prop_assert_eq!(serde_json::to_string(&read).expect("it is data"), written);
    }
}
