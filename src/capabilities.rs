// SPDX-License-Identifier: GPL-2.0-only
//! The capabilities of a thread, down to those that it needs.
//!
//! Loading and attaching takes nearly all that root has, running does not. Each thread gives up
//! the rest as soon as it can, for good: not even a program that it started would have more.
//! Its user stays root, though, and with that the files that are root's.

use std::io;

use vmland_host::capability::{BPF, PERFMON, SYS_ADMIN, SYS_PTRACE};

/// The threads, by name, and what each keeps. Threads of libraries keep nothing.
pub const OF_THREADS: [(&str, &[u32]); 4] = [
    // Asking the policy is reading and writing memory that BPF shares; detaching is closing a
    // file.
    ("scx_vmland", &[]),
    // bpf/placement/prefer.bpf.c is loaded for the first VM that prefers some CPUs.
    ("settings", &[PERFMON, BPF]),
    // Which program another user's VMM is (/proc/PID/exe).
    ("identify", &[SYS_PTRACE]),
    // It loads objects whenever KVM or VMs appear. ADMIN: the kernel tells nobody else of a
    // module's types (BPF_BTF_GET_FD_BY_ID), and KVM is one.
    ("kvm", &[SYS_ADMIN, PERFMON, BPF]),
];

/// Of the kernel's interface: two words of 32 bits each.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// This thread, and those that it starts from now on, keep what it has of `kept`.
pub fn keep(kept: &[u32]) -> io::Result<()> {
    let kept = kept.iter().fold(0_u64, |set, bit| set | 1 << bit);
    leave_bounding_set(kept);
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: the kernel reads the header, and writes two of these.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    for (word, data) in data.iter_mut().enumerate() {
        let kept = (kept >> (32 * word)) as u32;
        data.effective &= kept;
        data.permitted &= kept;
        data.inheritable = 0;
    }
    // SAFETY: the kernel reads both.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}

/// It bounds what a program of root's has. A thread without CAP_SETPCAP cannot leave it: it then
/// is as small as the service manager has made it.
fn leave_bounding_set(kept: u64) {
    for bit in (0..64).filter(|bit| kept & 1 << bit == 0) {
        // SAFETY: a system call without pointers. Of a capability that the kernel does not
        // have it says EINVAL.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, bit as libc::c_ulong, 0, 0, 0) };
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SETPCAP: u32 = 8;

    /// Of this thread, by their names in `/proc`.
    fn sets() -> Vec<(String, u64)> {
        let status = fs::read_to_string("/proc/thread-self/status").expect("procfs");
        let caps = status.lines().filter(|line| line.starts_with("Cap"));
        let set = |line: &str| {
            let (name, set) = line.split_once(":\t").expect("two fields");
            (name.to_owned(), u64::from_str_radix(set, 16).expect("hex"))
        };
        caps.map(set).collect()
    }

    #[test]
    fn a_thread_keeps_these_and_has_no_others() {
        let before = sets();
        let may_leave = before
            .iter()
            .any(|set| set.0 == "CapEff" && set.1 & 1 << SETPCAP != 0);
        let after = std::thread::spawn(|| {
            keep(&[PERFMON, BPF]).expect("fewer are always granted");
            // A thread that it starts.
            std::thread::spawn(sets).join().expect("no panic")
        });
        let kept = 1 << PERFMON | 1 << BPF;
        for ((name, before), (_, after)) in before.iter().zip(after.join().expect("no panic")) {
            // A thread that may not leave the bounding set keeps it.
            let stays = name == "CapBnd" && !may_leave;
            let expected = if stays { *before } else { before & kept };
            assert_eq!(after, expected, "{name}");
        }
        assert_eq!(sets(), before, "this thread's own");
    }
}
