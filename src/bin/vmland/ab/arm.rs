// SPDX-License-Identifier: GPL-2.0-only
//! An arm of a comparison: what is typed, and the process that it becomes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scx_vmland::ab::record::Arm;
use scx_vmland::lifetime::die_with;

use super::kernel;

/// The kernel's own scheduler: nothing is attached.
pub const STOCK: &str = "eevdf";

/// Loading a BPF object can take seconds on a slow machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What is shown of what a failed scheduler said.
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

    pub fn arm(&self) -> Arm {
        Arm {
            name: self.name.clone(),
            command: shlex::try_join(self.words.iter().map(String::as_str))
                .ok()
                .filter(|command| !command.is_empty()),
        }
    }
}

/// The arms of a list: commas part them, except where they are quoted as for a shell.
/// Whether all quotes are closed is for [`Spec::parse`] to say.
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
pub struct Running {
    child: Child,
    output: File,
    /// The name of its ops.
    ops: String,
}

impl Running {
    /// Starts it and waits until it is in force.
    pub fn start(spec: &Spec, stopped: &dyn Fn() -> bool) -> Result<Self> {
        let output = tempfile::tempfile().context("no file for its messages")?;
        let mut child = command(&spec.words, &output)?
            .spawn()
            .with_context(|| format!("cannot run {}", spec.words[0]))?;
        let mut ended = None;
        kernel::wait_until(START_LIMIT, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || stopped() || kernel::attached().is_some()
        });
        if let (None, Some(ops)) = (ended, kernel::attached()) {
            return Ok(Self { child, output, ops });
        }
        let _ = child.kill();
        let _ = child.wait();
        let said = last_lines(output);
        match ended {
            Some(status) => bail!("it ended with {status}{said}"),
            None if stopped() => bail!("stopped"),
            None => bail!("nothing was attached in {} s{said}", START_LIMIT.as_secs()),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Is it still in force? Else what it said last.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the scheduler ended with {status}{}",
                last_lines(self.output.try_clone()?)
            );
        }
        match kernel::attached() {
            Some(ops) if ops == self.ops => Ok(()),
            Some(other) => bail!("another scheduler is in force: {other}"),
            None => bail!(
                "the kernel ejected it{}",
                last_lines(self.output.try_clone()?)
            ),
        }
    }

    /// Ends it; when this returns, the kernel's own scheduler is in force.
    pub fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGINT);
        let child = &mut self.child;
        if !kernel::wait_until(STOP_LIMIT, || !matches!(child.try_wait(), Ok(None))) {
            child.kill()?;
            child.wait()?;
        }
        ensure!(
            kernel::wait_until(STOP_LIMIT, kernel::is_stock),
            "{} does not detach",
            self.ops
        );
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Never in our terminal's process group: Ctrl-C is for us, who end it in order.
fn command(words: &[String], output: &File) -> Result<Command> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    let parent = Pid::this();
    // SAFETY: it only makes system calls, which a forked child may.
    unsafe { command.pre_exec(move || Ok(die_with(parent)?)) };
    Ok(command)
}

/// The end of what a process wrote, for the end of a sentence.
fn last_lines(mut output: File) -> String {
    let mut text = Vec::new();
    let _ = output.seek(SeekFrom::Start(0));
    let _ = output.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
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
