// SPDX-License-Identifier: GPL-2.0-only
//! UUIDs, in the only form that VMMs take: five groups of hexadecimal digits.

/// In lower case; none if it is no UUID.
pub fn uuid(text: &str) -> Option<String> {
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_and_others() {
        let upper = "8F2E4E1C-6C0B-4B55-9A43-0C6E7E6B9D11";
        assert_eq!(uuid(upper), Some(upper.to_lowercase()));
        for other in [
            "",
            "8f2e4e1c6c0b4b559a430c6e7e6b9d11",
            "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d1",
            "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d111",
            "8f2e4e1c-6c0b-4b55-9a43_0c6e7e6b9d11",
            "\u{1b}]0;owned\u{7}-0000-0000-0000-00000000",
        ] {
            assert_eq!(uuid(other), None, "{other:?}");
        }
    }
}
