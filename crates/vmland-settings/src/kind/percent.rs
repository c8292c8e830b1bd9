// SPDX-License-Identifier: GPL-2.0-only
//! Parts of a whole: `40%`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Kind};

/// A whole number of per cent, from 0 to 100; as a plain value that number.
#[derive(Debug, Default)]
pub struct Percent;

fn number(text: &str) -> Option<u64> {
    let is_number = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten()?;
    (0..=100).contains(&number).then_some(number)
}

fn percent(text: &str) -> Option<u64> {
    number(text.strip_suffix('%')?.trim_end())
}

/// A number without its sign.
fn meant(text: &str) -> Option<String> {
    number(text.trim()).map(Percent::write)
}

impl Kind for Percent {
    type Plain = u64;

    const QUOTED: bool = true;

    fn read(given: &Given<'_>) -> Result<u64, Option<String>> {
        match given {
            Given::Text(text) | Given::Word(text) => percent(text).ok_or_else(|| meant(text)),
            Given::Number(text) => Err(meant(text)),
            Given::Other => Err(None),
        }
    }

    fn expected() -> String {
        "a whole number of per cent from 0% to 100%".into()
    }

    fn write(value: u64) -> String {
        format!("{value}%")
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        (0..=100_u64).boxed()
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(100|[0-9]{1,2}) *%$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_slips() {
        for (text, value) in [
            ("40%", Ok(40)),
            ("0%", Ok(0)),
            ("100 %", Ok(100)),
            ("101%", Err(None)),
            ("-1%", Err(None)),
            ("+1%", Err(None)),
            ("4.5%", Err(None)),
            ("%", Err(None)),
            ("", Err(None)),
            ("40", Err(Some("40%".into()))),
            ("1000", Err(None)),
            ("half", Err(None)),
        ] {
            assert_eq!(Percent::read(&Given::Text(text)), value, "{text}");
            assert_eq!(Percent::read(&Given::Word(text)), value, "{text}");
        }
        let number = Percent::read(&Given::Number("7".into()));
        assert_eq!(number, Err(Some("7%".into())));
        assert_eq!(Percent::read(&Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(value in 0..=100_u64) {
            assert_eq!(Percent::read(&Given::Word(&Percent::write(value))), Ok(value));
        }

        #[test]
        fn never_panics(text in ".*") {
            let _ = Percent::read(&Given::Number(text.as_str().into()));
            let _ = Percent::read(&Given::Text(&text));
        }
    }
}
