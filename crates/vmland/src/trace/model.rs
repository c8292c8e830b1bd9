// SPDX-License-Identifier: GPL-2.0-only
//! From records to what is drawn: who had which CPU, who waited, and who handed a CPU to whom.
//!
//! Records can be missing: those from before the trace began, and those that were lost. So a turn
//! may begin or end without one, and then says so by having no reason.

use std::collections::{BTreeMap, HashMap};

use vmland_control::trace::{Event, Runs, Stops, What, Yields};

/// `pid` has `cpu`, or waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub pid: i32,
    /// None: it waits.
    pub cpu: Option<u32>,
    pub start_ns: u64,
    pub end_ns: u64,
    pub why: Option<Runs>,
    /// Whose turn waits meanwhile.
    pub suspended: Option<i32>,
    pub ended: Option<Stops>,
}

/// A directed yield, or a hand-off at leaving a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yielded {
    pub at_ns: u64,
    /// When `from` had the CPU last: one that sleeps has left it before.
    pub had_ns: u64,
    pub cpu: u32,
    pub from: i32,
    pub to: i32,
    pub how: Yields,
    /// When `to` got that CPU, if it was next.
    pub taken_ns: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Model {
    /// By their end.
    pub slices: Vec<Slice>,
    /// By time.
    pub yields: Vec<Yielded>,
    /// The VM of each vCPU thread: the scheduler's id.
    pub vcpus: BTreeMap<i32, u32>,
    pub start_ns: u64,
}

/// What is known of a CPU or task so far.
#[derive(Default)]
struct Open {
    running: HashMap<u32, Slice>,
    waiting: HashMap<i32, Slice>,
    /// The hand-off that the CPU has noted, by its place in `yields`.
    handed: HashMap<u32, usize>,
}

impl Model {
    /// Of records in any order.
    pub fn new(mut events: Vec<Event>) -> Self {
        // Those of one CPU are in order; a stable sort keeps them so.
        events.sort_by_key(|event| event.at_ns);
        let [start_ns, end_ns] =
            [events.first(), events.last()].map(|it| it.map_or(0, |it| it.at_ns));
        let mut model = Self {
            start_ns,
            ..Self::default()
        };
        let mut open = Open::default();
        for event in &events {
            if event.vm_id != 0 {
                model.vcpus.insert(event.pid, event.vm_id);
            }
            model.add(event, &mut open);
        }
        let left = open.running.into_values().chain(open.waiting.into_values());
        let mut left: Vec<_> = left.map(|slice| Slice { end_ns, ..slice }).collect();
        left.sort_by_key(|slice| slice.pid);
        model.slices.extend(left);
        model.slices.retain(|slice| slice.end_ns > slice.start_ns);
        model
    }

    fn add(&mut self, event: &Event, open: &mut Open) {
        let Event {
            at_ns, cpu, pid, ..
        } = *event;
        match event.what {
            What::Woken => self.wait(event, open),
            What::Runs { why, suspended } => {
                self.end_wait(pid, at_ns, open);
                // Its end was lost.
                if let Some(lost) = open.running.remove(&cpu) {
                    self.close(lost, at_ns, None);
                }
                let slice = Slice {
                    pid,
                    cpu: Some(cpu),
                    start_ns: at_ns,
                    end_ns: at_ns,
                    why: Some(why),
                    suspended: (suspended != 0).then_some(suspended),
                    ended: None,
                };
                open.running.insert(cpu, slice);
                if let Some(yielded) = open.handed.remove(&cpu).map(|at| &mut self.yields[at])
                    && yielded.to == pid
                {
                    yielded.taken_ns = Some(at_ns);
                }
            }
            What::Stops(why) => {
                match open.running.remove(&cpu) {
                    Some(slice) if slice.pid == pid => self.close(slice, at_ns, Some(why)),
                    // It began before the trace, or its begin was lost.
                    other => {
                        let began = other.as_ref().map_or(self.start_ns, |it| it.start_ns);
                        if let Some(lost) = other {
                            self.close(lost, at_ns, None);
                        } else {
                            let slice = Slice {
                                pid,
                                cpu: Some(cpu),
                                start_ns: self.last_end(cpu).unwrap_or(began),
                                end_ns: at_ns,
                                why: None,
                                suspended: None,
                                ended: None,
                            };
                            self.close(slice, at_ns, Some(why));
                        }
                    }
                }
                if !matches!(why, Stops::Sleeps | Stops::Keeps) {
                    self.wait(event, open);
                }
            }
            What::Yields { how, to } => {
                if how.is_handoff() {
                    open.handed.insert(cpu, self.yields.len());
                }
                let has_left = !open.running.contains_key(&cpu);
                let had_ns = self.last_end(cpu).filter(|_| has_left);
                self.yields.push(Yielded {
                    at_ns,
                    had_ns: had_ns.map_or(at_ns, |end_ns| end_ns.saturating_sub(1)),
                    cpu,
                    from: pid,
                    to,
                    how,
                    taken_ns: None,
                });
            }
        }
    }

    /// When somebody last gave up `cpu`.
    fn last_end(&self, cpu: u32) -> Option<u64> {
        let mut last = self.slices.iter().rev();
        last.find(|slice| slice.cpu == Some(cpu))
            .map(|slice| slice.end_ns)
    }

    fn close(&mut self, slice: Slice, end_ns: u64, ended: Option<Stops>) {
        self.slices.push(Slice {
            end_ns,
            ended,
            ..slice
        });
    }

    fn wait(&self, event: &Event, open: &mut Open) {
        let slice = Slice {
            pid: event.pid,
            cpu: None,
            start_ns: event.at_ns,
            end_ns: event.at_ns,
            why: None,
            suspended: None,
            ended: None,
        };
        open.waiting.entry(event.pid).or_insert(slice);
    }

    fn end_wait(&mut self, pid: i32, at_ns: u64, open: &mut Open) {
        if let Some(slice) = open.waiting.remove(&pid) {
            self.close(slice, at_ns, None);
        }
    }

    /// Every task that is named.
    pub fn pids(&self) -> Vec<i32> {
        let of_slices = self.slices.iter().map(|slice| slice.pid);
        let of_yields = self.yields.iter().flat_map(|it| [it.from, it.to]);
        let suspended = self.slices.iter().filter_map(|slice| slice.suspended);
        let mut pids: Vec<_> = of_slices.chain(of_yields).chain(suspended).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn event(at_ns: u64, cpu: u32, pid: i32, what: What) -> Event {
        Event {
            at_ns,
            cpu,
            pid,
            vm_id: if pid < 100 { 7 } else { 0 },
            what,
        }
    }

    pub fn runs(why: Runs) -> What {
        What::Runs { why, suspended: 0 }
    }

    /// vCPU 11 yields to 12 on CPU 1, which was in its turn as the trace began; 100 wakes and
    /// preempts.
    pub fn a_hand_off() -> Vec<Event> {
        let to = What::Yields {
            how: Yields::Target,
            to: 12,
        };
        let first = What::Runs {
            why: Runs::First,
            suspended: 12,
        };
        vec![
            event(1_000, 0, 12, What::Woken),
            event(5_000, 1, 11, to),
            event(5_200, 1, 11, What::Stops(Stops::Yielded)),
            event(5_300, 1, 12, runs(Runs::Handed)),
            event(7_000, 0, 100, What::Woken),
            event(7_100, 1, 12, What::Stops(Stops::Suspended)),
            event(7_200, 1, 100, first),
            event(7_900, 1, 100, What::Stops(Stops::Sleeps)),
            event(8_000, 1, 12, runs(Runs::Resumed)),
            event(9_000, 1, 12, What::Stops(Stops::Keeps)),
            event(9_000, 1, 12, runs(Runs::Kept)),
            event(9_900, 0, 100, What::Woken),
        ]
    }

    fn of(model: &Model, pid: i32) -> Vec<(Option<u32>, u64, u64)> {
        let mut slices: Vec<_> = { model.slices.iter() }
            .filter(|slice| slice.pid == pid)
            .map(|slice| (slice.cpu, slice.start_ns, slice.end_ns))
            .collect();
        slices.sort_by_key(|slice| slice.1);
        slices
    }

    #[test]
    fn runs_and_waits() {
        let model = Model::new(a_hand_off());
        assert_eq!(model.start_ns, 1_000);
        assert_eq!(
            of(&model, 11),
            [(Some(1), 1_000, 5_200), (None, 5_200, 9_900)]
        );
        let expected = [
            (None, 1_000, 5_300),
            (Some(1), 5_300, 7_100),
            (None, 7_100, 8_000),
            (Some(1), 8_000, 9_000),
            (Some(1), 9_000, 9_900),
        ];
        assert_eq!(of(&model, 12), expected);
        assert_eq!(
            of(&model, 100),
            [(None, 7_000, 7_200), (Some(1), 7_200, 7_900)]
        );
        assert_eq!(model.vcpus, [(11, 7), (12, 7)].into());
        assert_eq!(model.pids(), [11, 12, 100]);
        let first = model.slices.iter().find(|it| it.suspended.is_some());
        let first = first.expect("it preempts");
        assert_eq!((first.pid, first.suspended), (100, Some(12)));
        let resumed = model.slices.iter().find(|it| it.why == Some(Runs::Resumed));
        assert_eq!(resumed.and_then(|it| it.ended), Some(Stops::Keeps));
    }

    #[test]
    fn a_hand_off_is_taken() {
        let [yielded] = Model::new(a_hand_off()).yields[..] else {
            panic!("one");
        };
        assert_eq!((yielded.from, yielded.to, yielded.cpu), (11, 12, 1));
        assert_eq!(yielded.taken_ns, Some(5_300));
    }

    #[test]
    fn who_sleeps_has_left_its_cpu_before() {
        let leaves = What::Yields {
            how: Yields::Leaves,
            to: 12,
        };
        let model = Model::new(vec![
            event(1_000, 1, 11, runs(Runs::Queue)),
            event(2_000, 1, 11, What::Stops(Stops::Sleeps)),
            event(2_050, 1, 11, leaves),
            event(2_200, 1, 12, runs(Runs::Handed)),
        ]);
        let [yielded] = model.yields[..] else {
            panic!("one");
        };
        assert_eq!((yielded.at_ns, yielded.had_ns), (2_050, 1_999));
        assert_eq!(yielded.taken_ns, Some(2_200));
    }

    #[test]
    fn a_hand_off_that_another_took_is_not_taken() {
        let mut events = a_hand_off();
        events[3].pid = 99;
        assert_eq!(Model::new(events).yields[0].taken_ns, None);
    }

    #[test]
    fn in_any_order_and_with_gaps() {
        let all = a_hand_off();
        let mut shuffled = all.clone();
        shuffled.rotate_left(5);
        // Records of one moment keep the order in which they were written.
        let model = Model::new(shuffled);
        assert_eq!(model.slices, Model::new(all.clone()).slices);
        for missing in 0..all.len() {
            let mut events = all.clone();
            events.remove(missing);
            let model = Model::new(events);
            let mut of_cpu: Vec<_> = model.slices.iter().filter(|it| it.cpu.is_some()).collect();
            of_cpu.sort_by_key(|slice| slice.start_ns);
            for pair in of_cpu.windows(2) {
                assert!(pair[0].end_ns <= pair[1].start_ns, "{missing}: {pair:?}");
            }
        }
        assert!(Model::new(vec![]).slices.is_empty());
    }
}
