// SPDX-License-Identifier: GPL-2.0-only
//! Tests that need a kernel with sched_ext and real KVM guests. `tests/in_host/run` runs them in
//! the emulated host; one of them runs so:
//!
//!     tests/host/run --add target/…/in_host-HASH:/bin/in_host -- \
//!         in_host --ignored --test-threads=1 --nocapture --exact ipi::receivers_run_first
//!
//! Assertions rest on the kernel's tracepoints, on /proc and on what QEMU and the guests report,
//! never on the scheduler's counters alone.

mod classify;
mod compare;
mod control;
mod doctor;
mod documents;
mod dump;
mod fairness;
mod faults;
mod groups;
mod ipi;
mod layouts;
mod new_vm;
mod nohz_full;
mod privileges;
mod records;
mod regression;
mod rig;
mod settings;
mod siblings;
mod soak;
mod survive;
mod top;
mod trace;
mod waits;
mod why;
mod yield_to;

mod bpf_intf {
    #![allow(warnings)]
    include!(concat!(env!("OUT_DIR"), "/bpf_intf.rs"));
}
