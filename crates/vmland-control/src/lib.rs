// SPDX-License-Identifier: GPL-2.0-only
//! How other programs talk to a running scheduler: the control socket, by which settings are
//! shown and changed; the statistics; and the flag that keeps a scheduler in standby.
//!
//! One JSON object a line, in and out; docs/control.md has the protocol. What a request
//! does is pure ([`answer()`]): it takes a line, the effective settings, the VMs that there
//! are and what the planner thinks of them, and gives a line. Around it:
//!
//! | file | what it knows |
//! | --- | --- |
//! | `request` | requests, and what is wrong with a line |
//! | `answer` | what becomes of a request, and answers |
//! | `planned` | what the planner thinks of a VM |
//! | `find` | which VM is meant |
//! | `refused` | why a request was refused |
//! | `line` | what a line may be: the protocol's version, lengths, harmless text |
//! | `server` | clients, however they behave |
//! | `socket` | where the socket is, and who may connect |
//! | `client` | the other end |
//! | [`histogram`] | how long vCPUs wait, as the scheduler counts it |
//! | [`stats`] | the statistics, over the socket of scx_stats |
//! | [`trace`] | the records of a trace, which a client reads from the kernel |
//! | [`standby`] | how a scheduler is loaded before it attaches |

mod answer;
pub mod client;
mod find;
pub mod histogram;
mod line;
mod planned;
mod refused;
mod request;
pub mod server;
pub mod socket;
pub mod standby;
pub mod stats;
pub mod trace;

pub use answer::{Answered, Change, Reloaded, Scheduler, Setting, Shown, Why, answer};
pub use find::{By, Running};
pub use line::{LINE_MAX, VERSION};
pub use planned::{Mode, Planned, Reported, Sign, Thresholds};
pub use refused::{ErrorKind, Refused};
pub use request::{Request, Value};
