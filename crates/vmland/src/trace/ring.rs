// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's ring of records, mapped into this process. The kernel's layout of it is in
//! Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c:
//!
//! | page | content |
//! | --- | --- |
//! | first | how far the reader has come, in bytes; only this one can be written |
//! | second | how far the writers have come |
//! | then | the data, mapped twice in a row, so that no record is cut in two |
//!
//! Before each record are eight bytes: its length with two flags, and a number of the kernel's.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use vmland_control::trace::Tracing;

/// bpf(2): a file for the map with this id (enum bpf_cmd in uapi/linux/bpf.h).
const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;

/// A record that is being written, and one that is void.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: u64 = 8;

pub struct Ring {
    reader: Mapping,
    writers: Mapping,
    page: usize,
    bytes: u64,
}

struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn new(
        file: &OwnedFd,
        length: usize,
        protection: libc::c_int,
        offset: usize,
    ) -> io::Result<Self> {
        // SAFETY: a new mapping, shared with the kernel.
        let start = unsafe {
            let (fd, offset) = (file.as_raw_fd(), offset as libc::off_t);
            libc::mmap(null_mut(), length, protection, libc::MAP_SHARED, fd, offset)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start.cast();
        Ok(Self { start, length })
    }

    /// The number at the start.
    fn position(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped as long as `self` is there, and both sides use atomics.
        unsafe { AtomicU64::from_ptr(self.start.cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: a mapping of ours that nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

impl Ring {
    /// Only root may.
    pub fn open(tracing: &Tracing) -> Result<Self> {
        let bytes = tracing.bytes as usize;
        ensure!(bytes.is_power_of_two(), "a ring of {bytes} bytes");
        let file = map_file(tracing.ring).context("cannot open the scheduler's ring")?;
        // SAFETY: a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let reader = Mapping::new(&file, page, writable, 0);
        let writers = Mapping::new(&file, page + 2 * bytes, libc::PROT_READ, page);
        let ring = Self {
            reader: reader.context("cannot map the scheduler's ring")?,
            writers: writers.context("cannot map the scheduler's ring")?,
            page,
            bytes: bytes as u64,
        };
        // What an earlier reader has left is of another time.
        let now = ring.writers.position().load(Ordering::Acquire);
        ring.reader.position().store(now, Ordering::Release);
        Ok(ring)
    }

    /// Takes the records that are complete, in the order in which they were begun.
    pub fn take(&self, mut record: impl FnMut(&[u8])) {
        let mut at = self.reader.position().load(Ordering::Relaxed);
        let end = self.writers.position().load(Ordering::Acquire);
        while at < end {
            // SAFETY: below what the writers have reserved, and so in the mapping, which has each
            // place twice.
            let header = unsafe { self.data((at & (self.bytes - 1)) as usize) };
            // SAFETY: aligned to eight bytes; the kernel writes it atomically.
            let length = unsafe { AtomicU32::from_ptr(header.cast()) }.load(Ordering::Acquire);
            if length & BUSY != 0 {
                return;
            }
            let size = u64::from(length & !DISCARDED);
            if size > self.bytes {
                return;
            }
            if length & DISCARDED == 0 {
                // SAFETY: the record is complete, and the kernel does not touch it before the
                // reader's position is beyond it.
                record(unsafe {
                    std::slice::from_raw_parts(header.add(HEADER as usize), size as usize)
                });
            }
            at += (size + HEADER).next_multiple_of(8);
            self.reader.position().store(at, Ordering::Release);
        }
    }

    /// # Safety
    ///
    /// `at` is less than the size of the ring.
    unsafe fn data(&self, at: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        unsafe { self.writers.start.add(self.page + at) }
    }
}

fn map_file(id: u32) -> io::Result<OwnedFd> {
    /// The first members of union bpf_attr for this command.
    #[repr(C)]
    struct Attributes {
        map_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let attributes = Attributes {
        map_id: id,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: the kernel reads as many bytes as it is told.
    let file = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_GET_FD_BY_ID,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(file as i32) })
}
