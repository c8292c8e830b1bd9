// SPDX-License-Identifier: GPL-2.0-only
//! A discrete-event simulator of a KVM host that drives the scheduler's own code:
//! docs/simulator.md.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `machine` | CPUs, ticks, tasks, the order of events |
//! | `guest`, `kvm` | loads; pause exits and yield_to() |
//! | `scheduler` | what a host asks of a scheduler |
//! | `ext` | the kernel's sched_ext class, over a native scheduler |
//! | `native`, `abi`, `kernel`, `dsq` | the scheduler as native code, and the kernel that it calls |
//! | `vmland`, `rustland`, `eevdf` | the schedulers |
//! | `fairness`, `ordering`, `scale` | what is checked |

mod abi;
mod dsq;
mod eevdf;
mod ext;
mod fairness;
mod guest;
mod kernel;
mod kvm;
mod machine;
mod native;
mod ordering;
mod rustland;
mod scale;
mod scheduler;
mod vmland;

mod bpf_intf {
    #![allow(dead_code, non_camel_case_types, non_snake_case)]
    #![allow(non_upper_case_globals, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/bpf_intf.rs"));
}
