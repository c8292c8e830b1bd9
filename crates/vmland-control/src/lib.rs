// SPDX-License-Identifier: GPL-2.0-only
//! The control socket: asking a running scheduler, and changing what is in force.
//!
//! One JSON object a line, in and out; docs/control.md has the protocol. What a request
//! does is pure ([`answer()`]): it takes a line, what is in force and the VMs that there
//! are, and gives a line. Around it:
//!
//! | file | what it knows |
//! | --- | --- |
//! | `request` | requests, and what is wrong with a line |
//! | `answer` | what becomes of a request, and answers |
//! | `find` | which VM is meant |
//! | `server` | clients, however they behave |
//! | `socket` | where the socket is, and who may connect |
//! | `client` | the other end |

mod answer;
pub mod client;
mod find;
mod request;
pub mod server;
pub mod socket;
pub mod standby;
pub mod stats;

pub use answer::{Answered, Change, ErrorKind, Refused, Reloaded, Setting, Shown, answer};
pub use find::{By, Running};
pub use request::{Request, Value};

/// Version of the protocol. Another one is refused.
pub const VERSION: u64 = 1;

/// Longest line that a client may send, in bytes, its end left out.
pub const LINE_MAX: usize = 16 * 1024;

/// Of lists that may be long, such as what is wrong with a configuration, at most so many
/// are told, and each in at most so many characters.
const ITEMS_MAX: usize = 50;
const ITEM_MAX_CHARS: usize = 1000;

/// What can be sent to a terminal, and is not too long.
fn told(text: &str) -> String {
    let harmless = |c| match c {
        '\n' => c,
        c => vmland_base::printable::harmless(c),
    };
    let mut told: String = text.chars().take(ITEM_MAX_CHARS).map(harmless).collect();
    if text.chars().nth(ITEM_MAX_CHARS).is_some() {
        told.push('…');
    }
    told
}
