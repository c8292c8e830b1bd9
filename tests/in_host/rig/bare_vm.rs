// SPDX-License-Identifier: GPL-2.0-only
//! VMs without a guest: each vCPU counts and exits, again and again. One starts and ends in
//! milliseconds, where a Linux guest takes seconds.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{copy_nonoverlapping, null_mut};
use std::thread::scope;
use std::time::{Duration, Instant};

// From uapi/linux/kvm.h.
const KVM_CREATE_VM: u64 = 0xae01;
const KVM_CREATE_VCPU: u64 = 0xae41;
const KVM_CREATE_IRQCHIP: u64 = 0xae60;
const KVM_SET_MP_STATE: u64 = 0x4004_ae99;
const KVM_SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
const KVM_RUN: u64 = 0xae80;

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

fn ioctl(file: &File, request: u64, argument: u64) -> i32 {
    // SAFETY: each request takes a number, or a pointer to what outlives the call.
    unsafe { libc::ioctl(file.as_raw_fd(), request, argument) }
}

fn made(fd: i32) -> File {
    assert!(fd >= 0, "KVM: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just opened it.
    unsafe { File::from_raw_fd(fd) }
}

/// Runs a VM of this many vCPUs for `span`, each vCPU in a thread of its own, on the CPUs of the
/// caller: in the emulated host not on CPU 0. It is gone when this returns.
pub fn run(vcpus: u64, span: Duration) {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let vm = made(ioctl(&kvm.expect("/dev/kvm"), KVM_CREATE_VM, 0));
    // For a vCPU without an APIC the kernel patches its own code, which software emulation does
    // not always survive.
    assert_eq!(ioctl(&vm, KVM_CREATE_IRQCHIP, 0), 0, "KVM_CREATE_IRQCHIP");
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory, as large as the code needs, unmapped after the last use.
    let page = unsafe {
        let page = libc::mmap(null_mut(), PAGE, protection, flags, -1, 0).cast::<u8>();
        copy_nonoverlapping(CODE.as_ptr(), page.add(RESET_OFFSET), CODE.len());
        page
    };
    let region = MemoryRegion {
        slot: 0,
        flags: 0,
        guest_phys_addr: RESET_PAGE,
        memory_size: PAGE as u64,
        userspace_addr: page as u64,
    };
    let set = ioctl(&vm, KVM_SET_USER_MEMORY_REGION, &raw const region as u64);
    assert_eq!(set, 0, "KVM_SET_USER_MEMORY_REGION");
    let end = Instant::now() + span;
    scope(|scope| {
        for id in 0..vcpus {
            let vcpu = made(ioctl(&vm, KVM_CREATE_VCPU, id));
            // All but the first would wait to be started by it.
            let runnable = 0_u32;
            let set = ioctl(&vcpu, KVM_SET_MP_STATE, &raw const runnable as u64);
            assert_eq!(set, 0, "KVM_SET_MP_STATE");
            scope.spawn(move || {
                while Instant::now() < end {
                    assert_eq!(ioctl(&vcpu, KVM_RUN, 0), 0, "KVM_RUN");
                }
            });
        }
    });
    drop(vm);
    // SAFETY: it was mapped above, and no VM has it any more.
    unsafe { libc::munmap(page.cast(), PAGE) };
}
