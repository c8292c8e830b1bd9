// SPDX-License-Identifier: GPL-2.0-only
//! Lists of CPUs, as cpusets have them (cpuset(7), "List format"): `0-3,8`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{Given, Kind};
use vmland_base::cpus::ranges;

/// Highest CPU that can be named; the framework knows no more.
pub const CPU_MAX: u32 = 1023;

const WORDS: usize = (CPU_MAX as usize + 1) / 64;

/// Every CPU that there can be.
const ALL: &str = "all";

/// Some CPUs, at least one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    const EMPTY: CpuSet = CpuSet([0; WORDS]);
    pub const ALL: CpuSet = CpuSet([!0; WORDS]);

    /// CPU n is bit n % 64 of word n / 64.
    pub fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    pub fn contains(&self, cpu: u32) -> bool {
        cpu <= CPU_MAX && self.0[cpu as usize / 64] & (1 << (cpu % 64)) != 0
    }

    fn insert(&mut self, cpu: u32) {
        self.0[cpu as usize / 64] |= 1 << (cpu % 64);
    }
}

/// Those above [`CPU_MAX`] are left out.
impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::EMPTY;
        cpus.into_iter()
            .filter(|cpu| *cpu <= CPU_MAX)
            .for_each(|cpu| set.insert(cpu));
        set
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str(ALL);
        }
        let mut cpus = (0..=CPU_MAX).filter(|cpu| self.contains(*cpu)).peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            f.write_str(comma)?;
            comma = ",";
            match last - first {
                0 => write!(f, "{first}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// CPUs from 0 to [`CPU_MAX`].
#[derive(Debug, Default)]
pub struct CpuList;

impl CpuList {
    /// Ranges the wrong way round, or written otherwise; blanks in place of commas.
    fn meant(text: &str) -> Option<String> {
        let pieces = text
            .split([',', ' ', ';'])
            .filter(|piece| !piece.is_empty());
        let turned: Vec<String> = pieces
            .map(|piece| {
                let piece = piece.replace("..=", "-").replace("..", "-");
                match piece.split_once('-').map(|(a, b)| (cpu(a), cpu(b))) {
                    Some((Some(a), Some(b))) if a > b => format!("{b}-{a}"),
                    _ => piece,
                }
            })
            .collect();
        set(&turned.join(",")).map(|set| set.to_string())
    }
}

fn set(text: &str) -> Option<CpuSet> {
    if text.trim() == ALL {
        return Some(CpuSet::ALL);
    }
    Some(ranges(text, cpu)?.into_iter().flatten().collect())
}

fn cpu(text: &str) -> Option<u32> {
    let text = text.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|cpu| is_number && *cpu <= CPU_MAX)
}

impl Kind for CpuList {
    type Plain = CpuSet;

    const QUOTED: bool = true;
    const IS_LIST: bool = true;

    fn read(given: &Given<'_>) -> Result<CpuSet, Option<String>> {
        match given {
            Given::Text(text) | Given::Word(text) => set(text).ok_or_else(|| Self::meant(text)),
            Given::Number(text) => Err(Self::meant(text)),
            Given::Other => Err(None),
        }
    }

    fn expected() -> String {
        format!("CPUs from 0 to {CPU_MAX}, such as \"0-3,8\", or \"{ALL}\"")
    }

    fn write(cpus: CpuSet) -> String {
        cpus.to_string()
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self::Plain> {
        use proptest::strategy::Strategy;
        let cpus = proptest::collection::vec(0..=CPU_MAX, 1..9);
        cpus.prop_map(CpuSet::from_iter).boxed()
    }
}

impl JsonSchema for CpuList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CpuList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^ *(all|[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CpuSet, Option<String>> {
        CpuList::read(&Given::Text(text))
    }

    #[test]
    fn lists() {
        for (text, cpus) in [
            ("0", &[0][..]),
            ("0-3,8", &[0, 1, 2, 3, 8]),
            (" 8 , 0 - 1 ", &[0, 1, 8]),
            ("3,3,2-3", &[2, 3]),
            ("63-64,1023", &[63, 64, 1023]),
        ] {
            let set = read(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(set, CpuSet::from_iter(cpus.iter().copied()), "{text}");
        }
        assert_eq!(read("all"), Ok(CpuSet::ALL));
        assert_eq!(read("0-1023"), Ok(CpuSet::ALL));
        assert_eq!(CpuSet::ALL.to_string(), "all");
        let set = CpuSet::from_iter([9, 1, 2, 3, 2000]);
        assert_eq!(set.to_string(), "1-3,9");
        assert!(!set.contains(2000));
    }

    #[test]
    fn what_was_meant() {
        for (text, meant) in [
            ("3-0", Some("0-3")),
            ("0..3", Some("0-3")),
            ("0..=3, 5", Some("0-3,5")),
            ("0 1 2", Some("0-2")),
            ("0;2", Some("0,2")),
            ("0,,2", Some("0,2")),
            ("1024", None),
            ("0-1024", None),
            ("-1", None),
            ("0-7:2/4", None),
            ("+1", None),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(read(text), Err(meant.map(str::to_owned)), "{text}");
        }
        let number = CpuList::read(&Given::Number("3".into()));
        assert_eq!(number, Err(Some("3".into())));
        assert_eq!(CpuList::read(&Given::Other), Err(None));
    }

    proptest::proptest! {
        #[test]
        fn round_trip(cpus in proptest::collection::btree_set(0..=CPU_MAX, 1..200)) {
            let set = CpuSet::from_iter(cpus.iter().copied());
            assert_eq!(read(&set.to_string()), Ok(set));
            assert!((0..=CPU_MAX + 1).all(|cpu| set.contains(cpu) == cpus.contains(&cpu)));
        }

        #[test]
        fn never_panics(text in ".*", near in "[-0-9,. ]{0,20}") {
            let _ = read(&text);
            let _ = read(&near);
        }
    }
}
