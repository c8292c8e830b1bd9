// SPDX-License-Identifier: GPL-2.0-only
//! The nice level of a thread.

use std::io;

use log::debug;

/// Of this thread.
pub fn get() -> i32 {
    // SAFETY: a system call without pointers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Of this thread, and of those that it starts from now on.
pub fn set(nice: i32) {
    // SAFETY: a system call without pointers.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
        debug!("no nice level {nice}: {}", io::Error::last_os_error());
    }
}
