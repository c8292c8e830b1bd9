// SPDX-License-Identifier: GPL-2.0-only
//! Numbers from commands: `--metric`, and the time that a workload takes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use vmland_base::lifetime::die_with;

/// A command that takes longer is no reading of this moment.
const LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);

/// `--metric NAME=COMMAND` or `--metric NAME@=COMMAND`; `NAME-=` and `NAME@-=` where less is better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricCommand {
    pub name: String,
    /// Read by `sh -c`.
    pub command: String,
    /// The number is a level, not a total that grows.
    pub level: bool,
    pub lower_is_better: bool,
}

impl MetricCommand {
    pub fn parse(text: &str) -> Result<Self> {
        let (name, command) = text
            .split_once('=')
            .context("expected NAME=COMMAND or NAME@=COMMAND")?;
        let (name, lower_is_better) = match name.strip_suffix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (name, level) = match name.strip_suffix('@') {
            Some(name) => (name, true),
            None => (name, false),
        };
        ensure!(!name.is_empty(), "\"{text}\": the metric needs a name");
        ensure!(
            !command.trim().is_empty(),
            "\"{text}\": the metric needs a command"
        );
        Ok(Self {
            name: name.into(),
            command: command.into(),
            level,
            lower_is_better,
        })
    }

    /// The first number that the command prints.
    pub fn read(&self) -> Result<f64> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut group = Group::spawn(&mut command)?;
        let status = group
            .wait(LIMIT, &|| false)?
            .with_context(|| format!("has not ended after {} s and was killed", LIMIT.as_secs()))?;
        let mut text = String::new();
        if let Some(mut out) = group.child.stdout.take() {
            // A grandchild may hold the pipe for ever: only what is there by now counts.
            drop(group);
            out.read_to_string(&mut text).unwrap_or_default();
        }
        ensure!(status.success(), "failed with {status}");
        first_number(&text).with_context(|| format!("printed no number: \"{}\"", excerpt(&text)))
    }
}

fn first_number(text: &str) -> Option<f64> {
    text.split(|c: char| c.is_whitespace() || c == ',' || c == '=')
        .find_map(|word| word.parse::<f64>().ok().filter(|n| n.is_finite()))
}

fn excerpt(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

/// Runs a workload once. None if it was stopped.
pub fn time_workload(
    words: &[String],
    limit: Duration,
    stopped: &dyn Fn() -> bool,
) -> Result<Option<f64>> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut group = Group::spawn(&mut command)?;
    match group.wait(limit, stopped)? {
        Some(status) if status.success() => Ok(Some(started.elapsed().as_secs_f64())),
        Some(status) => bail!("failed with {status}"),
        None if stopped() => Ok(None),
        None => bail!(
            "has not ended after {:.0} s and was killed",
            limit.as_secs_f64()
        ),
    }
}

/// A child in a process group of its own, which dies with this value, and with us.
struct Group {
    child: Child,
}

impl Group {
    fn spawn(command: &mut Command) -> Result<Self> {
        command.process_group(0);
        let parent = Pid::this();
        // SAFETY: it only makes system calls, which a forked child may.
        unsafe { command.pre_exec(move || Ok(die_with(parent)?)) };
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// None if it has not ended in time.
    fn wait(&mut self, limit: Duration, stopped: &dyn Fn() -> bool) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= end || stopped() {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(command: &str) -> Result<f64> {
        MetricCommand::parse(&format!("x={command}"))?.read()
    }

    #[test]
    fn names_and_kinds() {
        let kind = |text| {
            let m = MetricCommand::parse(text).unwrap();
            (m.name, m.command, m.level, m.lower_is_better)
        };
        assert_eq!(kind("a=b=c"), ("a".into(), "b=c".into(), false, false));
        assert_eq!(kind("a@=b"), ("a".into(), "b".into(), true, false));
        assert_eq!(kind("a-=b"), ("a".into(), "b".into(), false, true));
        assert_eq!(kind("a@-=b"), ("a".into(), "b".into(), true, true));
        for wrong in ["a", "=b", "a=", "@=b", "a= "] {
            assert!(MetricCommand::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_number_counts() {
        assert_eq!(read("echo requests: 12 of 30").unwrap(), 12.0);
        assert_eq!(read("echo total=1.5e3").unwrap(), 1500.0);
    }

    #[test]
    fn no_number_says_what_was_printed() {
        let error = |command| read(command).unwrap_err().to_string();
        assert!(error("echo none").contains("printed no number: \"none\""));
        assert!(error("echo 3; exit 4").contains("exit status: 4"));
        assert!(error("nan() { echo nan; }; nan").contains("no number"));
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_it_started() {
        let started = Instant::now();
        assert!(
            read("sleep 100 & sleep 100")
                .unwrap_err()
                .to_string()
                .contains("killed")
        );
        assert!(started.elapsed() < LIMIT + Duration::from_secs(2));
    }

    #[test]
    fn a_workload_is_timed_or_says_why_not() {
        let time = |words: &[&str], limit| {
            let words: Vec<String> = words.iter().map(std::string::ToString::to_string).collect();
            time_workload(&words, Duration::from_millis(limit), &|| false)
        };
        let took = time(&["sleep", "0.1"], 5_000).unwrap().unwrap();
        assert!((0.1..2.0).contains(&took), "{took}");
        assert!(
            time(&["false"], 5_000)
                .unwrap_err()
                .to_string()
                .contains("exit status: 1")
        );
        assert!(
            time(&["sleep", "9"], 50)
                .unwrap_err()
                .to_string()
                .contains("killed")
        );
    }
}
