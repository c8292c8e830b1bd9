// SPDX-License-Identifier: GPL-2.0-only
//! A VM of one vCPU, which spins. It has no VMM and starts in no time.
//!
//! Its process can hold its mmap_lock nearly always, so that a read of `/proc/PID/cmdline` blocks:
//! a thread changes the protection of many pages again and again. This thread has nice level 19. On
//! a host without an idle CPU it mostly waits for a CPU, and holds the lock meanwhile.

use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use super::kill;

const KVM_CREATE_VM: u64 = 0xae01;
const KVM_CREATE_VCPU: u64 = 0xae41;
const KVM_SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
const KVM_RUN: u64 = 0xae80;

const PAGE: usize = 4096;
/// A CPU begins at the last 16 bytes of 4 GiB.
const RESET_PAGE: u64 = 0xffff_f000;
const RESET: usize = 0xff0;
/// `1: jmp 1b`
const SPIN: [u8; 2] = [0xeb, 0xfe];

/// Bytes whose protection changes. To change it takes some ms.
const CHANGING: usize = 64 << 20;

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
struct Region {
    slot: u32,
    flags: u32,
    guest_address: u64,
    size: u64,
    address: u64,
}

/// Ended when dropped.
pub struct BareVm(i32);

impl BareVm {
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// Reads of `/proc/PID/cmdline` block.
    pub fn unreadable() -> Self {
        Self::start_as(true)
    }

    /// Returns when its vCPU is about to run, on the CPUs that guests run on.
    fn start_as(unreadable: bool) -> Self {
        let (mut ready, tell) = std::io::pipe().expect("a pipe");
        // SAFETY: the child uses nothing that another thread may have locked but the allocator,
        // which glibc makes usable in a child.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => run(tell, unreadable),
            pid => {
                drop(tell);
                let this = Self(pid);
                ready.read_exact(&mut [0]).expect("it starts");
                this
            }
        }
    }

    pub fn pid(&self) -> i32 {
        self.0
    }
}

impl Drop for BareVm {
    fn drop(&mut self) {
        kill(self.0, "KILL");
        // SAFETY: a child of ours.
        unsafe { libc::waitpid(self.0, null_mut(), 0) };
    }
}

fn run(mut ready: PipeWriter, unreadable: bool) -> ! {
    // SAFETY: without pointers that outlive the calls, but for the guest's page, which stays.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(1, &mut cpus);
        libc::CPU_SET(2, &mut cpus);
        libc::sched_setaffinity(0, size_of_val(&cpus), &cpus);

        let code = map(PAGE, libc::PROT_READ | libc::PROT_WRITE);
        code.add(RESET).copy_from(SPIN.as_ptr(), SPIN.len());
        let kvm = File::open("/dev/kvm").expect("KVM");
        let vm = File::from_raw_fd(ioctl(&kvm, KVM_CREATE_VM, 0));
        let region = Region {
            slot: 0,
            flags: 0,
            guest_address: RESET_PAGE,
            size: PAGE as u64,
            address: code as u64,
        };
        ioctl(&vm, KVM_SET_USER_MEMORY_REGION, &raw const region as u64);
        let vcpu = File::from_raw_fd(ioctl(&vm, KVM_CREATE_VCPU, 0));

        static CHANGES: AtomicBool = AtomicBool::new(false);
        if unreadable {
            std::thread::spawn(|| change_protection(&CHANGES));
        }
        while unreadable && !CHANGES.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        ready.write_all(&[0]).expect("the test waits");
        loop {
            libc::ioctl(vcpu.as_raw_fd(), KVM_RUN as _, 0);
        }
    }
}

/// Sets `begun` when all is ready. Never returns.
fn change_protection(begun: &AtomicBool) {
    // SAFETY: a mapping of this function's.
    unsafe {
        let pages = map(CHANGING, libc::PROT_READ);
        libc::madvise(pages.cast(), CHANGING, libc::MADV_NOHUGEPAGE);
        let read = libc::madvise(pages.cast(), CHANGING, libc::MADV_POPULATE_READ);
        assert_eq!(read, 0, "madvise");
        // Of this thread.
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        begun.store(true, Ordering::Relaxed);
        loop {
            for protection in [libc::PROT_NONE, libc::PROT_READ] {
                libc::mprotect(pages.cast(), CHANGING, protection);
            }
        }
    }
}

unsafe fn map(size: usize, protection: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(null_mut(), size, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED, "mmap");
    at.cast()
}

unsafe fn ioctl(file: &File, request: u64, argument: u64) -> i32 {
    // SAFETY: the caller gives an argument that the request takes.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    let error = std::io::Error::last_os_error();
    assert!(result >= 0, "ioctl {request:#x}: {error}");
    result
}
