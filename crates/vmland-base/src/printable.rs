// SPDX-License-Identifier: GPL-2.0-only
//! Text that others chose, made safe for terminals, tables and logs.

/// Replaces control characters, and the invisible ones that break lines, join or reorder text.
pub fn harmless(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{061c}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}
