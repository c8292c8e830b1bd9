// SPDX-License-Identifier: GPL-2.0-only
//! What `scx_vmland --standby` and who starts it have to agree on.

/// Has the scheduler load, and attach when a line comes on its standard input.
pub const FLAG: &str = "--standby";

/// What it says when it has loaded.
pub const READY: &str = "loaded; a line on standard input attaches";
