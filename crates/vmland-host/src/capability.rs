// SPDX-License-Identifier: GPL-2.0-only
//! Bit numbers of capabilities, from `uapi/linux/capability.h`.

pub const SYS_PTRACE: u32 = 19;
pub const SYS_ADMIN: u32 = 21;
pub const SYS_RESOURCE: u32 = 24;
pub const PERFMON: u32 = 38;
pub const BPF: u32 = 39;
