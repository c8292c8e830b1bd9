// SPDX-License-Identifier: GPL-2.0-only
//! Guests in the background: each outlives the process that starts it, and is known by the
//! files that it has in a directory.
//!
//! | file | content |
//! | --- | --- |
//! | `NAME.log` | the guest's console; it stays when the guest has ended |
//! | `NAME.pid` | process ID of QEMU, which removes the file when it ends by itself |
//! | `NAME.qmp` | QEMU's QMP socket |

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vmland_base::printable::harmless;

use super::preflight::{self, Options, Refusal};
use super::qemu;
use super::qmp;
use super::report::{self, Report};
use super::spec::{GuestSpec, Load};

/// Where the files are.
pub const DIRECTORY: &str = "/run/guests";

/// At the end of a console this many bytes hold a report, which is 40 bytes long at most and
/// comes ten times a second, also between the lines of a kernel that has much to say.
const TAIL_BYTES: u64 = 4096;

/// Lines of the console that tell why a guest is not up.
const TAIL_LINES: usize = 20;

/// How often a guest is looked at that boots or ends.
const POLL: Duration = Duration::from_millis(50);

/// A QEMU that does not get to run cannot answer SIGTERM: it is killed after this time.
const TERM_WITHIN: Duration = Duration::from_secs(5);

/// What went wrong with a guest. `Display` ends with the last lines of the console where
/// they may tell why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),

    #[error("Guest {0} runs already. Stop it, or choose another name.")]
    Runs(String),

    #[error("Guest {0} does not run.")]
    NotRunning(String),

    #[error("Guest {0} has not reported yet.")]
    NoReport(String),

    #[error("QEMU does not start for guest {name}: {source}")]
    Start { name: String, source: io::Error },

    #[error("Guest {name} has ended.{console}")]
    Ended { name: String, console: String },

    #[error("Guest {name} is not up after {} s.{console}", after.as_secs())]
    NotUp {
        name: String,
        after: Duration,
        console: String,
    },

    #[error("Guest {name} cannot be paused, resumed or stopped: {source}")]
    Control { name: String, source: io::Error },
}

/// A guest by its name, running or not.
#[derive(Clone, Debug)]
pub struct Daemon {
    directory: PathBuf,
    name: String,
}

impl Daemon {
    pub fn new(directory: &Path, name: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Those that run, by name.
    pub fn running(directory: &Path) -> Vec<Self> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".pid")?.to_owned()))
            .collect();
        names.sort_unstable();
        let guests = names.iter().map(|name| Self::new(directory, name));
        guests.filter(|guest| guest.pid().is_some()).collect()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process ID of its QEMU. None if the guest does not run.
    pub fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.file("pid")).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok().filter(|pid| *pid > 0)?);
        runs(pid).then_some(pid)
    }

    /// Returns when QEMU runs; the guest boots meanwhile: see [`Daemon::wait_up`].
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], [`Error::Runs`] and [`Error::Start`].
    pub fn start(&self, load: Load, vcpus: u32, options: &Options) -> Result<(), Error> {
        let machine = preflight::check(1, options)?;
        if self.pid().is_some() {
            return Err(Error::Runs(self.name.clone()));
        }
        let spec = GuestSpec {
            load,
            vcpus,
            name: self.name.clone(),
            weight: None,
        };
        let start = || {
            fs::create_dir_all(&self.directory)?;
            for what in ["log", "pid", "qmp"] {
                remove(&self.file(what))?;
            }
            let initramfs = qemu::initramfs(&machine)?;
            let files = qemu::Files {
                console: self.file("log"),
                pid: self.file("pid"),
                qmp: self.file("qmp"),
            };
            // The process that is started here forks the one with the guest, and then ends.
            let status = qemu::background(&machine, &spec, &initramfs, &files)?.status()?;
            match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(format!("it ended with {status}"))),
            }
        };
        start().map_err(|source| Error::Start {
            name: self.name.clone(),
            source,
        })
    }

    /// Waits for its first report, at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`], [`Error::Ended`] and [`Error::NotUp`].
    pub fn wait_up(&self, timeout: Duration) -> Result<(), Error> {
        self.need_pid()?;
        let start = Instant::now();
        while self.last_report().is_none() {
            let name = self.name.clone();
            if self.pid().is_none() {
                let console = self.tail();
                return Err(Error::Ended { name, console });
            }
            if start.elapsed() >= timeout {
                return Err(Error::NotUp {
                    name,
                    after: timeout,
                    console: self.tail(),
                });
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Units of work since its start, by its last report.
    ///
    /// # Errors
    ///
    /// [`Error::NoReport`].
    pub fn work(&self) -> Result<u64, Error> {
        self.last_report()
            .ok_or_else(|| Error::NoReport(self.name.clone()))
    }

    /// Whether its kernel has panicked, or QEMU has ended.
    pub fn has_crashed(&self) -> bool {
        let console = fs::read(self.file("log")).unwrap_or_default();
        self.pid().is_none() || String::from_utf8_lossy(&console).contains("Kernel panic")
    }

    /// Stops its vCPUs and its clock.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] and [`Error::Control`].
    pub fn pause(&self) -> Result<(), Error> {
        self.qmp("stop")
    }

    /// Lets it go on after [`Daemon::pause`].
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] and [`Error::Control`].
    pub fn resume(&self) -> Result<(), Error> {
        self.qmp("cont")
    }

    /// Ends it, and returns when it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`] and [`Error::Control`].
    pub fn stop(&self) -> Result<(), Error> {
        let pid = self.need_pid()?;
        let control = |source| self.control(source);
        let start = Instant::now();
        kill(pid, Signal::SIGTERM).map_err(|errno| control(errno.into()))?;
        while runs(pid) {
            if start.elapsed() > TERM_WITHIN {
                // It may have ended just now.
                let _ = kill(pid, Signal::SIGKILL);
            }
            sleep(POLL);
        }
        for what in ["pid", "qmp"] {
            remove(&self.file(what)).map_err(control)?;
        }
        Ok(())
    }

    fn qmp(&self, command: &str) -> Result<(), Error> {
        self.need_pid()?;
        let done = qmp::execute(&self.file("qmp"), command);
        done.map(|_| ()).map_err(|source| self.control(source))
    }

    fn control(&self, source: io::Error) -> Error {
        let name = self.name.clone();
        Error::Control { name, source }
    }

    fn need_pid(&self) -> Result<Pid, Error> {
        self.pid()
            .ok_or_else(|| Error::NotRunning(self.name.clone()))
    }

    fn file(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{}.{what}", self.name))
    }

    /// The work of the last report.
    fn last_report(&self) -> Option<u64> {
        let console = self.console_end().ok()?;
        let mut lines = console.split_inclusive(|&byte| byte == b'\n').rev();
        lines.find_map(|line| match report::parse(line)? {
            Report::Work { work, .. } => Some(work),
            _ => None,
        })
    }

    /// The last lines of the console.
    fn tail(&self) -> String {
        let console = self.console_end().unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<_> = console.lines().map(str::trim_end).collect();
        { lines[lines.len().saturating_sub(TAIL_LINES)..].iter() }
            .map(|line| line.chars().map(harmless).collect::<String>())
            .map(|line| format!("\n  {line}"))
            .collect()
    }

    fn console_end(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.file("log"))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    }
}

/// Not if it has ended, and only waits for its parent to take notice.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    // The name before the state is in brackets, and may hold some itself.
    stat.is_ok_and(|stat| { stat.rsplit(") ").next() }.is_some_and(|rest| !rest.starts_with('Z')))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
