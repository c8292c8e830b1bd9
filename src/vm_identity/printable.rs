// SPDX-License-Identifier: GPL-2.0-only
//! What others chose, made safe for terminals, tables and logs.

/// Length at which a name is cut, in characters. The longest honest ones are KubeVirt's
/// `NAMESPACE/NAME`, of 63 + 1 + 63 characters.
pub const NAME_MAX_CHARS: usize = 256;

pub fn name(name: &str) -> String {
    name.chars().take(NAME_MAX_CHARS).map(harmless).collect()
}

pub fn path(path: &str) -> String {
    path.chars().map(harmless).collect()
}

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
