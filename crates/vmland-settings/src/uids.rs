// SPDX-License-Identifier: GPL-2.0-only
//! Whose VMs: `1000`, `100000-165535`.

use std::fmt;

use super::kind::Given;

/// What a range may look like, for "expected …".
pub(super) const EXPECTED: &str = r#"a user's number such as 1000, or a range such as "1000-1999""#;

/// For the JSON schema.
pub(super) const PATTERN: &str = "^ *[0-9]+ *(- *[0-9]+ *)?$";

/// The kernel's "no user".
const NOBODY: u32 = u32::MAX;

/// A range of user ids, both ends included. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UidRange {
    min: u32,
    max: u32,
}

impl UidRange {
    pub fn contains(&self, uid: u32) -> bool {
        (self.min..=self.max).contains(&uid)
    }

    /// The range; or else what was probably meant.
    pub(super) fn read(given: &Given<'_>) -> Result<Self, Option<String>> {
        let text = given.as_number_or_text().ok_or(None)?;
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let (Some(min), Some(max)) = (uid(min), uid(max)) else {
            return Err(None);
        };
        if min > max {
            return Err(Some(format!("{max}-{min}")));
        }
        Ok(Self { min, max })
    }
}

fn uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UidRange, Option<String>> {
        UidRange::read(&Given::Text(text))
    }

    #[test]
    fn ranges() {
        for (text, min, max) in [
            ("0", 0, 0),
            ("1000", 1000, 1000),
            (" 1000 - 1999 ", 1000, 1999),
            ("0-4294967294", 0, 4_294_967_294),
        ] {
            assert_eq!(read(text), Ok(UidRange { min, max }), "{text}");
        }
        let number = UidRange::read(&Given::Number("7".into()));
        assert_eq!(number, Ok(UidRange { min: 7, max: 7 }));
    }

    #[test]
    fn what_is_none() {
        assert_eq!(read("8-2"), Err(Some("2-8".into())));
        for text in ["", "-", "-1", "1-", "root", "1.5", "4294967295", "1-2-3"] {
            assert_eq!(read(text), Err(None), "{text}");
        }
        assert_eq!(UidRange::read(&Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(a in 0..u32::MAX, b in 0..u32::MAX) {
            let range = UidRange { min: a.min(b), max: a.max(b) };
            assert_eq!(read(&range.to_string()), Ok(range));
            assert!(range.contains(a) && range.contains(b));
        }
    }
}
