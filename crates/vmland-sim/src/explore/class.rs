// SPDX-License-Identifier: GPL-2.0-only
//! The sched_ext class (kernel/sched/ext.c): an insertion, a choice, a switch, a wake-up.

use super::calls::{consume, move_to_local};
use super::points::{Address, fail, lock_rq, op, op_ends, unlock_rq, unlock_task_rq, wait};
use super::world::{Blocked, Event, State, USER, Work, World, world};
use crate::abi::{self, CpuMask};
use crate::ext::SLICE_DFL_NS;
use crate::scheduler::TaskId;

pub(super) fn stopping(w: Address, cpu: usize, task: TaskId, runnable: bool) {
    let p = op(w, cpu, "stopping", Some(task));
    let begins_ns = world(w).now_ns();
    (world(w).ops.stopping)(abi::NO_CONTEXT, p, runnable);
    world(w).check_time(task, begins_ns);
    op_ends(w, cpu);
}

pub(super) fn running(w: Address, cpu: usize, task: TaskId) {
    let p = op(w, cpu, "running", Some(task));
    let begins_ns = world(w).now_ns();
    (world(w).ops.running)(abi::NO_CONTEXT, p);
    world(w).tasks[task].ran_at_ns = (begins_ns, world(w).now_ns());
    op_ends(w, cpu);
}

/// Does the kernel ask the scheduler where `task` goes? Not on a CPU that goes, and not
/// without SCX_OPS_ENQ_EXITING.
fn asks(w: Address, cpu: usize, task: TaskId) -> bool {
    let world = world(w);
    let rq = world.cpu_of(task);
    world.cpus[rq].active && (world.cpus[cpu].insertion.is_some() || !world.tasks[task].exiting)
}

/// do_enqueue_task(), under the lock of the task's run queue.
pub(super) fn enqueue(w: Address, cpu: usize, task: TaskId, flags: u64) {
    if !asks(w, cpu, task) {
        world(w).cpus[cpu].insertion = None;
        world(w).kernel.task(task).scx.slice_ns = SLICE_DFL_NS;
        let rq = world(w).cpu_of(task);
        world(w).enqueue_local(task, rq, flags);
        // The thread that takes the CPU down waits, and runs again.
        if !world(w).cpus[rq].active {
            world(w).push(rq, Work::Schedule);
        }
        return;
    }
    if world(w).cpus[cpu].insertion.is_none() {
        let p = op(w, cpu, "enqueue", Some(task));
        (world(w).ops.enqueue)(abi::NO_CONTEXT, p, flags);
        op_ends(w, cpu);
    }
    let rq = world(w).cpu_of(task);
    let Some(asked) = world(w).cpus[cpu].insertion.take() else {
        return;
    };
    if asked.task != task {
        fail(w, "an op has inserted another task".to_owned());
    }
    match world(w).kernel.local_cpu(asked.dsq, rq) {
        Some(local) if local == rq => world(w).enqueue_local(task, rq, asked.flags),
        // process_ddsq_deferred_locals(), which the kernel calls before it unlocks the run queue.
        Some(local) if world(w).may_run_on(task, local) && world(w).cpus[local].active => {
            move_to_local(w, cpu, task, rq, local, asked.flags);
            unlock_rq(w, local);
            lock_rq(w, cpu, rq);
        }
        Some(local) if world(w).may_run_on(task, local) => {
            world(w)
                .kernel
                .insert(task, abi::DSQ_GLOBAL, 0, asked.flags);
        }
        Some(local) => fail(
            w,
            format!("a task that may not run on CPU {local} is put there"),
        ),
        None if !world(w).kernel.has_dsq(asked.dsq) => fail(w, format!("no DSQ {:#x}", asked.dsq)),
        None => world(w)
            .kernel
            .insert(task, asked.dsq, asked.vtime, asked.flags),
    }
    world(w).note(cpu, |world| {
        format!("inserted into {:#x}: {}", asked.dsq, world.name(task))
    });
    world(w).inserted(task);
}

/// balance_one() and pick_task_scx(), with SCX_OPS_ENQ_LAST.
pub(super) fn pick(w: Address, cpu: usize, prev: Option<TaskId>) -> Option<TaskId> {
    let goes_on = || prev.filter(|&prev| world(w).queued(prev) && world(w).slice(prev) > 0);
    if goes_on().is_some() {
        return prev;
    }
    while world(w).kernel.local_first(cpu).is_none()
        && !consume(w, cpu, abi::DSQ_GLOBAL)
        && world(w).cpus[cpu].active
    {
        let p = op(w, cpu, "dispatch", prev);
        let this = &mut world(w).cpus[cpu];
        this.in_balance = true;
        this.moved = false;
        (world(w).ops.dispatch)(abi::NO_CONTEXT, cpu as i32, p);
        op_ends(w, cpu);
        world(w).cpus[cpu].in_balance = false;
        if goes_on().is_some() {
            return prev;
        }
        if !world(w).cpus[cpu].moved {
            break;
        }
    }
    world(w).kernel.local_first(cpu)
}

/// put_prev_task_scx() of a task that is still runnable.
pub(super) fn put_prev(w: Address, cpu: usize, prev: TaskId, flags: u64) {
    stopping(w, cpu, prev, true);
    let world_ = world(w);
    world_.tasks[prev].since_ns = world_.now_ns();
    if world_.slice(prev) > 0 {
        world_.enqueue_local(prev, cpu, abi::ENQ_HEAD);
    } else {
        enqueue(w, cpu, prev, flags);
    }
}

/// The CPU has switched from `prev`, which may sleep.
pub(super) fn switched(w: Address, cpu: usize, prev: Option<TaskId>, next: Option<TaskId>) {
    let world = world(w);
    if let Some(prev) = prev {
        let p = world.kernel.task(prev);
        p.on_cpu = 0;
        // migrate_disable_switch()
        if p.migration_disabled != 0 {
            *world.tasks[prev].bound = CpuMask::of([cpu]);
            p.cpus = &raw const *world.tasks[prev].bound;
        }
    }
    world.kernel.current[cpu] = next;
    world.cpus[cpu].turn += 1;
    let turn = world.cpus[cpu].turn;
    if next == Some(USER) {
        world.after(500, Event::Act(cpu, turn));
    } else if next.is_some() {
        world.after_about(1_000_000, Event::Act(cpu, turn));
    }
}

/// __scx_update_idle(). The scheduler is told of changes only.
pub(super) fn update_idle(w: Address, cpu: usize, idle: bool) {
    let before = std::mem::replace(&mut world(w).cpus[cpu].idle, idle);
    if idle || before {
        world(w).kernel.idle.set(cpu, idle);
    }
    if let (Some(update_idle), true) = (world(w).ops.update_idle, before != idle) {
        op(w, cpu, "update_idle", None);
        update_idle(abi::NO_CONTEXT, cpu as i32, idle);
        op_ends(w, cpu);
    }
}

/// schedule(); the task that runs goes to sleep if `sleeps`.
pub(super) fn schedule(w: Address, cpu: usize, sleeps: bool) {
    lock_rq(w, cpu, cpu);
    if world(w).cpus[cpu].rt {
        world(w).cpus[cpu].resched = false;
        unlock_rq(w, cpu);
        return;
    }
    world(w).cpus[cpu].released = false;
    world(w).kernel.use_slice(cpu);
    let prev = world(w).kernel.current[cpu];
    if let (Some(prev), true) = (prev, sleeps) {
        stopping(w, cpu, prev, false);
        world(w).set_queued(prev, false);
        world(w).tasks[prev].state = State::Asleep;
        world(w).after_about(1_000_000, Event::Wake(prev));
    }
    let next = pick(w, cpu, prev);
    if let Some(next) = next
        && world(w).slice(next) == 0
    {
        world(w).kernel.task(next).scx.slice_ns = SLICE_DFL_NS;
    }
    if next != prev {
        if let (Some(prev), false) = (prev, sleeps) {
            let last = if next.is_none() { abi::ENQ_LAST } else { 0 };
            put_prev(w, cpu, prev, last);
        }
        update_idle(w, cpu, next.is_none());
        if let Some(next) = next {
            world(w).kernel.remove(next);
            world(w).kernel.task(next).on_cpu = 1;
            running(w, cpu, next);
        }
    } else if next.is_none() {
        update_idle(w, cpu, true);
    }
    // As in the kernel, whatever has asked for it before the choice is forgotten.
    let world = world(w);
    world.cpus[cpu].resched = false;
    if next != prev {
        switched(w, cpu, prev, next);
        world.cpus[cpu].idle_since_ns = world.now_ns();
    }
    if let Some(next) = next
        && !world.cpus[cpu].active
    {
        // balance_push()
        world.push(cpu, Work::Push(next));
    }
    let next_name = |world: &mut World| next.map_or("idle".to_owned(), |next| world.name(next));
    world.note(cpu, |world| format!("runs: {}", next_name(world)));
    unlock_rq(w, cpu);
}

pub(super) fn wake(w: Address, cpu: usize, task: TaskId) {
    wait(w, cpu, Blocked::Pi(task));
    world(w).pi_owner[task] = Some(cpu);
    if world(w).tasks[task].state != State::Asleep {
        world(w).pi_owner[task] = None;
        return;
    }
    wait(w, cpu, Blocked::OnCpu(task));
    let mut flags = abi::ENQ_WAKEUP;
    let p = world(w).kernel.task(task);
    let mut to = p.cpu as usize;
    if p.nr_cpus_allowed > 1 && p.migration_disabled == 0 {
        flags |= abi::ENQ_CPU_SELECTED;
        let p = op(w, cpu, "select_cpu", Some(task));
        to = (world(w).ops.select_cpu)(abi::NO_CONTEXT, p, to as i32, abi::WAKE_TTWU) as usize;
        op_ends(w, cpu);
        if to >= world(w).cpus.len() {
            fail(w, format!("ops.select_cpu returned CPU {to}"));
        }
    }
    let bound = world(w).kernel.task(task).migration_disabled != 0;
    let usable = world(w).kernel.may_run_on(task, to) && world(w).cpus[to].active;
    if !bound && !usable {
        to = world(w).fallback(task);
    }
    world(w).kernel.task(task).cpu = to as i32;
    lock_rq(w, cpu, to);
    world(w).tasks[task].state = State::Runnable;
    world(w).tasks[task].since_ns = world(w).now_ns();
    world(w).set_queued(task, true);
    enqueue(w, cpu, task, flags);
    if world(w).kernel.current[to].is_none() {
        world(w).resched(to);
    }
    unlock_task_rq(w, task, to);
}

/// yield_to() or sched_yield(). Returns whether schedule() follows.
pub(super) fn yield_to(w: Address, cpu: usize, from: TaskId, to: Option<TaskId>) -> bool {
    let other = loop {
        let other = to.map_or(cpu, |to| world(w).cpu_of(to));
        lock_rq(w, cpu, cpu.min(other));
        if other != cpu {
            lock_rq(w, cpu, cpu.max(other));
        }
        if to.is_none_or(|to| world(w).cpu_of(to) == other) {
            break other;
        }
        unlock_rq(w, cpu);
        unlock_rq(w, other);
    };
    let waits = to.is_none_or(|to| {
        world(w).queued(to) && world(w).kernel.task(to).on_cpu == 0 && !world(w).tasks[to].migrating
    });
    let mut taken = false;
    if let (true, Some(yields)) = (waits, world(w).ops.yields) {
        world(w).kernel.use_slice(cpu);
        let f = op(w, cpu, "yield", to.or(Some(from)));
        let f = if to.is_some() {
            world(w).kernel.pointer(Some(from))
        } else {
            f
        };
        let t = world(w).kernel.pointer(to);
        taken = yields(abi::NO_CONTEXT, f, t);
        op_ends(w, cpu);
        if taken && to.is_some() && other != cpu {
            world(w).resched(other);
        }
    }
    unlock_rq(w, cpu);
    unlock_rq(w, other);
    taken
}
