// SPDX-License-Identifier: GPL-2.0-only
//! The command line of QEMU, and why each of its parts is there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, getpid};

use super::preflight::Machine;
use super::spec::GuestSpec;
use vmland_base::lifetime::die_with;

/// What the guest's kernel needs to boot without delay and to keep quiet:
///
/// - `no_timer_check`: there is no PIT to check the timer against.
/// - `noxsave`: an emulated CPU announces states that the guest's kernel then
///   cannot save.
/// - `initcall_blacklist=cmos_init`: looks ten seconds long for a clock that is
///   not there.
/// - `nosoftlockup`, `rcupdate.rcu_cpu_stall_suppress=1`: to a guest that was
///   paused, or starved, its own CPUs seem stuck.
const QUIRKS: &str = "no_timer_check noxsave initcall_blacklist=cmos_init \
    nosoftlockup rcupdate.rcu_cpu_stall_suppress=1";

/// The guests' user space as a file that has no name: even a killed process
/// leaves none behind. QEMU, which is to open it, inherits it.
pub fn initramfs(machine: &Machine) -> io::Result<OwnedFd> {
    let fd = memfd_create("initramfs", MFdFlags::empty())?;
    let mut file = File::from(fd);
    file.write_all(&machine.userspace)?;
    file.write_all(&machine.archive)?;
    Ok(file.into())
}

/// QEMU with one guest, whose console is its stdin and stdout. It ends with the
/// thread that starts it, whatever that thread ends of.
pub fn foreground(
    machine: &Machine,
    guest: &GuestSpec,
    initramfs: &OwnedFd,
) -> io::Result<Command> {
    let mut qemu = command(machine, guest, initramfs)?;
    qemu.args(["-serial", "stdio"])
        // A Ctrl-C at our terminal is for us alone.
        .process_group(0);
    let parent = getpid();
    // SAFETY: it only makes system calls, which a forked child may.
    unsafe { qemu.pre_exec(move || Ok(die_with(parent)?)) };
    Ok(qemu)
}

/// Where a QEMU in the background is found.
pub struct Files {
    pub console: PathBuf,
    pub pid: PathBuf,
    pub qmp: PathBuf,
}

/// QEMU with one guest that outlives the process that starts it. QEMU returns when the guest
/// is about to run, and goes on as a daemon. It says on stderr why it cannot.
pub fn background(
    machine: &Machine,
    guest: &GuestSpec,
    initramfs: &OwnedFd,
    files: &Files,
) -> io::Result<Command> {
    let mut qemu = command(machine, guest, initramfs)?;
    qemu.arg("-daemonize")
        .arg("-pidfile")
        .arg(&files.pid)
        .args(["-serial", &format!("file:{}", files.console.display())])
        // A client may come at any time, or never.
        .args([
            "-qmp",
            &format!("unix:{},server=on,wait=off", files.qmp.display()),
        ])
        .stdin(Stdio::null());
    Ok(qemu)
}

/// What both have in common.
///
/// - `-nodefaults`, `-display none`: no device that is not named.
/// - `-no-reboot`: QEMU ends where the guest would boot again, as after a panic.
/// - The initramfs is a file that QEMU inherits.
/// - All threads of QEMU inherit the CPUs that its process may use.
fn command(machine: &Machine, guest: &GuestSpec, initramfs: &OwnedFd) -> io::Result<Command> {
    let mut qemu = Command::new(&machine.qemu);
    qemu.args(identity(guest))
        .args(hardware(machine, guest))
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-kernel"])
        .arg(&machine.kernel)
        .args([
            "-initrd",
            &format!("/proc/self/fd/{}", initramfs.as_raw_fd()),
        ])
        .args(["-append", &kernel_line(guest)]);
    if let Some(cpus) = &machine.cpus {
        let cpus = cpu_set(cpus)?;
        // SAFETY: it only makes a system call, which a forked child may.
        unsafe { qemu.pre_exec(move || Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)) };
    }
    Ok(qemu)
}

/// By this name `vmland vms` shows the guest, and tools its vCPU threads.
fn identity(guest: &GuestSpec) -> [String; 2] {
    [
        "-name".into(),
        format!("guest={},debug-threads=on", guest.name),
    ]
}

/// The smallest machine that boots Linux, without PIC, PIT and RTC: emulating
/// them costs exits that no load has asked for.
fn hardware(machine: &Machine, guest: &GuestSpec) -> [String; 10] {
    let cpu = match machine.pv {
        true => "host",
        false => "host,-kvm-pv-tlb-flush,-kvm-pv-ipi,-kvm-pv-sched-yield",
    };
    [
        "-accel",
        "kvm",
        "-M",
        "microvm,pic=off,pit=off,rtc=off",
        "-cpu",
        cpu,
        "-smp",
        &guest.vcpus.to_string(),
        "-m",
        &machine.guest_memory_mib().to_string(),
    ]
    .map(str::to_owned)
}

/// `panic=-1`: a guest that fails ends at once, and QEMU with it (`-no-reboot`).
/// `mitigations=off`: they cost, and have nothing to do with schedulers.
/// `nopvspin`: the guest's locks spin as they would on any hypervisor.
fn kernel_line(guest: &GuestSpec) -> String {
    let load = guest.load;
    format!("console=ttyS0 quiet panic=-1 mitigations=off nopvspin {QUIRKS} load={load}")
}

fn cpu_set(cpus: &BTreeSet<usize>) -> nix::Result<CpuSet> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    Ok(set)
}
