// SPDX-License-Identifier: GPL-2.0-only
//! cgroups that are made, changed and removed, and tasks that move between them.

use std::ptr::null;

use super::change::change;
use super::points::{Address, op, op_ends, unlock_task_rq, wait};
use super::world::{Blocked, Group, GroupWork, State, World, world};
use crate::abi::{self, Cgroup, CgroupInitArgs};
use crate::scheduler::TaskId;

/// The root of the tree.
pub(super) const ROOT: usize = 0;

impl World {
    /// A cgroup below `parent`, that the scheduler does not know yet. Its id is its number
    /// here and 1.
    pub(super) fn add_group(&mut self, parent: Option<usize>) -> usize {
        let id = Box::new(self.groups.len() as u64 + 1);
        let up = parent.map(|parent| &self.groups[parent].known);
        let known = Box::new(Cgroup {
            id: &raw const *id,
            level: up.map_or(0, |up| up.level + 1),
            parent: up.map_or(null(), |up| &raw const **up),
        });
        self.groups.push(Group {
            known,
            _id: id,
            parent: parent.unwrap_or(ROOT),
            online: true,
        });
        self.groups.len() - 1
    }

    fn group(&self, group: usize) -> *const Cgroup {
        &raw const *self.groups[group].known
    }

    /// rmdir is refused while there are children, and tasks that have not begun to end.
    fn may_be_removed(&self, group: usize) -> bool {
        let lives = |task: &super::world::Task| {
            task.cgroup == group && !task.exiting && task.state != State::Gone
        };
        let mut groups = self.groups.iter().skip(1);
        group != ROOT
            && self.groups[group].online
            && !groups.any(|child| child.online && child.parent == group)
            && !self.tasks.iter().any(lives)
    }
}

/// ops.cgroup_init() of a new child of `parent`.
pub(super) fn make(w: Address, cpu: usize, parent: usize) {
    let Some(init) = world(w).ops.cgroup_init else {
        return;
    };
    if !world(w).groups[parent].online {
        return;
    }
    let group = world(w).add_group(Some(parent));
    let args = CgroupInitArgs {
        weight: 100,
        idle: false,
        period_us: 100_000,
        quota_us: u64::MAX,
        burst_us: 0,
    };
    op(w, cpu, "cgroup_init", None);
    let err = init(abi::NO_CONTEXT, world(w).group(group), &args);
    assert_eq!(err, 0, "ops.cgroup_init");
    op_ends(w, cpu);
}

/// ops.cgroup_move() of `task` to `group`.
fn move_task(w: Address, cpu: usize, task: TaskId, group: usize) {
    let from = world(w).tasks[task].cgroup;
    let gone = world(w).tasks[task].state == State::Gone || world(w).tasks[task].exiting;
    if from == group || gone || !world(w).groups[group].online {
        return;
    }
    world(w).tasks[task].cgroup = group;
    let rq = change(w, cpu, task, || {
        let p = op(w, cpu, "cgroup_move", Some(task));
        if let Some(moves) = world(w).ops.cgroup_move {
            moves(
                abi::NO_CONTEXT,
                p,
                world(w).group(from),
                world(w).group(group),
            );
        }
        op_ends(w, cpu);
    });
    unlock_task_rq(w, task, rq);
}

/// A change that is no task's. `call` has the cgroup as the scheduler knows it.
fn set(w: Address, cpu: usize, name: &'static str, group: usize, call: impl FnOnce(*const Cgroup)) {
    if group == ROOT || !world(w).groups[group].online {
        return;
    }
    op(w, cpu, name, None);
    call(world(w).group(group));
    op_ends(w, cpu);
}

pub(super) fn perform(w: Address, cpu: usize, work: GroupWork) {
    wait(w, cpu, Blocked::Cgroups);
    world(w).groups_owner = Some(cpu);
    match work {
        GroupWork::New(parent) => make(w, cpu, parent),
        GroupWork::Remove(group) if world(w).may_be_removed(group) => {
            world(w).groups[group].online = false;
            let exit = world(w).ops.cgroup_exit.expect("it has ops.cgroup_init");
            op(w, cpu, "cgroup_exit", None);
            exit(abi::NO_CONTEXT, world(w).group(group));
            op_ends(w, cpu);
        }
        GroupWork::Remove(_) => {}
        GroupWork::Move(task, group) => move_task(w, cpu, task, group),
        GroupWork::Weight(group, weight) => set(w, cpu, "set_weight", group, |cgroup| {
            if let Some(set_weight) = world(w).ops.cgroup_set_weight {
                set_weight(abi::NO_CONTEXT, cgroup, weight);
            }
        }),
        GroupWork::Idle(group, idle) => set(w, cpu, "set_idle", group, |cgroup| {
            if let Some(set_idle) = world(w).ops.cgroup_set_idle {
                set_idle(abi::NO_CONTEXT, cgroup, idle);
            }
        }),
        GroupWork::Max(group, quota_us, period_us) => set(w, cpu, "set_max", group, |cgroup| {
            let quota_us = if quota_us == 0 { u64::MAX } else { quota_us };
            if let Some(set_bandwidth) = world(w).ops.cgroup_set_bandwidth {
                set_bandwidth(abi::NO_CONTEXT, cgroup, period_us, quota_us, 0);
            }
        }),
    }
    world(w).groups_owner = None;
}
