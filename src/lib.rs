// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's pure core: no BPF, no system calls but reading files.
//!
//! | module | content |
//! | --- | --- |
//! | [`cgroup_users`] | which VM is alone in its cgroup |
//! | [`event`] | what the BPF part tells the policy |
//! | [`policy`] | which vCPU gets a CPU next, and for how long |
//! | [`preflight`] | whether a scheduler can attach to this host, and what to do if not |

pub mod cgroup_users;
pub mod event;
pub mod policy;
pub mod preflight;
