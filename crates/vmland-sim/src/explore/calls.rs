// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler calls: kfuncs, helpers and maps, each with a point before it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;

use super::points::{Address, fail, lock_rq, migrate, point, unlock_rq};
use super::world::{Event, State, world};
use crate::abi::{self, CpuMask, DsqIter, Host, Timer};
use crate::kernel::{self, Insertion, index, iterator};
use crate::scheduler::TaskId;

/// The table, with a point before each function.
pub(super) fn functions() -> Host {
    Host {
        dsq_create,
        dsq_insert,
        dsq_move,
        dsq_move_to_local,
        dsq_peek,
        dsq_iterate,
        dsq_next,
        dsq_end,
        dsq_nr_queued,
        kick_cpu,
        claim_idle,
        pick_idle,
        select_idle,
        set_slice,
        task_from_pid,
        cgroup_from_id,
        reenqueue_local,
        hash,
        ring_reserve,
        ring_submit,
        ring_used,
        user_ring_next,
        timer_start,
        point: on_point,
        error,
        ..kernel::functions()
    }
}

fn name(call: *const c_char) -> &'static str {
    // SAFETY: shim/ passes literals.
    unsafe { CStr::from_ptr(call) }.to_str().expect("literals")
}

extern "C" fn on_point(w: Address, call: *const c_char) {
    point(w, name(call), None);
}

extern "C" fn error(w: Address, text: *const c_char) {
    // SAFETY: shim/kfuncs.h ends it with a zero.
    let text = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    fail(w, format!("scx_bpf_error: {text}"));
}

extern "C" fn dsq_create(w: Address, dsq: u64) -> c_int {
    (world(w).functions.dsq_create)(kernel_of(w), dsq)
}

fn kernel_of(w: Address) -> *mut c_void {
    (&raw mut world(w).kernel).cast()
}

fn checked_dsq(w: Address, dsq: u64) {
    if !world(w).kernel.has_dsq(dsq) {
        fail(w, format!("no DSQ {dsq:#x}"));
    }
}

extern "C" fn dsq_insert(
    w: Address,
    p: *mut abi::Task,
    dsq: u64,
    slice_ns: u64,
    vtime: u64,
    flags: u64,
) {
    let task = index(p);
    let cpu = point(w, "dsq_insert", Some(task));
    if world(w).cpus[cpu].in_balance {
        fail(
            w,
            "an insertion from ops.dispatch is not modelled".to_owned(),
        );
    }
    world(w).kernel.task(task).scx.slice_ns = slice_ns;
    let asked = Insertion {
        task,
        dsq,
        vtime,
        flags,
    };
    if world(w).cpus[cpu].insertion.replace(asked).is_some() {
        fail(w, format!("{} is inserted twice", world(w).name(task)));
    }
}

/// Why the kernel would eject a scheduler that moves `task` to `to`.
fn refused(w: Address, task: TaskId, to: usize) -> Option<String> {
    let name = world(w).name(task);
    if world(w).kernel.task(task).migration_disabled != 0 {
        Some(format!(
            "SCX_DSQ_LOCAL[_ON] cannot move migration disabled {name}"
        ))
    } else if !world(w).kernel.may_run_on(task, to) {
        Some(format!(
            "SCX_DSQ_LOCAL[_ON] target CPU {to} not allowed for {name}"
        ))
    } else {
        None
    }
}

/// task_can_run_on_remote_rq()
fn can_run_on_remote(w: Address, task: TaskId, to: usize) -> bool {
    refused(w, task, to).is_none() && world(w).cpus[to].active
}

/// A queued task goes to the local DSQ of `to`; `from`, its run queue, is locked, and then
/// `to` is.
pub(super) fn move_to_local(
    w: Address,
    cpu: usize,
    task: TaskId,
    from: usize,
    to: usize,
    flags: u64,
) {
    if from != to {
        world(w).set_queued(task, false);
        migrate(w, cpu, task, from, to);
        world(w).set_queued(task, true);
    } else {
        world(w).kernel.remove(task);
    }
    world(w).enqueue_local(task, to, flags);
    world(w).note(cpu, |world| {
        format!("moved to CPU {to}: {}", world.name(task))
    });
}

extern "C" fn dsq_move(
    w: Address,
    it: *mut DsqIter,
    p: *mut abi::Task,
    to: u64,
    set_vtime: bool,
    flags: u64,
) -> bool {
    let task = index(p);
    let cpu = point(w, "dsq_move", Some(task));
    let from = world(w).cpu_of(task);
    let in_balance = world(w).cpus[cpu].in_balance;
    if !in_balance {
        lock_rq(w, cpu, from);
    } else if from != cpu {
        unlock_rq(w, cpu);
        lock_rq(w, cpu, from);
    }
    let mut locked = from;
    // nldsq_cursor_lost_task()
    let found = world(w).cpu_of(task) == from && world(w).kernel.iterates(iterator(it), task);
    if found {
        let vtime = world(w).kernel.change(iterator(it), task, set_vtime);
        match world(w).kernel.local_cpu(to, cpu) {
            Some(local) => {
                if local != from
                    && let Some(reason) = refused(w, task, local)
                {
                    fail(w, reason);
                }
                if local != from && !world(w).cpus[local].active {
                    world(w).kernel.remove(task);
                    world(w).kernel.insert(task, abi::DSQ_GLOBAL, 0, flags);
                } else {
                    move_to_local(w, cpu, task, from, local, flags);
                    locked = local;
                }
            }
            None => {
                checked_dsq(w, to);
                world(w).kernel.remove(task);
                world(w).kernel.insert(task, to, vtime, flags);
                world(w).inserted(task);
            }
        }
    }
    if !in_balance {
        unlock_rq(w, locked);
    } else if locked != cpu {
        unlock_rq(w, locked);
        lock_rq(w, cpu, cpu);
    }
    found
}

extern "C" fn dsq_move_to_local(w: Address, dsq: u64) -> bool {
    let cpu = point(w, "dsq_move_to_local", None);
    checked_dsq(w, dsq);
    consume(w, cpu, dsq)
}

/// consume_dispatch_q()
pub(super) fn consume(w: Address, cpu: usize, dsq: u64) -> bool {
    loop {
        let queue: Vec<TaskId> = world(w).kernel.tasks_in(dsq).collect();
        let first = queue
            .into_iter()
            .find(|&task| world(w).cpu_of(task) == cpu || can_run_on_remote(w, task, cpu));
        let Some(task) = first else {
            return false;
        };
        world(w).cpus[cpu].moved = true;
        let from = world(w).cpu_of(task);
        if from == cpu {
            move_to_local(w, cpu, task, from, cpu, 0);
            return true;
        }
        world(w).kernel.remove(task);
        world(w).tasks[task].holding_cpu = Some(cpu);
        unlock_rq(w, cpu);
        lock_rq(w, cpu, from);
        if world(w).tasks[task].holding_cpu == Some(cpu) {
            move_to_local(w, cpu, task, from, cpu, 0);
            return true;
        }
        unlock_rq(w, from);
        lock_rq(w, cpu, cpu);
    }
}

extern "C" fn dsq_peek(w: Address, dsq: u64) -> *mut abi::Task {
    point(w, "dsq_peek", None);
    checked_dsq(w, dsq);
    (world(w).functions.dsq_peek)(kernel_of(w), dsq)
}

extern "C" fn dsq_iterate(w: Address, it: *mut DsqIter) {
    point(w, "iter_scx_dsq_new", None);
    checked_dsq(w, iterator(it).dsq);
    (world(w).functions.dsq_iterate)(kernel_of(w), it);
}

extern "C" fn dsq_next(w: Address, it: *mut DsqIter) -> *mut abi::Task {
    point(w, "iter_scx_dsq_next", None);
    (world(w).functions.dsq_next)(kernel_of(w), it)
}

/// No point: schedules that are replayed know none here.
extern "C" fn dsq_end(w: Address, it: *mut DsqIter) {
    (world(w).functions.dsq_end)(kernel_of(w), it);
}

extern "C" fn dsq_nr_queued(w: Address, dsq: u64) -> i32 {
    let cpu = point(w, "dsq_nr_queued", None);
    if world(w).kernel.local_cpu(dsq, cpu).is_none() {
        checked_dsq(w, dsq);
    }
    (world(w).functions.dsq_nr_queued)(kernel_of(w), dsq)
}

extern "C" fn kick_cpu(w: Address, to: i32, flags: u64) {
    let cpu = point(w, "kick_cpu", None);
    world(w).note(cpu, |_| format!("kicks CPU {to}"));
    world(w).cpus[cpu].kicks.push((to as usize, flags));
}

extern "C" fn claim_idle(w: Address, cpu: i32) -> bool {
    point(w, "test_and_clear_cpu_idle", None);
    (world(w).functions.claim_idle)(kernel_of(w), cpu)
}

extern "C" fn pick_idle(w: Address, allowed: *const CpuMask, flags: u64) -> i32 {
    point(w, "pick_idle_cpu", None);
    (world(w).functions.pick_idle)(kernel_of(w), allowed, flags)
}

extern "C" fn select_idle(w: Address, prev: i32, allowed: *const CpuMask, flags: u64) -> i32 {
    point(w, "select_cpu_and", None);
    (world(w).functions.select_idle)(kernel_of(w), prev, allowed, flags)
}

extern "C" fn set_slice(w: Address, p: *mut abi::Task, slice_ns: u64) {
    point(w, "task_set_slice", Some(index(p)));
    (world(w).functions.set_slice)(kernel_of(w), p, slice_ns);
    world(w).kernel.slice_changes.clear();
}

extern "C" fn task_from_pid(w: Address, pid: i32) -> *mut abi::Task {
    point(w, "task_from_pid", None);
    let p = (world(w).functions.task_from_pid)(kernel_of(w), pid);
    let gone = !p.is_null() && world(w).tasks[index(p)].state == State::Gone;
    if gone {
        null::<abi::Task>().cast_mut()
    } else {
        p
    }
}

extern "C" fn cgroup_from_id(w: Address, id: u64) -> *const abi::Cgroup {
    point(w, "cgroup_from_id", None);
    let group = world(w).groups.get((id as usize).wrapping_sub(1));
    group
        .filter(|group| group.online)
        .map_or(null(), |group| &raw const *group.known)
}

/// As from Linux 6.19 on: it happens when the op has returned, under the same lock.
extern "C" fn reenqueue_local(w: Address) {
    let cpu = point(w, "reenqueue_local", None);
    world(w).cpus[cpu].reenqueue = true;
}

extern "C" fn hash(
    w: Address,
    map: *mut c_void,
    key: u64,
    size: usize,
    what: c_int,
) -> *mut c_void {
    (world(w).functions.hash)(kernel_of(w), map, key, size, what)
}

extern "C" fn ring_reserve(w: Address, ring: *const c_void, size: usize) -> *mut c_void {
    point(w, "ringbuf_reserve", None);
    (world(w).functions.ring_reserve)(kernel_of(w), ring, size)
}

extern "C" fn ring_submit(w: Address, record: *mut c_void) {
    point(w, "ringbuf_submit", None);
    (world(w).functions.ring_submit)(kernel_of(w), record);
}

extern "C" fn ring_used(w: Address) -> u64 {
    point(w, "ringbuf_query", None);
    (world(w).functions.ring_used)(kernel_of(w))
}

extern "C" fn user_ring_next(w: Address) -> *mut c_void {
    point(w, "user_ringbuf_drain", None);
    (world(w).functions.user_ring_next)(kernel_of(w))
}

extern "C" fn timer_start(w: Address, timer: *mut Timer, ns: u64, flags: u64) {
    point(w, "timer_start", None);
    let world = world(w);
    world.numbered += 1;
    let armed = world.numbered;
    world.timers.insert(timer as usize, armed);
    let here = (flags & abi::TIMER_CPU_PIN != 0).then_some(world.running);
    world.after(ns, Event::Timer(timer as usize, armed, here));
}
