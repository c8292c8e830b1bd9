// SPDX-License-Identifier: GPL-2.0-only
//! A discrete-event simulator of a KVM host that drives a scheduler's own BPF code,
//! compiled as native code: docs/simulator.md.
//!
//! It knows no scheduler of sched_ext. Its user names the C sources of one
//! ([`native::Source`]) and models its user space ([`ext::UserSpace`]).
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`machine`] | CPUs, ticks, tasks, the order of events |
//! | [`topology`] | where the CPUs are: nodes, LLCs, cores |
//! | [`vm`] | what the host keeps of VMs and vCPUs |
//! | `guest`, `kvm` | what loads do; pause exits and yield_to() |
//! | [`scheduler`] | what a host asks of a scheduler |
//! | [`ext`] | the kernel's sched_ext class, over a native scheduler |
//! | [`explore`] | ops of several CPUs, interleaved |
//! | [`native`], [`abi`], [`kernel`], `dsq`, `idle`, [`lock`] | the scheduler as native code, and the kernel that it calls |
//! | [`eevdf`] | the kernel's own scheduler |

pub mod abi;
mod dsq;
pub mod eevdf;
pub mod explore;
pub mod ext;
mod guest;
mod idle;
pub mod kernel;
mod kvm;
pub mod lock;
pub mod machine;
pub mod native;
pub mod scheduler;
pub mod topology;
pub mod vm;
