// SPDX-License-Identifier: GPL-2.0-only
//! The guests from their start to their end, which comes with [`Guests`] or with
//! the process, whichever is first and however it comes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::{self, Cgroup};
use super::console::{Console, RoundTrips};
use super::preflight::{self, Machine, Options, Refusal};
use super::qemu;
use super::report::{Latency, summary};
use super::spec::{GuestSpec, Load};
use vmland_base::CGROUP_ROOT;

/// A guest that owes a report, or the answer to a request, for longer has
/// stalled. Reports come ten times a second, and schedulers are removed by the
/// kernel if they let a task wait for as long.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

/// How often the guests are looked at while they boot.
const POLL: Duration = Duration::from_millis(20);

/// What went wrong with the guests. `Display` ends with the last lines of the
/// console where that may tell why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),

    #[error("QEMU does not start for guest {name}: {source}")]
    Start { name: String, source: io::Error },

    #[error(
        "Guest {name} cannot be given a weight: {source}. That takes root, cgroup v2 at {CGROUP_ROOT} and its cpu controller."
    )]
    Weight { name: String, source: io::Error },

    #[error("Guest {name} has ended.{console}")]
    Ended { name: String, console: String },

    #[error("The workload of guest {name} has failed with exit status {status}.{console}")]
    Failed {
        name: String,
        status: u64,
        console: String,
    },

    #[error("Guest {name} is not up after {} s.{console}", after.as_secs())]
    NotUp {
        name: String,
        after: Duration,
        console: String,
    },

    #[error("Guest {name} has stalled: nothing from it for {} s.{console}", after.as_secs())]
    Stalled {
        name: String,
        after: Duration,
        console: String,
    },

    #[error("Guest {name} cannot be paused or resumed: {source}")]
    Signal { name: String, source: io::Error },
}

/// How far a guest has got, by its last report.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The guest's monotonic clock, in ms. It goes on while the guest is paused.
    pub guest_ms: u64,
    /// Units of work since the load began; [`Load::unit`] says of what.
    pub work: u64,
    /// When the report came.
    pub received: Instant,
    wake_ups: Vec<(u64, Latency)>,
    round_trips: Option<RoundTrips>,
}

impl Progress {
    /// Delays between `earlier` and this, for the loads that have any: how late
    /// wake-ups were (`lat`: the whole seconds in between, put together as
    /// [`summary`] does) or how long round trips took (`io`: all of them, within
    /// 1 %). None if there were none.
    pub fn latency_since(&self, earlier: &Progress) -> Option<Latency> {
        match (&self.round_trips, &earlier.round_trips) {
            (Some(now), Some(then)) => round_trips_since(now, then),
            _ => {
                let seconds: Vec<_> = self
                    .wake_ups
                    .iter()
                    .filter(|(end_ms, _)| *end_ms >= earlier.guest_ms.saturating_add(1000))
                    .map(|(_, lateness)| *lateness)
                    .collect();
                summary(&seconds)
            }
        }
    }
}

fn round_trips_since(now: &RoundTrips, then: &RoundTrips) -> Option<Latency> {
    let mut new = now.clone();
    new.subtract(then).ok()?;
    (!new.is_empty()).then(|| Latency {
        samples: new.len(),
        p50_us: new.value_at_quantile(0.50),
        p99_us: new.value_at_quantile(0.99),
        max_us: new.max(),
    })
}

/// Running guests, by index in the order of their specs. Dropping them kills
/// them and waits for their end.
pub struct Guests {
    guests: Vec<Guest>,
}

impl Guests {
    /// Starts them all, or none. They boot meanwhile: see [`Guests::wait_up`].
    ///
    /// To be called from a thread that outlives them, such as the main one: the
    /// kernel kills them when that thread ends.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] before the first is started, [`Error::Weight`] and
    /// [`Error::Start`] after.
    pub fn start(specs: &[GuestSpec], options: &Options) -> Result<Self, Error> {
        let machine = preflight::check(specs.len(), options)?;
        cgroup::remove_left_behind(Path::new(CGROUP_ROOT));
        let mut guests = Vec::with_capacity(specs.len());
        for spec in specs {
            guests.push(Guest::start(spec, &machine)?);
        }
        Ok(Self { guests })
    }

    /// As they were asked for.
    pub fn specs(&self) -> impl ExactSizeIterator<Item = &GuestSpec> {
        self.guests.iter().map(|guest| &guest.spec)
    }

    /// Waits until each has reported, and `io` has answered, at most `timeout`
    /// for all.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::Failed`] and [`Error::NotUp`], of the first for which it is true.
    pub fn wait_up(&self, timeout: Duration) -> Result<(), Error> {
        let start = Instant::now();
        for guest in &self.guests {
            while !guest.console.state().is_up() {
                guest.check_ended()?;
                if start.elapsed() >= timeout {
                    return Err(Error::NotUp {
                        name: guest.spec.name.clone(),
                        after: timeout,
                        console: guest.console.state().tail(),
                    });
                }
                sleep(POLL);
            }
        }
        Ok(())
    }

    /// Tells whether all are well. For guests that are up: one that boots is
    /// silent for longer than is good.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`], [`Error::Failed`], and [`Error::Stalled`] if one that is not paused has
    /// been silent for longer than [`STALLED_AFTER`].
    pub fn check(&self) -> Result<(), Error> {
        for guest in &self.guests {
            guest.check_ended()?;
            let state = guest.console.state();
            let after = state.silent_for();
            if after > STALLED_AFTER {
                return Err(Error::Stalled {
                    name: guest.spec.name.clone(),
                    after,
                    console: state.tail(),
                });
            }
        }
        Ok(())
    }

    /// None if it has not reported yet.
    ///
    /// # Panics
    ///
    /// If there is no such guest; so do the methods below.
    pub fn progress(&self, guest: usize) -> Option<Progress> {
        let state = self.guests[guest].console.state();
        let (guest_ms, work, received) = state.work?;
        Some(Progress {
            guest_ms,
            work,
            received,
            wake_ups: state.wake_ups.clone(),
            round_trips: state.round_trips.clone(),
        })
    }

    /// Process ID of its QEMU.
    pub fn pid(&self, guest: usize) -> u32 {
        self.guests[guest].child.id()
    }

    /// CPU time of its QEMU so far. None if it has no weight.
    pub fn cpu_time(&self, guest: usize) -> Option<Duration> {
        self.guests[guest].cgroup.as_ref()?.cpu_time().ok()
    }

    /// Stops it, all its vCPUs. What it reports about the time around a pause is
    /// of little use: its wake-ups are late by the pause, and its clock went on.
    ///
    /// # Errors
    ///
    /// [`Error::Signal`].
    pub fn pause(&self, guest: usize) -> Result<(), Error> {
        let guest = &self.guests[guest];
        guest.console.state().pause();
        guest.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Guests::pause`].
    ///
    /// # Errors
    ///
    /// [`Error::Signal`].
    pub fn resume(&self, guest: usize) -> Result<(), Error> {
        let guest = &self.guests[guest];
        guest.signal(Signal::SIGCONT)?;
        guest.console.state().resume();
        Ok(())
    }
}

struct Guest {
    spec: GuestSpec,
    child: Child,
    /// Dropped after [`Guest::drop`] has ended its writer.
    console: Console,
    /// If it has a weight. Dropped when nobody is in it any more.
    cgroup: Option<Cgroup>,
}

impl Guest {
    fn start(spec: &GuestSpec, machine: &Machine) -> Result<Self, Error> {
        let name = || spec.name.clone();
        let weight = |source| Error::Weight {
            name: name(),
            source,
        };
        let cgroup = { spec.weight }
            .map(|weight| Cgroup::new(Path::new(CGROUP_ROOT), &spec.name, weight))
            .transpose()
            .map_err(weight)?;
        let (child, console) = spawn(spec, machine).map_err(|source| Error::Start {
            name: name(),
            source,
        })?;
        let this = Self {
            spec: spec.clone(),
            child,
            console,
            cgroup,
        };
        let taken = this
            .cgroup
            .as_ref()
            .map(|cgroup| cgroup.take(this.child.id()));
        taken.transpose().map_err(weight)?;
        Ok(this)
    }

    fn check_ended(&self) -> Result<(), Error> {
        let state = self.console.state();
        let (name, console) = (self.spec.name.clone(), state.tail());
        match (state.failed, state.ended) {
            (Some(status), _) => Err(Error::Failed {
                name,
                status,
                console,
            }),
            (None, true) => Err(Error::Ended { name, console }),
            (None, false) => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        // Not reaped before the drop, so the ID is still its own.
        kill(Pid::from_raw(self.child.id() as i32), signal).map_err(|errno| Error::Signal {
            name: self.spec.name.clone(),
            source: errno.into(),
        })
    }
}

fn spawn(spec: &GuestSpec, machine: &Machine) -> io::Result<(Child, Console)> {
    let initramfs: OwnedFd = qemu::initramfs(machine)?;
    // What QEMU itself has to say comes with what its guest says.
    let (output, input) = io::pipe()?;
    let mut qemu = qemu::foreground(machine, spec, &initramfs)?;
    let mut child = qemu
        .stdin(match spec.load {
            Load::Io => Stdio::piped(),
            _ => Stdio::null(),
        })
        .stdout(input.try_clone()?)
        .stderr(input)
        .spawn()?;
    let console = Console::new(output, child.stdin.take());
    Ok((child, console))
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both can only fail for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(guest_ms: u64) -> Progress {
        Progress {
            guest_ms,
            work: 0,
            received: Instant::now(),
            wake_ups: vec![],
            round_trips: None,
        }
    }

    #[test]
    fn wake_ups_of_whole_seconds() {
        let second = |end_ms, max_us| {
            let lateness = Latency {
                samples: 500,
                max_us,
                ..Latency::default()
            };
            (end_ms, lateness)
        };
        let now = Progress {
            // The first second began before the window.
            wake_ups: vec![second(2_900, 900), second(3_900, 40), second(4_900, 30)],
            ..progress(5_000)
        };
        let latency = now.latency_since(&progress(2_000)).unwrap();
        assert_eq!((latency.samples, latency.max_us), (1_000, 40));
        assert_eq!(now.latency_since(&progress(4_500)), None);
    }

    #[test]
    fn round_trips_of_the_window() {
        let mut trips = RoundTrips::new_with_bounds(1, 60_000_000, 2).unwrap();
        trips.record_n(1_000_000, 50).unwrap();
        let earlier = Progress {
            round_trips: Some(trips.clone()),
            ..progress(1_000)
        };
        assert_eq!(earlier.latency_since(&earlier), None);

        trips.record_n(100, 90).unwrap();
        trips.record_n(5_000, 10).unwrap();
        let now = Progress {
            round_trips: Some(trips),
            ..progress(2_000)
        };
        let latency = now.latency_since(&earlier).unwrap();
        let within = |us: u64, expected: u64| us.abs_diff(expected) * 100 <= expected;
        assert_eq!(latency.samples, 100);
        assert!(within(latency.p50_us, 100), "{latency:?}");
        assert!(within(latency.p99_us, 5_000), "{latency:?}");
        assert!(within(latency.max_us, 5_000), "{latency:?}");
    }
}
