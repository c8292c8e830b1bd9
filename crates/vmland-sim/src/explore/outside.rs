// SPDX-License-Identifier: GPL-2.0-only
//! Events from outside: what users, administrators and other classes do to tasks, CPUs,
//! cgroups and VMs.

use std::ptr::null;

use super::explorer::Explorer;
use super::world::{Event, GroupWork, State, USER, Work};
use crate::ext::UserSpace;
use crate::scheduler::TaskId;

impl<U: UserSpace> Explorer<U> {
    pub(super) fn outside(&mut self) {
        if self.ends {
            return;
        }
        let outside_ns = self.outside_ns;
        let world = &mut *self.world;
        world.after_about(outside_ns, Event::Outside);
        let task = world.random.usize(0..world.tasks.len());
        if task == USER || world.tasks[task].state == State::Gone {
            return;
        }
        let group = world.random.usize(0..world.groups.len());
        let (any_cpu, cpus) = world.any_affinity();
        let mut any = |of: &[u64]| of[world.random.usize(0..of.len())];
        let work = match any(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]) {
            0 => Work::Weight(task, any(&[10, 100, 1000]) as u32),
            1..=5 => Work::Affinity(task, cpus),
            6 | 7 => Work::RtTakes,
            8 => Work::ToRt(task),
            9 => Work::Offline,
            10 => {
                let vm = any(&[0, 1, 2]) as usize;
                return self.vm_ends(vm);
            }
            11 => Work::Cgroup(GroupWork::Move(task, group)),
            12 => Work::Cgroup(GroupWork::New(group)),
            13 => Work::Cgroup(GroupWork::Remove(group)),
            14 => Work::Cgroup(GroupWork::Weight(group, any(&[1, 100, 10_000]) as u32)),
            15 => Work::Decide(
                task,
                any(&[0, 1, 1, 1, 2, 4, 8, 16]) | any(&[0, 0, 1, 2, 4, 16, 32]) << 8,
            ),
            _ => match any(&[0, 1, 2]) {
                0 => Work::Cgroup(GroupWork::Idle(group, any(&[0, 1]) == 1)),
                _ => Work::Cgroup(GroupWork::Max(
                    group,
                    any(&[0, 200, 1_000, 5_000]),
                    any(&[1_000, 10_000]),
                )),
            },
        };
        world.push(any_cpu, work);
    }

    /// The vCPUs of `vm` leave the guest as they run, for the VMM ends it.
    fn vm_ends(&mut self, vm: usize) {
        let Some(vm) = self.vms.get_mut(vm) else {
            return;
        };
        vm.ends = true;
        for &task in &vm.tasks {
            if self.world.tasks[task].state == State::Asleep {
                self.world.after(1_000, Event::Wake(task));
            }
        }
        self.vm_is_destroyed();
    }

    fn in_guest(&mut self, task: TaskId) -> bool {
        let gone = self.world.tasks[task].state == State::Gone;
        !gone && !self.world.kernel.task(task).preempt_notifier.is_null()
    }

    /// A thread of a VM's leaves KVM_RUN as the VM ends, or enters it when there is a new one.
    pub(super) fn leaves_or_enters(&mut self, task: TaskId) -> bool {
        let Some(vm) = self.world.tasks[task].vm else {
            return false;
        };
        let ends = self.vms[vm].ends;
        if ends != self.in_guest(task) {
            return false;
        }
        let kvm = self.vms[vm].kvm;
        if self.world.dying_kvms.contains(&kvm) {
            return false;
        }
        let vcpu = self.vcpus[task].as_mut().expect("it is a vCPU thread");
        if ends {
            self.world.kernel.set_vcpu(task, null());
            self.vm_is_destroyed();
        } else {
            vcpu.kvm = kvm;
            self.world.kernel.set_vcpu(task, &raw const **vcpu);
        }
        true
    }

    /// KVM destroys a VM when no thread is in KVM_RUN any more. The next VM of the threads may
    /// have its `struct kvm` at the same address.
    fn vm_is_destroyed(&mut self) {
        for vm in 0..self.vms.len() {
            let tasks = self.vms[vm].tasks.clone();
            if !self.vms[vm].ends || tasks.into_iter().any(|task| self.in_guest(task)) {
                continue;
            }
            self.vms[vm].ends = false;
            let any_cpu = self.world.random.usize(0..self.world.cpus.len());
            let kvm = self.vms[vm].kvm;
            self.world.dying_kvms.push(kvm);
            self.world.push(any_cpu, Work::VmDestroyed(kvm));
            if self.world.random.bool() {
                self.kvms += 1;
                self.vms[vm].kvm = self.kvms;
            }
        }
    }
}
