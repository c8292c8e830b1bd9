// SPDX-License-Identifier: GPL-2.0-only
//! One guest's console: a thread reads it, keeps what it reports, and, for the
//! load `io`, sends the requests.
//!
//! The requests are a closed loop: one byte, its answer, [`REQUEST_PAUSE`], the
//! next. So the thread that takes the answer can send the next request, and never
//! misses one while it pauses. The round trip has a host task in it at both ends:
//! this thread, which is scheduled like any other.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::report::{self, Latency, Report};

/// Between an answer and the next request, as between two ticks of `lat`.
const REQUEST_PAUSE: Duration = Duration::from_millis(2);

/// What the load `io` takes for a request; any byte would do.
const REQUEST: &[u8] = b"?";

/// Longest round trip that the histogram tells from longer ones: a minute, in µs.
/// A guest that takes longer has stalled.
const ROUND_TRIP_MAX_US: u64 = 60_000_000;

/// Significant digits of the histogram.
const ROUND_TRIP_DIGITS: u8 = 2;

/// Lines kept of what the console says beside reports.
const TAIL_LINES: usize = 20;

/// Round trips of requests, in µs.
pub type RoundTrips = Histogram<u64>;

/// What is known of a guest from its console.
pub struct State {
    /// The newest report: guest's clock in ms, work, when it came.
    pub work: Option<(u64, u64, Instant)>,
    /// For each second of the load `lat`: its end on the guest's clock in ms, and
    /// how late wake-ups were.
    pub wake_ups: Vec<(u64, Latency)>,
    /// All of them since the start; only for the load `io`.
    pub round_trips: Option<RoundTrips>,
    /// The exit status of the program of the load `run`, if it has failed.
    pub failed: Option<u64>,
    /// It has ended, or closed its console.
    pub ended: bool,
    /// When it last gave a sign of life, or could have begun to.
    heard: Instant,
    /// When the request was sent whose answer will be measured.
    asked: Option<Instant>,
    /// Whether a request is to be sent as soon as the load is known to run.
    idle: bool,
    paused: bool,
    tail: VecDeque<String>,
}

impl State {
    fn new(with_requests: bool) -> Self {
        Self {
            work: None,
            wake_ups: Vec::new(),
            failed: None,
            round_trips: with_requests.then(|| {
                RoundTrips::new_with_bounds(1, ROUND_TRIP_MAX_US, ROUND_TRIP_DIGITS)
                    .expect("the bounds are in order")
            }),
            ended: false,
            heard: Instant::now(),
            asked: None,
            idle: with_requests,
            paused: false,
            tail: VecDeque::with_capacity(TAIL_LINES),
        }
    }

    /// Whether the load is known to run, with requests if it takes any.
    pub fn is_up(&self) -> bool {
        self.work.is_some()
            && self
                .round_trips
                .as_ref()
                .is_none_or(|trips| !trips.is_empty())
    }

    /// For how long it has owed us a report or an answer.
    pub fn silent_for(&self) -> Duration {
        match self.paused {
            true => Duration::ZERO,
            false => self.asked.unwrap_or(self.heard).min(self.heard).elapsed(),
        }
    }

    /// A request that is under way now is not measured: its answer will have
    /// waited for the end of the pause.
    pub fn pause(&mut self) {
        self.paused = true;
        self.asked = None;
    }

    pub fn resume(&mut self) {
        self.paused = false;
        self.heard = Instant::now();
    }

    /// The last lines that are no reports.
    pub fn tail(&self) -> String {
        self.tail.iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Takes a line that came at `now`. True if the next request is to be sent.
    fn take(&mut self, line: &[u8], now: Instant) -> bool {
        match report::parse(line) {
            Some(Report::Work { guest_ms, work }) => {
                self.heard = now;
                self.work = Some((guest_ms, work, now));
                // Before its first report the load might not listen yet.
                return std::mem::take(&mut self.idle);
            }
            Some(Report::WakeUps { guest_ms, lateness }) => {
                self.wake_ups.push((guest_ms, lateness));
            }
            Some(Report::Failed { status }) => self.failed = Some(status),
            Some(Report::Answer) => {
                if let (Some(trips), Some(asked)) = (&mut self.round_trips, self.asked.take()) {
                    let us = now.duration_since(asked).as_micros();
                    trips.saturating_record(us.try_into().unwrap_or(u64::MAX).max(1));
                }
                return self.round_trips.is_some();
            }
            // For who reads the guest's log.
            Some(Report::Steal { .. }) => {}
            None => self.keep(line),
        }
        false
    }

    fn keep(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        // A guest's text could control the terminal that it is shown on.
        let line: String = line
            .trim_end()
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        if line.is_empty() {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// The thread, and what it has come to know.
pub struct Console {
    state: Arc<Mutex<State>>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    /// Reads `output` to its end. Sends requests to `requests`, if there is one.
    pub fn new(
        output: impl Read + Send + 'static,
        requests: Option<impl Write + Send + 'static>,
    ) -> Self {
        let state = Arc::new(Mutex::new(State::new(requests.is_some())));
        let shared = state.clone();
        let reader = thread::spawn(move || read(output, requests, &shared));
        Self {
            state,
            reader: Some(reader),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Waits for the end of the output: the process that writes it has to be gone.
impl Drop for Console {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            // If it has panicked, that was reported then.
            let _ = reader.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics while holding it")
}

fn read(output: impl Read, mut requests: Option<impl Write>, state: &Mutex<State>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let ask = lock(state).take(&line, Instant::now());
        line.clear();
        if let (true, Some(requests)) = (ask, &mut requests) {
            sleep(REQUEST_PAUSE);
            {
                let mut state = lock(state);
                state.asked = (!state.paused).then(Instant::now);
            }
            // If the guest has ended, so will its output.
            let _ = requests.write_all(REQUEST);
        }
    }
    lock(state).ended = true;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(state: &mut State, text: &str) -> Vec<bool> {
        text.split_inclusive('\n')
            .map(|line| state.take(line.as_bytes(), Instant::now()))
            .collect()
    }

    #[test]
    fn the_newest_report_counts() {
        let mut state = State::new(false);
        assert!(!state.is_up());
        take(
            &mut state,
            "P 100 1\r\nP 200 2\r\nP 300\r\nL 200 9 1 2 3\r\n",
        );
        assert!(state.is_up());
        let (guest_ms, work, _) = state.work.unwrap();
        assert_eq!((guest_ms, work), (200, 2));
        assert_eq!(state.wake_ups.len(), 1);
        assert_eq!(state.tail(), "\n  P 300");
    }

    #[test]
    fn a_failure_is_kept_with_what_was_said_before() {
        let mut state = State::new(false);
        take(&mut state, "P 100 0\r\nno such option\r\n\r\nF 2\r\n");
        assert_eq!(state.failed, Some(2));
        assert_eq!(state.tail(), "\n  no such option");
    }

    #[test]
    fn requests_begin_with_the_first_report_and_follow_answers() {
        let mut state = State::new(true);
        let asks = take(
            &mut state,
            "[ 0.1] boot\r\nP 100 0\r\nP 200 0\r\nR\r\nP 300 1\r\n",
        );
        assert_eq!(asks, [false, true, false, true, false]);
        // Nothing was asked, so nothing was measured.
        assert!(!state.is_up());
        state.asked = Some(Instant::now());
        take(&mut state, "R\r\n");
        assert!(state.is_up());

        let mut without = State::new(false);
        assert_eq!(take(&mut without, "P 100 0\r\nR\r\n"), [false, false]);
    }

    #[test]
    fn a_pause_is_neither_silence_nor_a_round_trip() {
        let before = Instant::now() - Duration::from_secs(9);
        let mut state = State::new(true);
        state.heard = before;
        assert!(state.silent_for() >= Duration::from_secs(9));
        state.asked = Some(before);
        state.pause();
        assert_eq!(state.silent_for(), Duration::ZERO);
        state.resume();
        assert!(state.silent_for() < Duration::from_secs(5));
        assert_eq!(take(&mut state, "R\r\n"), [true]);
        assert!(state.round_trips.unwrap().is_empty());
    }

    #[test]
    fn an_answer_that_is_owed_is_silence() {
        let mut state = State::new(true);
        state.asked = Some(Instant::now() - Duration::from_secs(9));
        take(&mut state, "P 100 1\r\n");
        assert!(state.silent_for() >= Duration::from_secs(9));
    }

    #[test]
    fn the_tail_is_short_and_harmless() {
        let mut state = State::new(false);
        for i in 0..100 {
            take(&mut state, &format!("\x1b[2Jline {i}\r\n\r\n"));
        }
        let tail = state.tail();
        assert_eq!(tail.matches("line").count(), TAIL_LINES);
        assert!(tail.starts_with("\n  \u{fffd}[2Jline 80\n"), "{tail}");
    }

    proptest! {
        /// Whatever comes in whatever pieces: the last whole report is known.
        #[test]
        fn any_output(mut output: Vec<u8>, guest_ms: u64, work: u64) {
            output.extend(format!("\nP {guest_ms} {work}\r\n").bytes());
            let state = Mutex::new(State::new(false));
            read(&output[..], None::<Vec<u8>>, &state);
            let state = state.into_inner().unwrap();
            prop_assert!(state.ended);
            let newest = state.work.map(|(guest_ms, work, _)| (guest_ms, work));
            prop_assert_eq!(newest, Some((guest_ms, work)));
        }
    }
}
