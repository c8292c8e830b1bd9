// SPDX-License-Identifier: GPL-2.0-only
//! Tells when a vCPU has been seen or is gone, by the ring `vmland_vcpu_events` of
//! `bpf/policy/event.bpf.h`.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};

pub struct VcpuEvents(RingBuffer<'static>);

impl VcpuEvents {
    pub fn new(ring: &MapHandle) -> Result<Self> {
        let mut builder = RingBufferBuilder::new();
        builder.add(ring, |_| 0).context("cannot map the ring")?;
        Ok(Self(builder.build().context("cannot wait for the ring")?))
    }

    /// Forgets the events so far. To be called before the map of VMs is read, so that a later
    /// event is not missed.
    pub fn clear(&self) {
        self.0.consume_raw();
    }
}

/// It can be read while there are events.
impl AsFd for VcpuEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns it.
        unsafe { BorrowedFd::borrow_raw(self.0.epoll_fd()) }
    }
}
