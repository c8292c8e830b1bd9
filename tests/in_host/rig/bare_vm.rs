// SPDX-License-Identifier: GPL-2.0-only
//! VMs without a guest and without a VMM: each vCPU counts and exits, again and again. One starts
//! and ends in milliseconds, where a Linux guest takes seconds.
//!
//! | VM | lives in |
//! | --- | --- |
//! | [`run`] | threads of the test, for a given time |
//! | [`run_in_turn`] | one thread of the test, for a given time |
//! | [`BareVm`] | a process of its own, until it is dropped |

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, spawn, yield_now};
use std::time::{Duration, Instant};

use super::kill;

// From uapi/linux/kvm.h.
const KVM_CREATE_VM: u64 = 0xae01;
const KVM_CREATE_VCPU: u64 = 0xae41;
const KVM_CREATE_IRQCHIP: u64 = 0xae60;
const KVM_SET_MP_STATE: u64 = 0x4004_ae99;
const KVM_SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
const KVM_RUN: u64 = 0xae80;

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_phys_addr: u64,
    memory_size: u64,
    userspace_addr: u64,
}

const PAGE: usize = 4096;

/// The page in which an x86 CPU begins, and where in it.
const RESET_PAGE: u64 = 0xffff_f000;
const RESET_OFFSET: usize = 0xff0;

/// Counts down from 0xffff, writes to port 0x80, which exits to user space, and begins again.
const CODE: [u8; 10] = [0xb9, 0xff, 0xff, 0x49, 0x75, 0xfd, 0xe6, 0x80, 0xeb, 0xf6];

/// Bytes whose protection changes. To change it takes some ms.
const CHANGING: usize = 64 << 20;

/// Runs a VM of this many vCPUs for `span`, each vCPU in a thread of its own, on the CPUs of the
/// caller: in the emulated host not on CPU 0. It is gone when this returns.
pub fn run(vcpus: u64, span: Duration) {
    let vm = Vm::new();
    let end = Instant::now() + span;
    scope(|scope| {
        for id in 0..vcpus {
            let vcpu = vm.vcpu(id);
            scope.spawn(move || {
                while Instant::now() < end {
                    ioctl(&vcpu, KVM_RUN, 0);
                }
            });
        }
    });
}

/// Runs the vCPUs of a VM in turn, in the thread of the caller. Each runs until it exits.
pub fn run_in_turn(vcpus: u64, span: Duration) {
    let vm = Vm::new();
    let end = Instant::now() + span;
    let vcpus: Vec<File> = (0..vcpus).map(|id| vm.vcpu(id)).collect();
    while Instant::now() < end {
        for vcpu in &vcpus {
            ioctl(vcpu, KVM_RUN, 0);
        }
    }
}

/// A VM of one vCPU, ended when dropped.
pub struct BareVm(i32);

impl BareVm {
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// Its process holds its mmap_lock nearly always, so that a read of `/proc/PID/cmdline`
    /// blocks.
    pub fn unreadable() -> Self {
        Self::start_as(true)
    }

    /// Returns when its vCPU is about to run, on the CPUs that guests run on.
    fn start_as(unreadable: bool) -> Self {
        let (mut ready, tell) = io::pipe().expect("a pipe");
        // SAFETY: the child uses nothing that another thread may have locked but the allocator,
        // which glibc makes usable in a child.
        match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", io::Error::last_os_error()),
            0 => run_in_child(tell, unreadable),
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

fn run_in_child(mut ready: PipeWriter, unreadable: bool) -> ! {
    // SAFETY: numbers, and a set of bits, which is valid when it is zeroed.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(1, &mut cpus);
        libc::CPU_SET(2, &mut cpus);
        libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus);
    }
    let vm = Vm::new();
    let vcpu = vm.vcpu(0);
    static CHANGES: AtomicBool = AtomicBool::new(false);
    if unreadable {
        spawn(|| change_protection(&CHANGES));
    }
    while unreadable && !CHANGES.load(Ordering::Relaxed) {
        yield_now();
    }
    ready.write_all(&[0]).expect("the test waits");
    loop {
        ioctl(&vcpu, KVM_RUN, 0);
    }
}

/// Changes the protection of many pages again and again, at nice level 19. On a host without an
/// idle CPU this thread mostly waits for a CPU, and holds the mmap_lock meanwhile. Sets `begun`
/// when all is ready. Never returns.
fn change_protection(begun: &AtomicBool) {
    let pages = map(CHANGING, libc::PROT_READ);
    // SAFETY: a mapping of this function's.
    unsafe {
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

/// With [`CODE`] where a CPU begins.
struct Vm {
    vm: File,
    page: *mut u8,
}

impl Vm {
    fn new() -> Self {
        let kvm = File::open("/dev/kvm").expect("/dev/kvm");
        let vm = made(ioctl(&kvm, KVM_CREATE_VM, 0));
        // For a vCPU without an APIC the kernel patches its own code, which software emulation does
        // not always survive.
        ioctl(&vm, KVM_CREATE_IRQCHIP, 0);
        let page = map(PAGE, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the page has room for the code.
        unsafe { page.add(RESET_OFFSET).copy_from(CODE.as_ptr(), CODE.len()) };
        let region = MemoryRegion {
            slot: 0,
            flags: 0,
            guest_phys_addr: RESET_PAGE,
            memory_size: PAGE as u64,
            userspace_addr: page as u64,
        };
        ioctl(&vm, KVM_SET_USER_MEMORY_REGION, &raw const region as u64);
        Self { vm, page }
    }

    fn vcpu(&self, id: u64) -> File {
        let vcpu = made(ioctl(&self.vm, KVM_CREATE_VCPU, id));
        // All but the first would wait to be started by it.
        let runnable = 0_u32;
        ioctl(&vcpu, KVM_SET_MP_STATE, &raw const runnable as u64);
        vcpu
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; only the guest uses it.
        unsafe { libc::munmap(self.page.cast(), PAGE) };
    }
}

fn map(size: usize, protection: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(null_mut(), size, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED, "mmap");
    at.cast()
}

fn ioctl(file: &File, request: u64, argument: u64) -> i32 {
    // SAFETY: each request takes a number, or a pointer to what outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    let error = io::Error::last_os_error();
    assert!(result >= 0, "ioctl {request:#x}: {error}");
    result
}

fn made(fd: i32) -> File {
    // SAFETY: the kernel has just opened it.
    unsafe { File::from_raw_fd(fd) }
}
