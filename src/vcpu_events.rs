// SPDX-License-Identifier: GPL-2.0-only
//! Tells of which VMs a vCPU has been seen or is gone, by the ring `vmland_vcpu_events` of
//! `bpf/planner/event.bpf.h`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapHandle, RingBuffer, RingBufferBuilder};

use crate::bpf_intf::queued_task_ctx;

/// The kernel puts this before each record, in bytes.
const HEADER: usize = 8;

pub struct VcpuEvents {
    ring: RingBuffer<'static>,
    /// Filled by the ring's callback.
    slots: Rc<RefCell<BTreeSet<u32>>>,
    /// Records that fill half of the ring.
    half: usize,
}

/// Which VMs have another number of vCPUs than before.
pub enum Changed {
    /// Those in these slots.
    Slots(BTreeSet<u32>),
    /// Any: the ring may have been full, and then events are lost.
    Any,
}

impl VcpuEvents {
    pub fn new(ring: &MapHandle) -> Result<Self> {
        let slots = Rc::new(RefCell::new(BTreeSet::new()));
        let mut builder = RingBufferBuilder::new();
        let into = slots.clone();
        builder
            .add(ring, move |record| {
                into.borrow_mut().extend(slot(record));
                0
            })
            .context("cannot map the ring")?;
        Ok(Self {
            ring: builder.build().context("cannot wait for the ring")?,
            slots,
            half: ring.max_entries() as usize / (HEADER + size_of::<queued_task_ctx>()) / 2,
        })
    }

    /// Takes the events so far.
    pub fn take(&self) -> Changed {
        let records = self.ring.consume_raw();
        let slots = self.slots.take();
        if usize::try_from(records).is_ok_and(|records| records < self.half) {
            Changed::Slots(slots)
        } else {
            Changed::Any
        }
    }
}

/// It can be read while there are events.
impl AsFd for VcpuEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns it.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }
}

/// Where `bpf/planner/event.bpf.h` puts an event's vm_slot.
fn slot(record: &[u8]) -> Option<u32> {
    let at = offset_of!(queued_task_ctx, nr_cpus_allowed);
    let bytes = record.get(at..at + size_of::<u64>())?;
    u64::from_ne_bytes(bytes.try_into().ok()?).try_into().ok()
}
