// SPDX-License-Identifier: GPL-2.0-only
//! Children that do not outlive their parent, even if that is killed.

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// For the child, between fork and exec: the kernel kills it when the thread of
/// `parent` that started it ends. It only makes system calls.
///
/// # Errors
///
/// `ECHILD` if `parent` has ended before the child could ask to be told of that.
pub fn die_with(parent: Pid) -> nix::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(Errno::ECHILD);
    }
    Ok(())
}
