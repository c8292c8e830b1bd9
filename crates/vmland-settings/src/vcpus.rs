// SPDX-License-Identifier: GPL-2.0-only
//! How many vCPUs: `4`, `2-8`, `>=4`, `<=8`.

use std::fmt;

use super::kind::Given;

/// What a range may look like, for "expected …".
pub(super) const EXPECTED: &str = r#"a number of vCPUs such as 4, "2-8", ">=4" or "<=8""#;

/// For the JSON schema.
pub(super) const PATTERN: &str = "^ *(([<>]=)? *[1-9][0-9]*|[1-9][0-9]* *- *[1-9][0-9]*) *$";

/// A range of numbers of vCPUs, both ends included. Never empty, from 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VcpuRange {
    min: u32,
    max: u32,
}

impl VcpuRange {
    pub fn contains(&self, vcpus: u32) -> bool {
        (self.min..=self.max).contains(&vcpus)
    }

    /// The range; or else what was probably meant.
    pub(super) fn read(given: &Given<'_>) -> Result<Self, Option<String>> {
        let text = given.as_number_or_text().ok_or(None)?;
        let (min, max) = ends(text).ok_or_else(|| meant(text))?;
        if min > max {
            return Err(Some(format!("{max}-{min}")));
        }
        Ok(Self { min, max })
    }
}

fn ends(text: &str) -> Option<(u32, u32)> {
    let text = text.trim();
    if let Some(min) = text.strip_prefix(">=") {
        Some((number(min)?, u32::MAX))
    } else if let Some(max) = text.strip_prefix("<=") {
        Some((1, number(max)?))
    } else if let Some((min, max)) = text.split_once('-') {
        Some((number(min)?, number(max)?))
    } else {
        let number = number(text)?;
        Some((number, number))
    }
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|number| *number > 0)
}

/// Other people's ways to write ranges.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(min) = text.strip_prefix('>').and_then(number) {
        Some(format!(">={}", min.checked_add(1)?))
    } else if let Some(max) = text.strip_prefix('<').and_then(number) {
        (max > 1).then(|| format!("<={}", max - 1))
    } else if let Some(min) = text.strip_suffix(['-', '+']).and_then(number) {
        Some(format!(">={min}"))
    } else if let Some((min, max)) = text.split_once("..") {
        let (min, max) = (number(min)?, number(max.trim_start_matches('='))?);
        Some(format!("{min}-{max}"))
    } else {
        None
    }
}

impl fmt::Display for VcpuRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, max) if min == max => write!(f, "{min}"),
            (min, u32::MAX) => write!(f, ">={min}"),
            (1, max) => write!(f, "<={max}"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<VcpuRange, Option<String>> {
        VcpuRange::read(&Given::Text(text))
    }

    #[test]
    fn ranges() {
        for (text, min, max) in [
            ("4", 4, 4),
            ("2-8", 2, 8),
            (" 2 - 8 ", 2, 8),
            (">=4", 4, u32::MAX),
            (">= 4", 4, u32::MAX),
            ("<=8", 1, 8),
        ] {
            let range = read(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(range, VcpuRange { min, max }, "{text}");
            assert!(range.contains(min) && range.contains(max));
            assert!(!range.contains(min - 1) && !range.contains(0));
        }
        let number = VcpuRange::read(&Given::Number("4".into()));
        assert_eq!(number, Ok(VcpuRange { min: 4, max: 4 }));
    }

    #[test]
    fn what_was_meant() {
        for (text, meant) in [
            ("8-2", Some("2-8")),
            (">4", Some(">=5")),
            ("<4", Some("<=3")),
            ("<1", None),
            ("4-", Some(">=4")),
            ("4+", Some(">=4")),
            ("2..=8", Some("2-8")),
            ("0", None),
            ("0-4", None),
            ("-4", None),
            (">=0", None),
            ("many", None),
            ("", None),
            ("99999999999", None),
        ] {
            assert_eq!(read(text), Err(meant.map(str::to_owned)), "{text}");
        }
        assert_eq!(VcpuRange::read(&Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(a in 1..=u32::MAX, b in 1..=u32::MAX, near in 0..4_u32) {
            for (a, b) in [(a, b), (a, a.saturating_add(near)), (1, b), (a, u32::MAX)] {
                let range = VcpuRange { min: a.min(b), max: a.max(b) };
                assert_eq!(read(&range.to_string()), Ok(range));
            }
        }

        #[test]
        fn never_panics(text in ".*", near in "[<>=. +0-9-]{0,14}") {
            let _ = read(&text);
            let _ = read(&near);
        }
    }
}
