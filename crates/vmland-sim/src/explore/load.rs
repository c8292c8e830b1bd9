// SPDX-License-Identifier: GPL-2.0-only
//! What happens on the host: ticks, what tasks do, and what comes from outside.

use super::explorer::Explorer;
use super::hotplug;
use super::world::{Event, State, TICK_NS, USER, Work};
use crate::ext::UserSpace;
use crate::kernel::Record;
use crate::scheduler::TaskId;

impl<U: UserSpace> Explorer<U> {
    pub(super) fn handle(&mut self, event: Event) {
        let world = &mut *self.world;
        let any_cpu = world.random.usize(0..world.cpus.len());
        match event {
            Event::Act(cpu, turn) if world.cpus[cpu].turn != turn => {}
            // Interrupts come first.
            Event::Act(cpu, _) if world.has_to_do(cpu) => world.after(1_000, event),
            Event::Act(cpu, turn) => match world.kernel.current[cpu] {
                Some(USER) => self.user_acts(cpu, turn),
                Some(task) => self.task_acts(cpu, turn, task),
                None => {}
            },
            Event::Tick(cpu) => {
                world.after(TICK_NS, event);
                if world.kernel.current[cpu].is_some() {
                    world.push(cpu, Work::Tick);
                }
            }
            Event::Wake(task) => world.push(any_cpu, Work::Wake(task)),
            Event::Timer(timer, armed, cpu) => {
                let key = cpu.unwrap_or(0) as u32;
                world.push(cpu.unwrap_or(any_cpu), Work::Timer(timer, armed, key));
            }
            Event::RtLeaves(cpu) => world.push(cpu, Work::RtLeaves),
            Event::FromRt(task) if self.ends => world.push(any_cpu, Work::FromRt(task, true)),
            Event::FromRt(task) => {
                let runnable = world.random.bool();
                world.push(any_cpu, Work::FromRt(task, runnable));
            }
            Event::Dies(cpu) => hotplug::dies((&raw mut *world).cast(), cpu),
            Event::Online(cpu) => {
                world.cpus[cpu].online = true;
                world.online.set(cpu, true);
                world.push(cpu, Work::Online);
            }
            Event::Outside => self.outside(),
        }
    }

    /// A step of the thread in user space: it reads events, writes decisions, or yields.
    pub(super) fn user_acts(&mut self, cpu: usize, turn: u32) {
        let world = &mut *self.world;
        let slow_ns = [500, 5_000, 40_000][world.random.usize(0..3)];
        world.after(slow_ns, Event::Act(cpu, turn));
        world.cpus[cpu].op = "user space";
        match self.round {
            0 => {
                self.user.begins(&world.kernel);
                while let Some(record) = world.kernel.ring_next() {
                    // SAFETY: its BPF part writes no other records.
                    let event = unsafe { record.read() };
                    self.user.event(&world.kernel, &event);
                    world.note(cpu, |_| "reads an event".to_owned());
                    // SAFETY: main.bpf.c defines it so.
                    unsafe { *self.nr_queued = (*self.nr_queued).saturating_sub(1) };
                }
            }
            1 => {
                while let Some(decision) = self.user.decide() {
                    world.kernel.user_ring.push_back(Record::new(decision));
                    world.note(cpu, |_| "writes a decision".to_owned());
                }
                // SAFETY: main.bpf.c defines it so.
                unsafe { *self.nr_scheduled = self.user.waiting() };
            }
            _ => world.push(cpu, Work::Yield(turn, None)),
        }
        world.cpus[cpu].op = "";
        self.round = (self.round + 1) % 3;
    }

    pub(super) fn task_acts(&mut self, cpu: usize, turn: u32, task: TaskId) {
        let world = &mut *self.world;
        world.after_about(500_000, Event::Act(cpu, turn));
        let bound = world.kernel.task(task).migration_disabled != 0;
        if world.tasks[task].exiting {
            world.push(cpu, Work::Leave(turn, true));
            return;
        }
        if self.ends {
            let work = match bound {
                true => Work::MigrateDisable(turn, false),
                false => Work::Exiting(turn),
            };
            world.push(cpu, work);
            return;
        }
        if self.leaves_or_enters(task) {
            return;
        }
        let world = &mut *self.world;
        let sibling = world.tasks[task].vm.map(|vm| {
            let vcpus = &self.vms[vm].tasks;
            (vm, world.random.usize(0..vcpus.len()))
        });
        let sibling = sibling.map(|(vm, id)| self.vms[vm].tasks[id]);
        let sibling = sibling.filter(|&sibling| sibling != task);
        // KVM yields to those only that wait for a CPU.
        let waits = |&sibling: &TaskId| {
            world.tasks[sibling].state == State::Runnable
                && !world.kernel.current.contains(&Some(sibling))
        };
        let vm = world.tasks[task].vm;
        let target = vm.and_then(|vm| self.vms[vm].tasks.iter().copied().find(waits));
        if world.random.u32(0..100) < self.computes {
            return;
        }
        let work = match (world.random.u32(0..60), sibling) {
            (0..15, _) => Work::Leave(turn, false),
            (15..38, _) if target.is_some() => Work::Yield(turn, target),
            (38..48, Some(sibling)) => Work::Ipi(turn, sibling),
            (48..53, _) => Work::Spin(turn),
            (53..55, _) => Work::Yield(turn, None),
            (55..59, _) => Work::MigrateDisable(turn, !bound),
            (59, _) if !bound => Work::Exiting(turn),
            _ => return,
        };
        // A change of the target's affinity meets the hand-off.
        if let Work::Yield(_, Some(target)) = work
            && world.random.u32(0..3) == 0
        {
            let (any_cpu, cpus) = world.any_affinity();
            world.push(any_cpu, Work::Affinity(target, cpus));
        }
        world.push(cpu, work);
    }
}
