// SPDX-License-Identifier: GPL-2.0-only
//! What only a kernel with sched_ext and real KVM guests can show. `make test`
//! runs this inside the emulated host:
//!
//!     tests/host/run --add target/…/in_host-HASH:/bin/in_host -- in_host --ignored --test-threads=1
//!
//! Everything is asserted from the kernel's own tracepoints, /proc and QEMU's
//! answers, never from the scheduler's counters alone.

mod classify;
mod compare;
mod control;
mod fairness;
mod groups;
mod ipi;
mod regression;
mod rig;
mod settings;
mod siblings;
mod survive;
mod trace;
mod yield_to;
