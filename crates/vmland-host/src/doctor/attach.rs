// SPDX-License-Identifier: GPL-2.0-only
//! May a scheduler attach here? Where the kernel cannot be told, the other questions are asked
//! all the same.

use std::fs;
use std::path::Path;

use super::{Answer, Verdict, ok, word, worse};
use crate::preflight::{self, Host, Refusal};

/// What the kernel has as the scheduler's name begins so.
const OURS: &str = "vmland";

/// The services of other packages that attach a scheduler at boot.
const OTHER_SERVICES: [&str; 2] = ["scx.service", "scx_loader.service"];

fn refused(refusal: &Refusal) -> Answer {
    Some((Verdict::Refused, refusal.to_string()))
}

fn answer(result: Result<(), Refusal>, good: &str) -> Answer {
    match result {
        Ok(()) => ok(good),
        Err(refusal) => refused(&refusal),
    }
}

pub fn kernel(root: &Path) -> Answer {
    match preflight::kernel(root) {
        Ok(host) => ok(format!("Linux {}", host.release)),
        Err(refusal) => refused(&refusal),
    }
}

pub fn sched_ext(root: &Path) -> Answer {
    let host = preflight::kernel(root).unwrap_or_else(|_| Host {
        release: word(root, "proc/sys/kernel/osrelease").unwrap_or_default(),
        version: (0, 0),
    });
    answer(preflight::sched_ext(root, &host), "The kernel has it.")
}

pub fn btf(root: &Path) -> Answer {
    answer(preflight::btf(root), "The kernel exports its types.")
}

pub fn isolcpus(root: &Path) -> Answer {
    answer(
        preflight::domains(root),
        "All CPUs are in scheduling domains.",
    )
}

pub fn pid_namespace(root: &Path) -> Answer {
    answer(preflight::pid_namespace(root), "The host's own.")
}

pub fn privileges(root: &Path) -> Answer {
    answer(
        preflight::privileges(root),
        "Capabilities and the limit of locked memory are enough.",
    )
}

/// Whose is the place? None without sched_ext.
pub fn scheduler(root: &Path) -> Answer {
    if !preflight::sched_ext_available(root) {
        return None;
    }
    match preflight::place_free(root) {
        Ok(()) => ok("The kernel's own runs; the place is free."),
        Err(Refusal::OtherScheduler { name, .. }) if name.starts_with(OURS) => {
            ok("scx_vmland is attached.")
        }
        Err(refusal) => refused(&refusal),
    }
}

/// Will another service take the place at boot?
pub fn service(root: &Path) -> Answer {
    let is_ours = word(root, "etc/default/scx").is_some_and(|text| {
        let mut lines = text.lines().rev();
        let value = lines.find_map(|line| line.trim().strip_prefix("SCX_SCHEDULER="));
        value.is_some_and(|value| value.trim_matches('"') == "scx_vmland")
    });
    let enabled = OTHER_SERVICES.into_iter().find(|service| {
        let targets = fs::read_dir(root.join("etc/systemd/system"));
        let mut targets = targets.into_iter().flatten().flatten();
        // Its link may point to nothing that is below this root.
        targets.any(|target| fs::symlink_metadata(target.path().join(service)).is_ok())
    })?;
    if enabled == "scx.service" && is_ours {
        return ok("scx.service starts scx_vmland.");
    }
    worse(format!(
        "{enabled} attaches another scheduler at boot, and only one can be attached. Disable it: systemctl disable --now {enabled}."
    ))
}
