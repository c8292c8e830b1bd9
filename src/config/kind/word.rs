// SPDX-License-Identifier: GPL-2.0-only
//! Words out of a few.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::{Given, Host, Kind};
use crate::config::suggest::{either, nearest};

/// An enum whose variants are written as words.
pub trait Words: Copy + Debug + PartialEq + 'static {
    /// In the order in which they are listed to users.
    const ALL: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $word:literal = $variant:ident, )+ }
    )+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum $name {
            $( $(#[$variant_doc])* #[serde(rename = $word)] $variant, )+
        }

        impl Words for $name {
            const ALL: &'static [(&'static str, Self)] = &[ $( ($word, $name::$variant), )+ ];
        }
    )+ };
}

words! {
    /// What becomes of KVM's request to run a sibling instead of a vCPU that spins.
    YieldTo {
        /// The sibling runs.
        "honour" = Honour,
        /// It is refused.
        "ignore" = Ignore,
    }

    /// Whether the vCPUs of a VM are made to run at the same time.
    Cosched {
        /// When they wait for each other.
        "auto" = Auto,
        /// Never on purpose.
        "off" = Off,
        /// As far as there are CPUs.
        "strict" = Strict,
    }

    /// What a VM is better served with: short waits, or long turns.
    Latency {
        /// Neither is favoured.
        "normal" = Normal,
        /// Short waits, and short turns for them.
        "low" = Low,
        /// Long turns, and long waits for them.
        "batch" = Batch,
    }
}

/// One of the words of `W`.
#[derive(Debug)]
pub struct Word<W>(PhantomData<W>);

impl<W> Default for Word<W> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn all<W: Words>() -> impl Iterator<Item = &'static str> {
    W::ALL.iter().map(|(word, _)| *word)
}

impl<W: Words> Kind for Word<W> {
    type Plain = W;

    const QUOTED: bool = true;

    fn read(given: &Given<'_>, _: &Host) -> Result<W, Option<String>> {
        let text = given.as_text().ok_or(None)?;
        let known = W::ALL.iter().find(|(word, _)| *word == text);
        known
            .map(|(_, plain)| *plain)
            .ok_or_else(|| nearest(text.trim(), all::<W>()).map(str::to_owned))
    }

    fn expected(_: &Host) -> String {
        either(all::<W>())
    }

    fn write(value: W) -> String {
        let known = W::ALL.iter().find(|(_, plain)| *plain == value);
        known.map(|(word, _)| *word).unwrap_or_default().to_owned()
    }
}

impl<W: Words> JsonSchema for Word<W> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<W>().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = all::<W>().collect();
        json_schema!({ "enum": words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: Given<'_>) -> Result<Cosched, Option<String>> {
        Word::read(&given, &Host::default())
    }

    #[test]
    fn words_and_slips() {
        assert_eq!(read(Given::Text("strict")), Ok(Cosched::Strict));
        assert_eq!(read(Given::Word("off")), Ok(Cosched::Off));
        assert_eq!(read(Given::Text("of")), Err(Some("off".into())));
        assert_eq!(read(Given::Text("Auto")), Err(Some("auto".into())));
        assert_eq!(read(Given::Text("gang")), Err(None));
        assert_eq!(read(Given::Number("1".into())), Err(None));
        assert_eq!(read(Given::Other), Err(None));
        let expected = Word::<Cosched>::expected(&Host::default());
        assert_eq!(expected, r#""auto", "off" or "strict""#);
    }

    fn round_trip<W: Words>() {
        for (word, plain) in W::ALL {
            assert_eq!(Word::write(*plain), *word);
            assert_eq!(Word::read(&Given::Word(word), &Host::default()), Ok(*plain));
        }
    }

    #[test]
    fn round_trips() {
        round_trip::<YieldTo>();
        round_trip::<Cosched>();
        round_trip::<Latency>();
    }
}
