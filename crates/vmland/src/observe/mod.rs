// SPDX-License-Identifier: GPL-2.0-only
//! What this host and its VMs do, under any scheduler: one sampling model for all who show it.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `source` | where totals are read: /proc, KVM's debugfs, the scheduler |
//! | `kvm` | KVM's debugfs |
//! | `reading` | totals at one moment |
//! | `rates` | what happened between two readings; pure |
//! | `share` | what a VM's weight gives it |

mod kvm;
pub mod rates;
pub mod reading;
pub mod share;
mod source;

pub use source::Source;
