// SPDX-License-Identifier: GPL-2.0-only
//! The table of file descriptors.

use std::io;

use log::debug;

/// Descriptors that the table has room for from the start. It grows from 64; about 100 are open
/// with everything loaded, and a few more for each client.
const ROOM: i32 = 512;

/// Makes the table large. To be called before there is any other thread: when the table of a
/// process with threads grows, the kernel waits for an RCU grace period. A preempted task can
/// delay its end by seconds, and meanwhile accept() holds up the settings of new VMs, even when
/// there is no client.
pub fn make_room() {
    // SAFETY: standard error is open, and what is closed is only this function's.
    unsafe {
        let last = libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, ROOM - 1);
        if last < 0 {
            debug!(
                "the table of descriptors stays small: {}",
                io::Error::last_os_error()
            );
        } else {
            libc::close(last);
        }
    }
}
