// SPDX-License-Identifier: GPL-2.0-only
//! What a CPU does: the work that events give it, and the kicks that follow.

use std::ffi::c_void;
use std::mem::take;
use std::ptr::null;

use corosensei::Yielder;

use super::change::{change, leave, push, set_affinity};
use super::class::{schedule, wake, yield_to};
use super::groups;
use super::hotplug;
use super::points::{Address, lock_rq, op, op_ends, suspend, unlock_rq, unlock_task_rq};
use super::rt;
use super::world::{State, Work, world};
use crate::abi::{self, CpuMask, Timer};
use crate::ext::VECTOR;

pub(super) fn perform(w: Address, cpu: usize, work: Work) {
    let current = world(w).kernel.current[cpu];
    let turn = world(w).cpus[cpu].turn;
    match work {
        Work::Schedule => schedule(w, cpu, false),
        Work::Wake(task) => wake(w, cpu, task),
        Work::Tick => {
            lock_rq(w, cpu, cpu);
            world(w).kernel.use_slice(cpu);
            let current = world(w).kernel.current[cpu];
            if current.is_some_and(|task| world(w).slice(task) == 0) {
                world(w).resched(cpu);
            }
            unlock_rq(w, cpu);
        }
        Work::Timer(timer, armed, mut key) if world(w).timers.get(&timer) == Some(&armed) => {
            op(w, cpu, "timer", None);
            let timer = timer as *mut Timer;
            // SAFETY: the scheduler has armed it, and its maps live as long as it does.
            let callback = unsafe { (*timer).callback };
            callback(null::<c_void>().cast_mut(), &mut key, timer);
            op_ends(w, cpu);
        }
        Work::Affinity(task, cpus) => set_affinity(w, cpu, task, cpus),
        Work::Weight(task, weight) => {
            let rq = change(w, cpu, task, || {
                world(w).kernel.task(task).scx.weight = weight;
            });
            unlock_task_rq(w, task, rq);
        }
        Work::Push(task) => push(w, cpu, task),
        // What the task that runs does, if it is still the one that was meant.
        Work::Leave(meant, ends) if meant == turn && ends => {
            let task = current.expect("it runs");
            schedule(w, cpu, true);
            leave(w, cpu, task);
        }
        Work::Exiting(meant) if meant == turn => {
            let task = current.expect("it runs");
            world(w).tasks[task].exiting = true;
            world(w).kernel.task(task).flags |= abi::PF_EXITING;
        }
        Work::RtTakes => rt::takes(w, cpu),
        Work::RtLeaves => rt::leaves(w, cpu),
        Work::ToRt(task) => rt::to_rt(w, cpu, task),
        Work::FromRt(task, runnable) => rt::from_rt(w, cpu, task, runnable),
        Work::Offline => hotplug::offline(w, cpu),
        Work::Online => hotplug::online(w, cpu),
        Work::Cgroup(work) => groups::perform(w, cpu, work),
        Work::Decide(task, choice) => {
            let gone = world(w).tasks[task].state == State::Gone;
            if let (Some(decide), false) = (world(w).decide, gone) {
                world(w).note(cpu, |world| {
                    format!("decides {choice:#x}: {}", world.name(task))
                });
                decide(world(w).kernel.pointer(Some(task)), choice);
            }
        }
        Work::VmDestroyed(kvm) => {
            if let Some(vm_destroyed) = world(w).vm_destroyed {
                op(w, cpu, "on_destroy", None);
                vm_destroyed(abi::NO_CONTEXT, kvm as *mut c_void);
                op_ends(w, cpu);
            }
            world(w).dying_kvms.retain(|&dying| dying != kvm);
        }
        Work::Leave(meant, _) if meant == turn => schedule(w, cpu, true),
        Work::Yield(meant, to)
            if meant == turn && yield_to(w, cpu, current.expect("it runs"), to) =>
        {
            schedule(w, cpu, false);
        }
        Work::Spin(meant) if meant == turn => {
            if let Some(on_spin) = world(w).probes.as_ref().map(|probes| probes.on_spin) {
                op(w, cpu, "on_spin", current);
                on_spin(abi::NO_CONTEXT);
                op_ends(w, cpu);
            }
        }
        Work::Ipi(meant, to) if meant == turn => {
            if let Some((ipi, accept)) = world(w)
                .probes
                .as_ref()
                .map(|probes| (probes.on_ipi, probes.on_accept))
            {
                op(w, cpu, "ipi", Some(to));
                let id = world(w).tasks[to].vcpu_id as u32;
                ipi(abi::NO_CONTEXT, VECTOR.into(), id);
                accept(abi::NO_CONTEXT, id, 0, 0, VECTOR);
                op_ends(w, cpu);
            }
            wake(w, cpu, to);
        }
        Work::MigrateDisable(meant, disable) if meant == turn => {
            let task = current.expect("it runs");
            let all: *const CpuMask = &raw const *world(w).tasks[task].allowed;
            let p = world(w).kernel.task(task);
            p.migration_disabled = disable.into();
            if !disable {
                lock_rq(w, cpu, cpu);
                world(w).kernel.task(task).cpus = all;
                // Its affinity has changed before.
                if !world(w).may_run_on(task, cpu) {
                    world(w).push(cpu, Work::Push(task));
                }
                unlock_rq(w, cpu);
            }
        }
        _ => {}
    }
}

/// What a CPU's coroutine does.
pub(super) fn live(w: Address, cpu: usize, yielder: &Yielder<(), ()>) {
    world(w).cpus[cpu].yielder = yielder;
    loop {
        while let Some(work) = world(w).cpus[cpu].work {
            perform(w, cpu, work);
            // Interrupts are on again: kicks go out.
            for (to, flags) in take(&mut world(w).cpus[cpu].kicks) {
                kick(w, cpu, to, flags);
            }
            world(w).cpus[cpu].work = None;
        }
        suspend(w);
    }
}

/// kick_one_cpu(), kick_one_cpu_if_idle()
pub(super) fn kick(w: Address, cpu: usize, to: usize, flags: u64) {
    if !world(w).cpus[to].online {
        return;
    }
    lock_rq(w, cpu, to);
    let current = world(w).kernel.current[to];
    if flags & abi::KICK_IDLE == 0 {
        if let (Some(current), true) = (current, flags & abi::KICK_PREEMPT != 0) {
            world(w).kernel.task(current).scx.slice_ns = 0;
        }
        world(w).resched(to);
    } else if world(w).idles(to) || world(w).cpus[to].in_balance {
        world(w).resched(to);
    }
    unlock_rq(w, to);
}
