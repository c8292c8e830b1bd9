// SPDX-License-Identifier: GPL-2.0-only
//! Words out of a few.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::{Given, Kind};
use vmland_base::suggest::{either, nearest};

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

    /// Whether the vCPUs of a VM run at the same time.
    Cosched {
        /// While the planner finds that they spin for each other.
        "auto" = Auto,
        /// Never, and a hand-off begins a new turn.
        "off" = Off,
        /// Always, as far as there are CPUs.
        "strict" = Strict,
    }

    /// When a vCPU that wakes takes the CPU from the task that runs.
    Latency {
        /// When its vruntime is less by `--slice-us-min`, and the running one has had `slice_min`.
        "normal" = Normal,
        /// At once, unless its VM has had its share.
        "low" = Low,
        /// Never.
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

    fn read(given: &Given<'_>) -> Result<W, Option<String>> {
        let text = given.as_text().ok_or(None)?;
        let known = W::ALL.iter().find(|(word, _)| *word == text);
        known
            .map(|(_, plain)| *plain)
            .ok_or_else(|| nearest(text.trim(), all::<W>()).map(str::to_owned))
    }

    fn expected() -> String {
        either(all::<W>())
    }

    fn write(value: W) -> String {
        let known = W::ALL.iter().find(|(_, plain)| *plain == value);
        known.map(|(word, _)| *word).unwrap_or_default().to_owned()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        proptest::sample::select(W::ALL)
            .prop_map(|(_, word)| word)
            .boxed()
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

    fn read(given: Given<'_>) -> Result<Latency, Option<String>> {
        Word::read(&given)
    }

    #[test]
    fn words_and_slips() {
        assert_eq!(read(Given::Text("batch")), Ok(Latency::Batch));
        assert_eq!(read(Given::Word("low")), Ok(Latency::Low));
        assert_eq!(read(Given::Text("lo")), Err(Some("low".into())));
        assert_eq!(read(Given::Text("Normal")), Err(Some("normal".into())));
        assert_eq!(read(Given::Text("realtime")), Err(None));
        assert_eq!(read(Given::Number("1".into())), Err(None));
        assert_eq!(read(Given::Other), Err(None));
        let expected = Word::<Latency>::expected();
        assert_eq!(expected, r#""normal", "low" or "batch""#);
    }

    fn round_trip<W: Words>() {
        for (word, plain) in W::ALL {
            assert_eq!(Word::write(*plain), *word);
            assert_eq!(Word::read(&Given::Word(word)), Ok(*plain));
        }
    }

    #[test]
    fn round_trips() {
        round_trip::<YieldTo>();
        round_trip::<Latency>();
    }
}
