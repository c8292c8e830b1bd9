// SPDX-License-Identifier: GPL-2.0-only
//! The part of the scheduler that needs no BPF, and so no kernel with sched_ext to be tried.
//!
//! | module | content |
//! | --- | --- |
//! | [`board`] | what the planner thinks of each VM, for other threads |
//! | [`capabilities`] | what each thread keeps of what root may do |
//! | [`cgroup_users`] | which VM is alone in its cgroup |
//! | [`event`] | what the BPF part tells the planner |
//! | [`homes`] | in which domains each VM is to run |
//! | [`leftovers`] | what a scheduler that was killed has left behind |
//! | [`limits`] | which limits the host has reached |
//! | [`nohz`] | the CPUs whose tick the kernel can stop |
//! | [`planner`] | how the vCPUs of each VM are scheduled |
//! | [`service`] | telling the service manager that the scheduler has attached, and goes on |
//! | [`threads`] | starting threads, which end the scheduler if they fail |
//! | [`topology`] | which CPUs share a queue |

pub mod board;
pub mod capabilities;
pub mod cgroup_users;
pub mod event;
pub mod homes;
pub mod leftovers;
pub mod limits;
pub mod nohz;
pub mod planner;
pub mod service;
pub mod threads;
pub mod topology;
