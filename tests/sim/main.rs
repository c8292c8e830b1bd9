// SPDX-License-Identifier: GPL-2.0-only
//! The schedulers and their checks in the simulator of `crates/vmland-sim`:
//! docs/simulator.md.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `vmland`, `rustland` | the schedulers: their BPF parts (`*.c`) and their user space |
//! | `explore` | schedules of interleaved ops |
//! | `figures`, `large` | what docs/ quotes |
//! | the others | what is checked, a subject each |

mod alone;
mod core_sched;
mod crowd;
mod dump;
mod explore;
mod fairness;
mod figures;
mod full;
mod groups;
mod large;
mod limits;
mod ordering;
mod params;
mod promises;
mod rustland;
mod scale;
mod topology;
mod trace;
mod vmland;
mod waits;

mod bpf_intf {
    #![allow(warnings)]
    include!(concat!(env!("OUT_DIR"), "/bpf_intf.rs"));
}

use std::path::Path;

use vmland_sim::native::Source;

/// A file of this directory. It includes our `bpf/`, or the framework's sources as our
/// build script has written them.
fn source(file: &str) -> Source {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Source {
        file: root.join("tests/sim").join(file),
        include: vec![root.join("bpf"), env!("OUT_DIR").into()],
    }
}
