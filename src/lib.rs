// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's pure core: no BPF, no system calls but reading files.
//!
//! | module | content |
//! | --- | --- |
//! | [`event`] | what the BPF part tells the planner |
//! | [`planner`] | how the vCPUs of each VM are scheduled |
//! | [`preflight`] | whether a scheduler can attach to this host, and what to do if not |

pub mod event;
pub mod planner;
pub mod preflight;
