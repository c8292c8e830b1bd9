// SPDX-License-Identifier: GPL-2.0-only
//! Ops of several CPUs, interleaved.
//!
//! Each CPU is a coroutine. Before every call from BPF into the kernel, and before every
//! atomic operation, it is suspended, and a seed chooses which CPU goes on, or whether time
//! does. An op runs under the locks that the kernel takes for it (kernel/sched/ext.c and
//! core.c): `ops.select_cpu` under p->pi_lock, most others under a run queue's lock, which
//! a move from a DSQ drops where the task belongs to another run queue. What ends the
//! scheduler in the kernel ends the run here ([`Failure`]), and so does a task that waits
//! while a CPU that it may use is idle.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `explorer` | a schedule: a seed chooses who goes on, and time passes |
//! | `load` | what tasks do, and what comes from outside |
//! | `cpu` | what a CPU does with it |
//! | `outside` | events from outside |
//! | `class`, `change` | the kernel's sched_ext class; changes of a task |
//! | `rt`, `hotplug`, `groups` | higher classes; CPUs that go and come; cgroups |
//! | `calls` | what the scheduler calls |
//! | `points` | points at which another CPU may go on; locks |
//! | `rules` | what must hold whenever time goes on |
//! | `world` | what all of them share |

mod calls;
mod change;
mod class;
mod cpu;
mod explorer;
mod groups;
mod hotplug;
mod load;
mod outside;
mod points;
mod rt;
mod rules;
mod world;

use crate::ext::UserSpace;
use crate::native::Source;
use crate::topology::Topology;
use explorer::Explorer;

/// A schedule, by its seed.
pub struct Setup {
    pub source: Source,
    /// How long it is, in simulated time.
    pub for_ns: u64,
    /// DSQs whose tasks may wait beside an idle CPU.
    pub may_wait_in: Vec<u64>,
    /// Where that many CPUs are.
    pub topology: fn(seed: u64, nr_cpus: usize) -> Topology,
}

/// What went wrong, and how it came to that: CPU, op, call and task of the last points.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    pub trace: String,
}

/// Runs the schedule of `seed`; `user` makes the scheduler's part in user space for such a
/// host. Returns the points that were passed.
pub fn explore<U: UserSpace>(
    setup: &Setup,
    seed: u64,
    user: impl Fn(&Topology) -> U,
) -> Result<u64, Failure> {
    let run = |traced| {
        let mut explorer = Explorer::new(setup, seed, traced, &user);
        explorer.run(setup.for_ns);
        explorer.world
    };
    let world = run(false);
    let Some(what) = &world.failure else {
        return Ok(world.points);
    };
    let trace = run(true).trace.unwrap_or_default();
    Err(Failure {
        seed,
        what: what.clone(),
        trace: Vec::from(trace).join("\n"),
    })
}
