// SPDX-License-Identifier: GPL-2.0-only
//! CPUs that go and come (sched_cpu_deactivate(), sched_cpu_activate()).

use super::points::{Address, lock_rq, op, op_ends, unlock_rq};
use super::world::{Event, Work, world};
use crate::abi;

/// How often the CPU looks whether it is empty.
const EMPTY_NS: u64 = 100_000;
/// For so long is a CPU away, on average.
const OFF_NS: u64 = 5_000_000;

/// `cpu` goes: no task is moved to it from now on, and those that are there leave it as they
/// are about to run. One CPU always stays.
pub(super) fn offline(w: Address, cpu: usize) {
    let active = world(w).cpus.iter().filter(|cpu| cpu.active).count();
    if cpu == 0 || active == 1 || !world(w).cpus[cpu].active {
        return;
    }
    lock_rq(w, cpu, cpu);
    world(w).cpus[cpu].active = false;
    let current = world(w).kernel.current[cpu];
    unlock_rq(w, cpu);
    if let Some(cpu_offline) = world(w).ops.cpu_offline {
        op(w, cpu, "cpu_offline", None);
        cpu_offline(abi::NO_CONTEXT, cpu as i32);
        op_ends(w, cpu);
    }
    // The thread that does this sleeps: schedule(), and balance_push().
    if let Some(current) = current {
        world(w).push(cpu, Work::Push(current));
    }
    if world(w).cpus[cpu].rt {
        world(w).push(cpu, Work::RtLeaves);
    }
    world(w).resched(cpu);
    world(w).after(EMPTY_NS, Event::Dies(cpu));
}

/// It is off when it is empty.
pub(super) fn dies(w: Address, cpu: usize) {
    let world = world(w);
    if world.kernel.nr_running[cpu] > 0 || world.has_to_do(cpu) || !world.idles(cpu) {
        world.after(EMPTY_NS, Event::Dies(cpu));
        return;
    }
    world.cpus[cpu].online = false;
    world.online.set(cpu, false);
    world.after_about(OFF_NS, Event::Online(cpu));
}

/// `cpu` is back.
pub(super) fn online(w: Address, cpu: usize) {
    world(w).cpus[cpu].active = true;
    if let Some(cpu_online) = world(w).ops.cpu_online {
        op(w, cpu, "cpu_online", None);
        cpu_online(abi::NO_CONTEXT, cpu as i32);
        op_ends(w, cpu);
    }
    world(w).resched(cpu);
}
