// SPDX-License-Identifier: GPL-2.0-only
//! What `/proc/PID` says of a process, as text. All of it but `exe`, `cgroup` and the user is
//! what the process makes it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::cgroup::Cgroups;
use super::vmm::Vmm;

/// How much is read of a command line, in bytes. The longest ones, of VMs with hundreds of
/// disks, have some tens of KiB; the kernel allows megabytes.
const CMDLINE_MAX: u64 = 256 * 1024;

/// How much is read of `/proc/PID/cgroup`, in bytes: a dozen cgroup v1 hierarchies of `PATH_MAX`.
const CGROUP_MAX: u64 = 64 * 1024;

/// How much is read of `/proc/PID/status`, in bytes: on a host of 8192 CPUs it has about 8 KiB,
/// and the user is in its first lines.
const STATUS_MAX: u64 = 4 * 1024;

/// How much is read of `comm`, in bytes: more than any (16 for a task, 64 for a kernel thread).
const COMM_MAX: u64 = 64;

pub struct Process {
    /// Base name of the executable, if it may be read.
    pub exe: Option<String>,
    pub args: Vec<String>,
    pub cgroups: Cgroups,
    /// The real one.
    pub uid: Option<u32>,
    pub comm: String,
}

impl Process {
    /// `dir` is `/proc/PID`.
    pub fn read(dir: &Path) -> Process {
        let exe = fs::read_link(dir.join("exe")).ok().and_then(|path| {
            let base = path.file_name()?.to_string_lossy().into_owned();
            // So the kernel marks a program that was replaced by an upgrade.
            Some(base.trim_end_matches(" (deleted)").to_owned())
        });
        Process::parse(
            exe,
            &read_at_most(&dir.join("cmdline"), CMDLINE_MAX),
            &read_at_most(&dir.join("cgroup"), CGROUP_MAX),
            &read_at_most(&dir.join("status"), STATUS_MAX),
            &comm(dir),
        )
    }

    /// From the contents of its files.
    pub fn parse(
        exe: Option<String>,
        cmdline: &[u8],
        cgroup: &[u8],
        status: &[u8],
        comm: &str,
    ) -> Process {
        let mut args: Vec<String> = cmdline
            .split(|&byte| byte == 0)
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        // What follows the last NUL: nothing, the rest of a cut argument, or all of a process
        // title that was overwritten without one.
        if args.len() > 1 {
            args.pop();
        }
        Process {
            exe,
            args,
            cgroups: Cgroups::parse(&String::from_utf8_lossy(cgroup)),
            uid: real_uid(&String::from_utf8_lossy(status)),
            comm: comm.to_owned(),
        }
    }

    /// The executable cannot lie, but may be unreadable, or a loader or wrapper; `argv[0]` and
    /// `comm` are what the process makes them.
    pub fn vmm(&self) -> Vmm {
        let argv0 = self.args.first().and_then(|arg| arg.rsplit('/').next());
        [self.exe.as_deref(), argv0, Some(&self.comm)]
            .into_iter()
            .flatten()
            .find_map(Vmm::from_program)
            .unwrap_or(Vmm::Other)
    }
}

/// From `/proc/PID/status`, whose first line has the process's name: the kernel escapes a line
/// break in it.
fn real_uid(status: &str) -> Option<u32> {
    let mut lines = status.lines();
    let uids = lines.find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().next()?.parse().ok()
}

/// The name of a process, or of a thread, from its directory; empty if it is gone.
pub fn comm(dir: &Path) -> String {
    let comm = read_at_most(&dir.join("comm"), COMM_MAX);
    String::from_utf8_lossy(&comm)
        .trim_end_matches('\n')
        .to_owned()
}

/// Reads the beginning of a file; what cannot be read is missing.
fn read_at_most(path: &Path, max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A process that exits meanwhile gives ESRCH: keep what was read until then.
        let _ = file.take(max).read_to_end(&mut bytes);
    }
    bytes
}
