// SPDX-License-Identifier: GPL-2.0-only
//! Amounts of CPU time, in CPUs: `2`, `0.5`, `"2.5"`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Kind};

/// Least and most, in thousandths of a CPU.
const MIN: u64 = 10;
const MAX: u64 = 65_536_000;

/// A number of CPUs with up to three decimals; as a plain value in thousandths. That
/// it is no more than the host has is for those who know the host.
#[derive(Debug, Default)]
pub struct Cpus;

fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part = part.parse::<u64>().ok()? * 10_u64.pow(3 - part.len() as u32);
    let all = whole.parse::<u64>().ok()?.checked_mul(1000)? + part;
    (MIN..=MAX).contains(&all).then_some(all)
}

/// Per cent, as elsewhere one is the whole of a CPU.
fn meant(text: &str) -> Option<String> {
    let cpus = text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0;
    thousandths(&cpus.to_string()).map(Cpus::write)
}

impl Kind for Cpus {
    type Plain = u64;

    const QUOTED: bool = false;

    fn read(given: &Given<'_>) -> Result<u64, Option<String>> {
        match given {
            Given::Number(text) => thousandths(text).ok_or(None),
            Given::Text(text) | Given::Word(text) => thousandths(text).ok_or_else(|| meant(text)),
            Given::Other => Err(None),
        }
    }

    fn expected() -> String {
        "a number of CPUs from 0.01, such as 0.5 or 2".into()
    }

    fn write(value: u64) -> String {
        (value as f64 / 1000.0).to_string()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        (MIN..=MAX).boxed()
    }
}

impl JsonSchema for Cpus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "number", "minimum": 0.01 },
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,3})?$" },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_slips() {
        for (text, value) in [
            ("2.5", Ok(2_500)),
            ("0.5", Ok(500)),
            ("0.125", Ok(125)),
            ("64", Ok(64_000)),
            ("0.01", Ok(10)),
            ("0.001", Err(None)),
            ("0.1234", Err(None)),
            ("0", Err(None)),
            ("-1", Err(None)),
            ("1e3", Err(None)),
            (".5", Err(None)),
            ("5.", Err(None)),
            ("", Err(None)),
            ("99999999999999999999", Err(None)),
            ("50%", Err(Some("0.5".into()))),
            ("250 %", Err(Some("2.5".into()))),
            ("0%", Err(None)),
            ("half", Err(None)),
        ] {
            assert_eq!(Cpus::read(&Given::Text(text)), value, "{text}");
            assert_eq!(Cpus::read(&Given::Word(text)), value, "{text}");
        }
        assert_eq!(Cpus::read(&Given::Number("2.5".into())), Ok(2_500));
        assert_eq!(Cpus::read(&Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(value in MIN..=MAX) {
            assert_eq!(Cpus::read(&Given::Word(&Cpus::write(value))), Ok(value));
        }

        #[test]
        fn never_panics(text in ".*", near in "[0-9]{0,22}\\.?[0-9]{0,4} ?%?") {
            let _ = Cpus::read(&Given::Text(&text));
            let _ = Cpus::read(&Given::Word(&near));
        }
    }
}
