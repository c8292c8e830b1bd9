// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler that was attached before the comparison: found, stopped, started again.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sched_ext;

const LIMIT: Duration = Duration::from_secs(30);

/// A scheduler that another program attached.
pub struct Previous {
    pub ops: String,
    pid: Pid,
    start: Start,
}

/// How it is started again.
enum Start {
    Service(String),
    Process(Box<Command>),
}

impl Previous {
    /// The attached scheduler, if there is one.
    pub fn find() -> Result<Option<Self>> {
        let Some(ops) = sched_ext::attached() else {
            return Ok(None);
        };
        let pid = owner().with_context(|| {
            format!("{ops} is attached, and its process cannot be found: stop it first")
        })?;
        Ok(Some(Self {
            ops,
            pid: Pid::from_raw(pid),
            start: how_started(pid)?,
        }))
    }

    pub fn stop(&self) -> Result<()> {
        match &self.start {
            Start::Service(unit) => systemctl("stop", unit)?,
            Start::Process(_) => {
                // After a first stop, its pid may be that of another process.
                ensure!(
                    holds_struct_ops(self.pid.as_raw()),
                    "another program has attached a scheduler"
                );
                kill(self.pid, Signal::SIGINT).context("cannot signal it")?;
            }
        }
        ensure!(
            sched_ext::wait_until(LIMIT, sched_ext::is_stock),
            "{} does not detach",
            self.ops
        );
        Ok(())
    }

    pub fn start_again(&mut self) -> Result<()> {
        match &mut self.start {
            Start::Service(unit) => systemctl("start", unit)?,
            Start::Process(command) => {
                command.spawn().context("cannot start it")?;
            }
        }
        ensure!(
            sched_ext::wait_until(LIMIT, || sched_ext::attached().is_some()),
            "{} does not attach",
            self.ops
        );
        Ok(())
    }
}

/// The process that holds the BPF link of a scheduler.
fn owner() -> Option<i32> {
    procfs::process::all_processes()
        .ok()?
        .flatten()
        .map(|process| process.pid)
        .find(|&pid| holds_struct_ops(pid))
}

fn holds_struct_ops(pid: i32) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return false;
    };
    files.flatten().any(|file| {
        let is_link = fs::read_link(format!("/proc/{pid}/fd/{}", file.file_name().display()))
            .is_ok_and(|target| target.as_os_str().as_bytes() == b"anon_inode:bpf_link");
        is_link
            && fs::read_to_string(file.path())
                .is_ok_and(|info| info.lines().any(|l| l == "link_type:\tstruct_ops"))
    })
}

/// systemd starts its units; any other process is started as it was, with the same files
/// for its output.
fn how_started(pid: i32) -> Result<Start> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let cgroup = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
    if let Some(unit) = cgroup
        .trim()
        .rsplit('/')
        .next()
        .filter(|unit| unit.ends_with(".service"))
    {
        return Ok(Start::Service(unit.to_string()));
    }
    let process = procfs::process::Process::new(pid)?;
    let words = process.cmdline().context("cannot read its command line")?;
    let mut command = Command::new(process.exe().context("cannot read its program")?);
    if let Some((name, arguments)) = words.split_first() {
        command.arg0(name).args(arguments);
    }
    command
        .env_clear()
        .envs(process.environ().unwrap_or_default())
        .current_dir(process.cwd().unwrap_or_else(|_| "/".into()))
        .stdin(Stdio::null())
        .stdout(its_file(&proc, 1))
        .stderr(its_file(&proc, 2))
        .process_group(0);
    Ok(Start::Process(Box::new(command)))
}

fn its_file(proc: &std::path::Path, fd: u32) -> Stdio {
    File::options()
        .append(true)
        .open(proc.join(format!("fd/{fd}")))
        .map_or_else(|_| Stdio::null(), Stdio::from)
}

fn systemctl(verb: &str, unit: &str) -> Result<()> {
    let status = Command::new("systemctl").args([verb, unit]).status()?;
    ensure!(status.success(), "systemctl {verb} {unit}: {status}");
    Ok(())
}
