// SPDX-License-Identifier: GPL-2.0-only
//! Kinds of values: how each is written in a file and on the command line.
//!
//! | kind | in a file | on the command line | as a plain value |
//! | --- | --- | --- | --- |
//! | [`Number`] | `200` | `200` | the number |
//! | [`Time`] | `"500us"` | `500us` | nanoseconds |
//! | [`Cpus`] | `0.5` or `"0.5"` | `0.5` | thousandths of a CPU |
//! | [`Percent`] | `"40%"` | `40%` | the number |
//! | [`Word`] | `"low"` | `low` | an enum |
//! | [`CpuList`] | `"0-3,8"` | `0-3,8` | a set |
//!
//! Kinds are markers that carry their range as parameters; a setting's row in
//! the table ([`super::settings`]) names one.

mod cpu_list;
mod cpus;
mod number;
mod percent;
mod time;
mod word;

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use toml::de::DeValue;

pub use cpu_list::{CPU_MAX, CpuList, CpuSet};
pub use cpus::Cpus;
pub use number::Number;
pub use percent::Percent;
pub use time::Time;
pub use word::{Cosched, Latency, Word, YieldTo};

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// A number of a file, in decimal notation.
    Number(Cow<'a, str>),
    /// A string of a file.
    Text(&'a str),
    /// A value of the command line, where nothing has quotes.
    Word(&'a str),
    /// Anything else that TOML has.
    Other,
}

impl<'a> Given<'a> {
    pub fn of(value: &'a DeValue<'_>) -> Self {
        match value {
            DeValue::Integer(n) if n.radix() == 10 => Given::Number(n.as_str().into()),
            DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Given::Number(n.to_string().into()),
                Err(_) => Given::Other,
            },
            DeValue::Float(n) => Given::Number(n.as_str().into()),
            DeValue::String(text) => Given::Text(text),
            _ => Given::Other,
        }
    }

    /// What stands where a number or a range of numbers is due.
    pub fn as_number_or_text(&self) -> Option<&str> {
        match self {
            Given::Number(text) => Some(text),
            _ => self.as_text(),
        }
    }

    /// What stands where a string is due.
    fn as_text(&self) -> Option<&str> {
        match self {
            Given::Text(text) | Given::Word(text) => Some(text),
            _ => None,
        }
    }
}

/// One kind of values.
pub trait Kind: JsonSchema {
    /// The value for those who act on it.
    type Plain: Copy + fmt::Debug + PartialEq;

    /// Files have it in quotes.
    const QUOTED: bool;

    /// It may have commas.
    const IS_LIST: bool = false;

    /// The least and the largest value, of a number with bounds.
    const RANGE: Option<RangeInclusive<u64>> = None;

    /// The value, or else what was probably meant, as [`Kind::write`] has it.
    fn read(given: &Given<'_>) -> Result<Self::Plain, Option<String>>;

    /// What is allowed, for "expected …".
    fn expected() -> String;

    /// As it is written, without quotes. `read` takes it back.
    fn write(value: Self::Plain) -> String;

    /// Any value, for tests.
    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain>;
}
