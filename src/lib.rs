// SPDX-License-Identifier: GPL-2.0-only
//! The pure part of scx_vmland: no kernel, no BPF, no allocator of its own.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`ab`] | how schedulers are compared: the plan, the run, the statistics |
//! | [`config`] | what each VM may have, as the administrator says |
//! | [`control`] | asking a running scheduler, and changing what is in force |
//! | [`cpus`] | lists of CPUs |
//! | [`event`] | what the BPF part tells the policy |
//! | [`guests`] | Linux guests with a load, to compare schedulers over |
//! | [`lifetime`] | children that do not outlive us (feature `scheduler`) |
//! | [`policy`] | which vCPU gets a CPU next, and for how long |
//! | [`preflight`] | whether a scheduler can attach here, and what to do if not |
//! | [`standby`] | how a scheduler is loaded before it is its turn |
//! | [`vm_identity`] | who the VMs are |
//! | [`stats`] | what a running scheduler tells about itself (feature `scheduler`) |

pub mod ab;
pub mod config;
pub mod control;
pub mod cpus;
pub mod event;
pub mod guests;
#[cfg(feature = "scheduler")]
pub mod lifetime;
pub mod policy;
pub mod preflight;
pub mod standby;
#[cfg(feature = "scheduler")]
pub mod stats;
#[cfg(test)]
mod test_tree;
pub mod vm_identity;
