// SPDX-License-Identifier: GPL-2.0-only
//! What of a host is as the scheduler needs it, what makes it worse, and what forbids it.
//!
//! | file | checks |
//! | --- | --- |
//! | `attach` | may a scheduler attach here? [`crate::preflight`], question by question |
//! | `kernel` | what the kernel was built with |
//! | `kvm` | what KVM tells the host of its guests |
//! | `cpus` | SMT, isolated CPUs, memory nodes |
//!
//! Nothing is changed and no program is started. A check that has nothing to say of this host,
//! such as one of Intel's parameters on AMD, has no line.

mod attach;
mod cpus;
mod kernel;
mod kvm;

use std::fs;
use std::path::Path;

use serde::Serialize;

/// In the order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// The scheduler runs here, but does less than it could, or others do.
    Worse,
    /// The scheduler does not run here.
    Refused,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Worse => "worse",
            Self::Refused => "refused",
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable word for programs.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What is there; unless that is ok, what to do about it.
    pub text: String,
}

/// What a check says; none if it has nothing to say of this host.
type Answer = Option<(Verdict, String)>;

fn ok(text: impl Into<String>) -> Answer {
    Some((Verdict::Ok, text.into()))
}

fn worse(text: impl Into<String>) -> Answer {
    Some((Verdict::Worse, text.into()))
}

type Check = (&'static str, fn(&Path) -> Answer);

/// In the order in which they are shown.
const CHECKS: [Check; 18] = [
    ("kernel", attach::kernel),
    ("sched_ext", attach::sched_ext),
    ("btf", attach::btf),
    ("isolcpus", attach::isolcpus),
    ("pid_namespace", attach::pid_namespace),
    ("privileges", attach::privileges),
    ("scheduler", attach::scheduler),
    ("service", attach::service),
    ("cgroups", kernel::cgroups),
    ("core_scheduling", kernel::core_scheduling),
    ("kvm", kvm::present),
    ("pause_exits", kvm::pause_exits),
    ("ipis", kvm::ipis),
    ("halt_polling", kvm::halt_polling),
    ("smt", cpus::smt),
    ("nohz_full", cpus::nohz_full),
    ("numa", cpus::numa),
    ("numa_balancing", cpus::numa_balancing),
];

/// Looks at the host whose `/proc` and `/sys` are below `root` (`/`, except in tests).
pub fn examine(root: &Path) -> Vec<Finding> {
    let finding = |(check, answer): Check| {
        let (verdict, text) = answer(root)?;
        Some(Finding {
            check,
            verdict,
            text,
        })
    };
    CHECKS.into_iter().filter_map(finding).collect()
}

/// The worst verdict; ok of none.
pub fn verdict(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}

/// What a small file says; none if there is none.
fn word(root: &Path, path: &str) -> Option<String> {
    let bytes = fs::read(root.join(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn number(root: &Path, path: &str) -> Option<u64> {
    word(root, path)?.parse().ok()
}

/// A module's parameter of type bool.
fn switch(root: &Path, path: &str) -> Option<bool> {
    match word(root, path)?.as_str() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}
