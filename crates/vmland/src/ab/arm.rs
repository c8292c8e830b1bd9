// SPDX-License-Identifier: GPL-2.0-only
//! An arm of a comparison: what is typed, and the process that it becomes.
//!
//! scx_vmland is loaded before its turn, so that a switch to it is as short as attaching.
//! Other schedulers load when they are started.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vmland_ab::record::Arm;
use vmland_base::lifetime::die_with;
use vmland_control::standby;

use crate::sched_ext;

/// The kernel's own scheduler: nothing is attached.
pub const STOCK: &str = "eevdf";

/// Loading a BPF object can take seconds on a slow machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How many lines of a failed scheduler's output are shown.
const LAST_LINES: usize = 4;

/// An arm, and the words that start it (none: nothing is attached).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    pub words: Vec<String>,
}

impl Spec {
    /// `eevdf`, a program's name, or `NAME=COMMAND`, where an empty command attaches nothing.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, words) = match text.split_once('=') {
            Some((name, command)) => {
                let words = shlex::split(command)
                    .with_context(|| format!("{name}: unbalanced quotes in \"{command}\""))?;
                (name, words)
            }
            None if text == STOCK => return Ok(Self::nothing(text)),
            None => (text, vec![text.to_string()]),
        };
        ensure!(!name.is_empty(), "\"{text}\": an arm needs a name");
        let mut spec = Self {
            name: name.to_string(),
            words,
        };
        if let Some(program) = spec.words.first_mut() {
            *program = find(program)?.to_string_lossy().into_owned();
        }
        Ok(spec)
    }

    /// An arm that attaches nothing.
    pub fn nothing(name: &str) -> Self {
        Self {
            name: name.into(),
            words: vec![],
        }
    }

    /// Can it be loaded before its turn?
    fn can_stand_by(&self) -> bool {
        let program = self.words.first().map(Path::new);
        program.and_then(Path::file_name) == Some("scx_vmland".as_ref())
    }

    pub fn arm(&self) -> Arm {
        Arm {
            name: self.name.clone(),
            command: shlex::try_join(self.words.iter().map(String::as_str))
                .ok()
                .filter(|command| !command.is_empty()),
        }
    }
}

/// The arms of a list, split at commas that are not quoted as for a shell.
/// [`Spec::parse`] finds quotes that are not closed.
pub fn list(text: &str) -> Vec<&str> {
    let mut arms = Vec::new();
    let mut start = 0;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ',') => {
                arms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arms.push(text[start..].trim());
    arms
}

/// In PATH, or beside this program.
fn find(program: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(program);
    which::which(program)
        .or_else(|_| which::which(beside))
        .map_err(|_| {
            anyhow!(
                "no program \"{program}\" in PATH; an arm may also be given as NAME=COMMAND, \
                 with quotes around a comma of its own"
            )
        })
}

/// A scheduler that we started. It does not outlive us, even if we are killed.
struct Started {
    child: Child,
    output: File,
}

impl Started {
    fn new(words: &[String], input: Stdio) -> Result<Self> {
        let output = tempfile::tempfile().context("no file for its messages")?;
        let child = command(words, input, &output)?
            .spawn()
            .with_context(|| format!("cannot run {}", words[0]))?;
        Ok(Self { child, output })
    }

    /// Waits until `done` is true of it, and fails if it ends before that.
    fn wait(
        &mut self,
        stopped: &dyn Fn() -> bool,
        what: &str,
        done: &dyn Fn(&Self) -> bool,
    ) -> Result<()> {
        let mut ended = None;
        sched_ext::wait_until(START_LIMIT, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || stopped() || done(self)
        });
        let output = || last_lines(&self.output());
        match ended {
            Some(status) => bail!("it ended with {status}{}", output()),
            None if done(self) => Ok(()),
            None if stopped() => bail!("stopped"),
            None => bail!("{what} in {} s{}", START_LIMIT.as_secs(), output()),
        }
    }

    /// What it has written so far. Its place in the file is the child's, too.
    fn output(&self) -> String {
        let mut text = vec![0; self.output.metadata().map_or(0, |m| m.len() as usize)];
        let read = self.output.read_at(&mut text, 0).unwrap_or(0);
        String::from_utf8_lossy(&text[..read]).into_owned()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scheduler that is loaded, and waits for its turn.
pub struct Standby(Started);

impl Standby {
    /// Starts it and waits until it is loaded. None: it cannot be.
    pub fn load(spec: &Spec, stopped: &dyn Fn() -> bool) -> Option<Self> {
        if !spec.can_stand_by() {
            return None;
        }
        let words = [&spec.words[..], &[standby::FLAG.into()]].concat();
        let mut started = Started::new(&words, Stdio::piped()).ok()?;
        let ready = |started: &Started| started.output().contains(standby::READY);
        started.wait(stopped, "it was not loaded", &ready).ok()?;
        Some(Self(started))
    }

    /// Its turn has come.
    pub fn attach(mut self, stopped: &dyn Fn() -> bool) -> Result<Running> {
        let input = self.0.child.stdin.take();
        // If it has ended it is found to have.
        let _ = input.map(|mut pipe| pipe.write_all(b"\n"));
        Running::attached(self.0, stopped)
    }
}

/// A scheduler that we started, and that is active.
pub struct Running {
    started: Started,
    /// The name of its ops.
    ops: String,
}

impl Running {
    /// Starts it and waits until it is active.
    pub fn start(spec: &Spec, stopped: &dyn Fn() -> bool) -> Result<Self> {
        Self::attached(Started::new(&spec.words, Stdio::null())?, stopped)
    }

    fn attached(mut started: Started, stopped: &dyn Fn() -> bool) -> Result<Self> {
        started.wait(stopped, "nothing was attached", &|_| {
            sched_ext::attached().is_some()
        })?;
        let ops = sched_ext::attached().context("it was ejected at once")?;
        Ok(Self { started, ops })
    }

    pub fn pid(&self) -> u32 {
        self.started.child.id()
    }

    /// Checks that it is still active.
    ///
    /// # Errors
    ///
    /// With the last lines of its output.
    pub fn check(&mut self) -> Result<()> {
        let output = |it: &Self| last_lines(&it.started.output());
        if let Some(status) = self.started.child.try_wait()? {
            bail!("the scheduler ended with {status}{}", output(self));
        }
        match sched_ext::attached() {
            Some(ops) if ops == self.ops => Ok(()),
            Some(other) => bail!("another scheduler is attached: {other}"),
            None => bail!("the kernel ejected it{}", output(self)),
        }
    }

    /// Ends it; when this returns, the kernel's own scheduler is active.
    pub fn stop(mut self) -> Result<Leaving> {
        let pid = Pid::from_raw(self.pid() as i32);
        let _ = kill(pid, Signal::SIGINT);
        if !sched_ext::wait_until(STOP_LIMIT, sched_ext::is_stock) {
            self.started.child.kill()?;
        }
        ensure!(
            sched_ext::wait_until(STOP_LIMIT, sched_ext::is_stock),
            "{} does not detach",
            self.ops
        );
        Ok(Leaving(self.started))
    }
}

/// A scheduler that is no longer active, while its process ends. Dropping this waits for
/// that.
pub struct Leaving(Started);

impl Drop for Leaving {
    fn drop(&mut self) {
        let child = &mut self.0.child;
        sched_ext::wait_until(STOP_LIMIT, || !matches!(child.try_wait(), Ok(None)));
    }
}

/// Not in the process group of our terminal: Ctrl-C must reach us alone, and we end the child in order.
fn command(words: &[String], input: Stdio, output: &File) -> Result<Command> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(input)
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    let parent = Pid::this();
    // SAFETY: it only makes system calls, which a forked child may.
    unsafe { command.pre_exec(move || Ok(die_with(parent)?)) };
    Ok(command)
}

/// The end of what a process wrote, for the end of a sentence.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ");
    if last.is_empty() {
        String::new()
    } else {
        format!(": {last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_as_they_are_typed() {
        let words = |text| Spec::parse(text).map(|s| s.words);
        assert!(words("eevdf").unwrap().is_empty());
        assert!(words("stock=").unwrap().is_empty());
        let spec = Spec::parse("mine=sh -c 'exit 3'").unwrap();
        assert_eq!(spec.name, "mine");
        assert!(spec.words[0].ends_with("/sh"));
        assert_eq!(spec.words[1..], ["-c", "exit 3"]);
        assert!(spec.arm().command.unwrap().ends_with("/sh -c 'exit 3'"));
    }

    #[test]
    fn commas_part_arms_unless_they_are_quoted() {
        for (text, arms) in [
            ("eevdf", &["eevdf"][..]),
            ("eevdf, scx_vmland", &["eevdf", "scx_vmland"]),
            ("a=x --cpus '1,2',b=", &["a=x --cpus '1,2'", "b="]),
            (r#"a=x "1,'2",b"#, &[r#"a=x "1,'2""#, "b"]),
            (r#"a=x "\",",b"#, &[r#"a=x "\",""#, "b"]),
            (r"a=x 1\,2,b", &[r"a=x 1\,2", "b"]),
            (r"a=x '\',b", &[r"a=x '\'", "b"]),
            ("a,,b,", &["a", "", "b", ""]),
            ("a='x,b", &["a='x,b"]),
        ] {
            assert_eq!(list(text), arms, "{text}");
        }
        let spec = Spec::parse(list("a=,b=sh -c '1,2'")[1]).unwrap();
        assert_eq!(spec.words[1..], ["-c", "1,2"]);
    }

    #[test]
    fn wrong_arms_say_what_is_wrong() {
        let error = |text| Spec::parse(text).unwrap_err().to_string();
        assert!(error("scx_nowhere").contains("no program \"scx_nowhere\" in PATH"));
        assert!(error("=true").contains("needs a name"));
        assert!(error("x=a 'b").contains("unbalanced quotes"));
    }
}
