// SPDX-License-Identifier: GPL-2.0-only
//! Times with their unit: `500us`, `3ms`, `1.5ms`.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::{format_duration, parse_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Kind};

/// Longest time that is read, in bytes. Sums of numbers too large for a
/// [`Duration`], which humantime would panic on, take more.
const TEXT_MAX: usize = 24;

/// A time from `MIN_NS` to `MAX_NS`. Nought needs no unit, and no quotes.
#[derive(Debug, Default)]
pub struct Time<const MIN_NS: u64, const MAX_NS: u64>;

impl<const MIN_NS: u64, const MAX_NS: u64> Time<MIN_NS, MAX_NS> {
    fn in_range(ns: u64) -> Option<u64> {
        (MIN_NS..=MAX_NS).contains(&ns).then_some(ns)
    }

    /// Its number with the unit that brings it into range, if it has none, or one that
    /// is none, or minutes.
    fn meant(text: &str) -> Option<String> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &text[..text.len() - unit.len()];
        let unit = unit.trim();
        if nanoseconds(text).is_some() && !matches!(unit, "" | "m" | "M") {
            return None;
        }
        ["ms", "us"]
            .map(|unit| format!("{number}{unit}"))
            .into_iter()
            .find(|text| nanoseconds(text).and_then(Self::in_range).is_some())
    }
}

fn nanoseconds(text: &str) -> Option<u64> {
    if text.len() > TEXT_MAX {
        return None;
    }
    if text == "0" {
        return Some(0);
    }
    u64::try_from(parse_duration(text).ok()?.as_nanos()).ok()
}

impl<const MIN_NS: u64, const MAX_NS: u64> Kind for Time<MIN_NS, MAX_NS> {
    type Plain = u64;

    const QUOTED: bool = true;

    const RANGE: Option<RangeInclusive<u64>> = Some(MIN_NS..=MAX_NS);

    fn read(given: &Given<'_>) -> Result<u64, Option<String>> {
        match given {
            Given::Text(text) | Given::Word(text) => nanoseconds(text)
                .and_then(Self::in_range)
                .ok_or_else(|| Self::meant(text.trim())),
            Given::Number(text) if text == "0" && MIN_NS == 0 => Ok(0),
            Given::Number(text) => Err(Self::meant(text)),
            Given::Other => Err(None),
        }
    }

    fn expected() -> String {
        format!(
            "a time from {} to {}",
            Self::write(MIN_NS),
            Self::write(MAX_NS)
        )
    }

    fn write(ns: u64) -> String {
        if ns == 0 {
            return "0".into();
        }
        format_duration(Duration::from_nanos(ns)).to_string()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        (MIN_NS..=MAX_NS).boxed()
    }
}

impl<const MIN_NS: u64, const MAX_NS: u64> JsonSchema for Time<MIN_NS, MAX_NS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Time_{MIN_NS}_{MAX_NS}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let time = json_schema!({
            "type": "string",
            "pattern": r"^([0-9]+(\.[0-9]+)? ?(ns|us|µs|ms|s) ?)+$",
        });
        if MIN_NS == 0 {
            json_schema!({ "anyOf": [time, { "enum": [0, "0"] }] })
        } else {
            time
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    type Slice = Time<100_000, { 100 * MS }>;

    fn slice(given: Given<'_>) -> Result<u64, Option<String>> {
        Slice::read(&given)
    }

    #[test]
    fn units() {
        for (text, ns) in [
            ("500us", 500_000),
            ("500 µs", 500_000),
            ("3ms", 3 * MS),
            ("1.5ms", 1_500_000),
            ("1ms 500us", 1_500_000),
            ("100us", 100_000),
            ("100ms", 100 * MS),
            ("0.1s", 100 * MS),
            ("250000ns", 250_000),
        ] {
            assert_eq!(slice(Given::Text(text)), Ok(ns), "{text}");
            assert_eq!(slice(Given::Word(text)), Ok(ns), "{text}");
        }
    }

    #[test]
    fn what_was_meant() {
        for (text, meant) in [
            ("5", Some("5ms")),
            ("5m", Some("5ms")),
            ("5 mss", Some("5ms")),
            ("5000", Some("5000us")),
            ("0.5", Some("0.5ms")),
            ("99us", None),
            ("101ms", None),
            ("1s", None),
            ("0", None),
            ("0ms", None),
            ("1h", None),
            ("soon", None),
            ("", None),
            ("-5ms", None),
            ("99999999999999999999999ms", None),
        ] {
            let meant = meant.map(str::to_owned);
            assert_eq!(slice(Given::Text(text)), Err(meant), "{text}");
        }
        assert_eq!(slice(Given::Number("5".into())), Err(Some("5ms".into())));
        assert_eq!(slice(Given::Number("0".into())), Err(None));
        assert_eq!(slice(Given::Other), Err(None));
    }

    #[test]
    fn nought_where_it_is_allowed() {
        type Window = Time<0, { 100 * MS }>;
        assert_eq!(Window::expected(), "a time from 0 to 100ms");
        for given in [
            Given::Number("0".into()),
            Given::Text("0"),
            Given::Word("0"),
            Given::Word("0ms"),
        ] {
            assert_eq!(Window::read(&given), Ok(0), "{given:?}");
        }
        assert_eq!(Window::read(&Given::Word(&Window::write(0))), Ok(0));
        let five = Window::read(&Given::Number("5".into()));
        assert_eq!(five, Err(Some("5ms".into())));
        assert_eq!(Window::read(&Given::Text("101ms")), Err(None));
    }

    #[test]
    fn too_large_for_a_duration() {
        let text = "18446744073709551615s 1000000000ns";
        assert_eq!(slice(Given::Text(text)), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(ns in 100_000..=100 * MS) {
            let text = Slice::write(ns);
            assert!(text.len() <= TEXT_MAX, "{text}");
            assert_eq!(slice(Given::Text(&text)), Ok(ns));
        }

        #[test]
        fn never_panics(text in ".*", near in "[0-9.]{0,20} ?[a-zµ]{0,5}[0-9]*") {
            let _ = slice(Given::Text(&text));
            let _ = slice(Given::Text(&near));
            let _ = slice(Given::Number(near.into()));
        }
    }
}
