// SPDX-License-Identifier: GPL-2.0-only
//! What a line of the protocol may be.

use vmland_base::printable::harmless;

/// Version of the protocol. Another one is refused.
pub const VERSION: u64 = 1;

/// Longest line that a client may send, in bytes, its end left out.
pub const LINE_MAX: usize = 16 * 1024;

/// Of lists that may be long, such as what is wrong with a configuration, at most so many
/// are told, and each in at most so many characters.
pub const ITEMS_MAX: usize = 50;
const ITEM_MAX_CHARS: usize = 1000;

/// What can be sent to a terminal, and is not too long.
pub fn told(text: &str) -> String {
    let printable = |c| match c {
        '\n' => c,
        c => harmless(c),
    };
    let mut told: String = text.chars().take(ITEM_MAX_CHARS).map(printable).collect();
    if text.chars().nth(ITEM_MAX_CHARS).is_some() {
        told.push('…');
    }
    told
}
