// SPDX-License-Identifier: GPL-2.0-only
//! Why a comparison is refused; each has an exit code of its own.

/// Wrong usage that clap does not find.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// Only root may replace the host's scheduler.
#[derive(Debug, thiserror::Error)]
#[error("switching schedulers is for root only: run vmland with sudo")]
pub struct NotRoot;

#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT, Linux 6.16 or newer): its own scheduler is the only one"
)]
pub struct NoSchedExt;
