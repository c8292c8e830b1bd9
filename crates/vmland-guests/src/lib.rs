// SPDX-License-Identifier: GPL-2.0-only
//! Linux guests with a load, started under KVM to compare schedulers over them.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`spec`] | which guests are wanted |
//! | [`preflight`] | whether they can be started here, and what to do if not |
//! | [`report`] | what a guest tells about its progress |
//! | [`archive`] | what their kernel unpacks |
//! | `qemu` | the command line of QEMU, and why each of its parts is there |
//! | `cgroup` | a guest's weight |
//! | `console` | one guest's console: its reports, and the requests of `io` |
//! | [`workload`] | a program of the host's, packed for the load `run` |
//! | [`running`] | guests in the foreground, from their start to their end |
//! | [`daemon`] | guests in the background |
//! | `qmp` | commands to the QEMU of a guest in the background |

pub mod archive;
mod cgroup;
mod console;
pub mod daemon;
pub mod preflight;
mod qemu;
mod qmp;
pub mod report;
pub mod running;
pub mod spec;
pub mod workload;
