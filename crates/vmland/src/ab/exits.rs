// SPDX-License-Identifier: GPL-2.0-only
//! VM exits and directed yields by thread, counted by the kernel.
//!
//! Histogram triggers in a tracing instance of our own: nothing is recorded, other tracing is
//! not touched, and removing the instance removes all of it.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::histogram::entries;

const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const PREFIX: &str = "vmland_ab_";

/// The reason of an exit, with its codes in AMD's and Intel's manuals (SVM exit codes; VMX
/// basic exit reasons).
pub struct Reason {
    /// Also the name of the counter.
    pub id: &'static str,
    pub title: &'static str,
    svm: &'static [u32],
    vmx: &'static [u32],
}

pub const PAUSE: &str = "pause";

pub const REASONS: [Reason; 7] = [
    Reason {
        id: PAUSE,
        title: "pause",
        svm: &[0x77],
        vmx: &[40],
    },
    Reason {
        id: "halt",
        title: "halt",
        svm: &[0x78],
        vmx: &[12],
    },
    Reason {
        id: "interrupt",
        title: "interrupt",
        svm: &[0x60, 0x61, 0x64],
        vmx: &[1, 7, 52],
    },
    Reason {
        id: "msr",
        title: "MSR",
        svm: &[0x7c],
        vmx: &[31, 32],
    },
    Reason {
        id: "io",
        title: "I/O",
        svm: &[0x7b],
        vmx: &[30],
    },
    Reason {
        id: "page_fault",
        title: "page fault",
        svm: &[0x400],
        vmx: &[48, 49],
    },
    Reason {
        id: "hypercall",
        title: "hypercall",
        svm: &[0x81],
        vmx: &[18],
    },
];

/// What one thread did since the counting began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadExits {
    pub all: u64,
    /// In the order of [`REASONS`].
    pub by_reason: [u64; REASONS.len()],
    pub yields_asked: u64,
    pub yields_accepted: u64,
}

pub struct Exits {
    tracefs: PathBuf,
    instance: PathBuf,
    /// Of our probe.
    group: String,
}

impl Exits {
    /// Starts to count. KVM has to be loaded, for the tracepoint is its own.
    pub fn start() -> Result<Self> {
        let tracefs = TRACEFS
            .iter()
            .map(Path::new)
            .find(|dir| dir.join("instances").exists())
            .context("tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)")?;
        ensure!(
            tracefs.join("events/kvm/kvm_exit").exists(),
            "KVM is not loaded"
        );
        remove_stale(tracefs);
        let group = format!("{PREFIX}{}", std::process::id());
        let exits = Self {
            tracefs: tracefs.into(),
            instance: tracefs.join("instances").join(&group),
            group,
        };
        exits.set_up().context("cannot count VM exits")?;
        Ok(exits)
    }

    fn set_up(&self) -> Result<()> {
        fs::create_dir(&self.instance)?;
        append(
            &self.tracefs.join("kprobe_events"),
            &format!("r:{}/yield_to yield_to accepted=$retval:s32", self.group),
        )
        .context("no probe on yield_to")?;
        append(
            &self.instance.join("events/kvm/kvm_exit/trigger"),
            "hist:keys=common_pid,exit_reason:size=65536",
        )?;
        append(
            &self.yields().join("trigger"),
            "hist:keys=common_pid,accepted:size=16384",
        )?;
        Ok(())
    }

    fn yields(&self) -> PathBuf {
        self.instance
            .join("events")
            .join(&self.group)
            .join("yield_to")
    }

    /// Totals by thread.
    pub fn read(&self) -> Result<HashMap<i32, ThreadExits>> {
        let mut threads: HashMap<i32, ThreadExits> = HashMap::new();
        let exits = fs::read_to_string(self.instance.join("events/kvm/kvm_exit/hist"))?;
        for ([pid, code], hits) in entries(&exits) {
            let thread = threads.entry(pid as i32).or_default();
            thread.all += hits;
            if let Some(reason) = reason_of(code as u32) {
                thread.by_reason[reason] += hits;
            }
        }
        let yields = fs::read_to_string(self.yields().join("hist"))?;
        for ([pid, accepted], hits) in entries(&yields) {
            let thread = threads.entry(pid as i32).or_default();
            thread.yields_asked += hits;
            if accepted > 0 {
                thread.yields_accepted += hits;
            }
        }
        Ok(threads)
    }
}

impl Drop for Exits {
    fn drop(&mut self) {
        remove(&self.tracefs, &self.group);
    }
}

/// Removes what a killed vmland left.
fn remove_stale(tracefs: &Path) {
    let Ok(instances) = fs::read_dir(tracefs.join("instances")) else {
        return;
    };
    for instance in instances.flatten() {
        let name = instance.file_name().to_string_lossy().into_owned();
        let gone = name
            .strip_prefix(PREFIX)
            .is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if gone {
            remove(tracefs, &name);
        }
    }
}

/// The instance first: a probe that is in use cannot be removed.
fn remove(tracefs: &Path, group: &str) {
    let _ = fs::remove_dir(tracefs.join("instances").join(group));
    let _ = append(
        &tracefs.join("kprobe_events"),
        &format!("-:{group}/yield_to"),
    );
}

/// As `echo line >>file`.
fn append(file: &Path, line: &str) -> Result<()> {
    use std::io::Write;
    let written = fs::File::options()
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::NotFound => " (a kernel without histogram triggers or kprobes?)",
            _ => "",
        };
        anyhow::anyhow!("{}: {e}{hint}", file.display())
    })
}

fn reason_of(code: u32) -> Option<usize> {
    let intel = is_intel();
    REASONS
        .iter()
        .position(|r| if intel { r.vmx } else { r.svm }.contains(&code))
}

fn is_intel() -> bool {
    use std::sync::LazyLock;
    static INTEL: LazyLock<bool> = LazyLock::new(|| Path::new("/sys/module/kvm_intel").exists());
    *INTEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_as_the_kernel_prints_it() {
        let text = "# event histogram\n#\n# trigger info: hist:keys=common_pid,exit_reason [active]\n#\n\n\
            { common_pid:        812, exit_reason:        119 } hitcount:         55\n\
            { common_pid:        813, exit_reason:       1024 } hitcount:          7\n\
            { common_pid:        813, accepted:         -3 } hitcount:          2\n\
            { common_pid: }\n\nTotals:\n    Hits: 62\n    Entries: 2\n    Dropped: 0\n";
        let read: Vec<_> = entries(text).collect();
        assert_eq!(read, [([812, 119], 55), ([813, 1024], 7), ([813, -3], 2)]);
    }
}
