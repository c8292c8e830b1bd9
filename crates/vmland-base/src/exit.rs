// SPDX-License-Identifier: GPL-2.0-only
//! Exit codes of the project's programs. They are stable: service managers and test rigs may
//! rely on them.
//!
//! The numbers from 64 on are those of BSD's `sysexits.h`.

/// Done, or stopped on request.
pub const OK: u8 = 0;
/// Failed for a reason that has no code of its own.
pub const FAILURE: u8 = 1;
/// A comparison of schedulers breaks its `--gate`.
pub const GATE_BROKEN: u8 = 2;
/// A comparison of schedulers neither meets nor breaks its `--gate`.
pub const GATE_OPEN: u8 = 3;
/// The command line or the configuration is wrong (`EX_USAGE`). Do not restart.
pub const USAGE: u8 = 64;
/// This host cannot run the scheduler: kernel too old, no sched_ext, no BTF, not in the
/// initial PID namespace (`EX_UNAVAILABLE`). Do not restart.
pub const UNAVAILABLE: u8 = 69;
/// The kernel rejected the BPF program, or ejected the running scheduler (`EX_SOFTWARE`).
pub const SOFTWARE: u8 = 70;
/// Another scheduler is attached; it works once that one is gone (`EX_TEMPFAIL`).
pub const TEMPFAIL: u8 = 75;
/// Privileges are missing (`EX_NOPERM`). Do not restart.
pub const NOPERM: u8 = 77;

/// Parses the command line.
///
/// # Errors
///
/// The code to exit with, after clap has printed its message.
pub fn parse<T: clap::Parser>() -> Result<T, u8> {
    T::try_parse().map_err(|e| {
        let _ = e.print();
        if e.use_stderr() { USAGE } else { OK }
    })
}
