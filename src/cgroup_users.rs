// SPDX-License-Identifier: GPL-2.0-only
//! Which VMs are in which cgroup. One that is alone in its cgroup owns it.

use std::collections::{BTreeSet, HashMap};

/// VMs by the kernel's id of their cgroup. A VM is meant by its slot.
#[derive(Default)]
pub struct CgroupUsers(HashMap<u64, BTreeSet<u32>>);

impl CgroupUsers {
    pub fn owns(&self, cgroup: u64, vm: u32) -> bool {
        self.0.get(&cgroup).and_then(only) == Some(vm)
    }

    /// Whether there is one VM in it.
    pub fn is_owned(&self, cgroup: u64) -> bool {
        self.0.get(&cgroup).and_then(only).is_some()
    }

    /// The VM is in this cgroup from now on. Returns another one that owned it until now.
    pub fn enter(&mut self, cgroup: u64, vm: u32) -> Option<u32> {
        let users = self.0.entry(cgroup).or_default();
        let owner = only(users);
        users.insert(vm);
        owner.filter(|owner| *owner != vm)
    }

    /// The VM is in this cgroup no more. Returns the one that owns it now.
    pub fn leave(&mut self, cgroup: u64, vm: u32) -> Option<u32> {
        let users = self.0.get_mut(&cgroup)?;
        let was_user = users.remove(&vm);
        let owner = only(users).filter(|_| was_user);
        if users.is_empty() {
            self.0.remove(&cgroup);
        }
        owner
    }
}

fn only(users: &BTreeSet<u32>) -> Option<u32> {
    users.first().copied().filter(|_| users.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_in_a_cgroup_owns_it() {
        let mut users = CgroupUsers::default();
        assert!(!users.is_owned(1));
        assert_eq!(users.enter(1, 10), None);
        assert_eq!(users.enter(1, 10), None);
        assert!(users.owns(1, 10) && !users.owns(1, 11) && !users.owns(2, 10));
        assert_eq!(users.enter(1, 11), Some(10));
        assert!(!users.owns(1, 10) && !users.is_owned(1));
        assert_eq!(users.enter(1, 12), None);
        assert_eq!(users.leave(1, 10), None);
        assert_eq!(users.leave(1, 10), None);
        assert_eq!(users.leave(1, 12), Some(11));
        assert!(users.owns(1, 11));
        assert_eq!(users.leave(1, 11), None);
        assert!(!users.is_owned(1) && users.0.is_empty());
    }

    #[test]
    fn a_vm_that_was_not_there_leaves_nothing() {
        let mut users = CgroupUsers::default();
        users.enter(1, 10);
        assert_eq!(users.leave(1, 11), None);
        assert_eq!(users.leave(2, 10), None);
        assert!(users.owns(1, 10));
    }
}
