// SPDX-License-Identifier: GPL-2.0-only
//! Asks the running scheduler, and /proc for what the scheduler does not know.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use procfs::FromRead;
use procfs::process::Schedstat;
use scx_stats::prelude::StatsClient;
use vmland_control::stats::Metrics;
use vmland_identity::VmIdentity;

/// Where the kernel tells of processes.
pub const PROC: &str = "/proc";

/// How long the scheduler may take for an answer.
const PATIENCE_MS: u64 = 10_000;

#[derive(Debug, thiserror::Error)]
#[error("no scx_vmland is running here, or it may not be asked without root")]
pub struct NotRunning;

pub struct Client {
    stats: StatsClient,
    names: HashMap<u32, VmIdentity>,
}

impl Client {
    pub fn connect() -> Result<Self> {
        let stats = StatsClient::new()
            .connect(Some(PATIENCE_MS))
            .map_err(|_| NotRunning)?;
        Ok(Self {
            stats,
            names: HashMap::new(),
        })
    }

    pub fn metrics(&mut self) -> Result<Metrics> {
        self.stats
            .request("stats", vec![])
            .context("the scheduler does not answer")
    }

    /// Who a VM is. Read once for each VM: a process does not change its name.
    pub fn identity(&mut self, vm_id: u32, tgid: i32) -> &VmIdentity {
        self.names
            .entry(vm_id)
            .or_insert_with(|| vmland_identity::identify(Path::new(PROC), tgid))
    }
}

/// What a thread had of the CPUs and how long it waited for one, in ns
/// (Documentation/scheduler/sched-stats.rst); none if it is gone.
pub fn schedstat(tgid: i32, tid: i32) -> Option<Schedstat> {
    Schedstat::from_file(format!("/proc/{tgid}/task/{tid}/schedstat")).ok()
}
