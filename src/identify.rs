// SPDX-License-Identifier: GPL-2.0-only
//! Identifies VMs, in threads of its own.
//!
//! Who a VM is stands in files of its process below `/proc`. Reading them takes the process's
//! mmap_lock, and so can block: it took 4.5 s for 2 of 42 VMs that started on a full host. So does
//! asking where its memory is.

use std::io;
use std::path::Path;

use scx_vmland::threads;
use vmland_base::background::Background;
use vmland_identity::{VmIdentity, identify};

use crate::{group_weight, memory};

/// A VM is identified late only while as many others block.
const THREADS: usize = 4;

#[derive(Clone, Copy)]
pub struct Question {
    pub vm_slot: u32,
    pub vm_id: u32,
    pub pid: i32,
    /// Is it asked where the VM's memory is?
    pub memory: bool,
}

pub struct Identified {
    pub vm_slot: u32,
    pub vm_id: u32,
    pub identity: VmIdentity,
    /// The kernel's id of its cgroup.
    pub cgroup: Option<u64>,
    /// The node of most of its memory.
    pub memory: Option<usize>,
}

pub type Identifier = Background<Question, Identified>;

/// To be called before attaching, since it starts threads.
pub fn start() -> io::Result<Identifier> {
    let spawn = |work| threads::start_small("identify", work);
    Background::start(THREADS, answer, spawn)
}

fn answer(question: Question) -> Identified {
    let identity = identify(Path::new("/proc"), question.pid);
    Identified {
        vm_slot: question.vm_slot,
        vm_id: question.vm_id,
        memory: question
            .memory
            .then(|| memory::node_of(question.pid))
            .flatten(),
        cgroup: identity.cgroup.as_deref().and_then(group_weight::id_of),
        identity,
    }
}
