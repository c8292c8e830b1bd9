// SPDX-License-Identifier: GPL-2.0-only
//! Whole numbers.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Kind};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Default)]
pub struct Number<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Kind for Number<MIN, MAX> {
    type Plain = u64;

    const QUOTED: bool = false;

    const RANGE: Option<RangeInclusive<u64>> = Some(MIN..=MAX);

    fn read(given: &Given<'_>) -> Result<u64, Option<String>> {
        let number = |text: &str| {
            let number: u64 = text.parse().ok()?;
            (MIN..=MAX).contains(&number).then_some(number)
        };
        match given {
            Given::Number(text) => number(text).ok_or(None),
            Given::Word(text) => number(text).ok_or(None),
            Given::Text(text) => Err(number(text.trim()).map(|number| number.to_string())),
            Given::Other => Err(None),
        }
    }

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn write(value: u64) -> String {
        value.to_string()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        (MIN..=MAX).boxed()
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Number<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number_{MIN}_{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Weight = Number<1, 10_000>;

    fn read(given: Given<'_>) -> Result<u64, Option<String>> {
        Weight::read(&given)
    }

    #[test]
    fn in_range_or_not() {
        for (text, number) in [
            ("1", Ok(1)),
            ("10000", Ok(10_000)),
            ("+7", Ok(7)),
            ("0", Err(None)),
            ("10001", Err(None)),
            ("-1", Err(None)),
            ("1.0", Err(None)),
            ("2.5", Err(None)),
            ("1e2", Err(None)),
            ("nan", Err(None)),
            ("inf", Err(None)),
            ("99999999999999999999", Err(None)),
            ("", Err(None)),
        ] {
            assert_eq!(read(Given::Number(text.into())), number, "{text}");
            assert_eq!(read(Given::Word(text)), number, "{text}");
        }
    }

    #[test]
    fn no_quotes() {
        assert_eq!(read(Given::Text(" 200 ")), Err(Some("200".into())));
        assert_eq!(read(Given::Text("0")), Err(None));
        assert_eq!(read(Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(number in 1..=10_000_u64) {
            assert_eq!(read(Given::Word(&Weight::write(number))), Ok(number));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = read(Given::Number(text.as_str().into()));
            let _ = read(Given::Text(&text));
        }
    }
}
