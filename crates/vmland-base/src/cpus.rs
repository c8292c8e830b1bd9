// SPDX-License-Identifier: GPL-2.0-only
//! Lists of CPUs as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The ranges of a list of at least one; `cpu` reads a number. None if it is no list.
pub fn ranges<N: Copy + PartialOrd>(
    text: &str,
    cpu: impl Fn(&str) -> Option<N>,
) -> Option<Vec<RangeInclusive<N>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (cpu(first)?, cpu(last)?);
        (first <= last).then_some(first..=last)
    };
    text.split(',').map(range).collect()
}

/// Reads a list, in the kernel's form (Documentation/admin-guide/cputopology.rst).
/// The empty list is one. None if it is no list.
pub fn parse(text: &str) -> Option<BTreeSet<usize>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(BTreeSet::new());
    }
    Some(ranges(text, cpu)?.into_iter().flatten().collect())
}

/// Five digits: more CPUs than Linux takes, and too few to fill memory with.
fn cpu(text: &str) -> Option<usize> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = |cpus: &[usize]| Some(cpus.iter().copied().collect());
        assert_eq!(parse("0"), list(&[0]));
        assert_eq!(parse("0-2,7\n"), list(&[0, 1, 2, 7]));
        assert_eq!(parse("3,1-1"), list(&[1, 3]));
        assert_eq!(parse(""), list(&[]));
    }

    #[test]
    fn no_lists() {
        for text in [
            "x", "1-", "-1", "2-1", "1,,2", "1,", "1-2-3", "+1", "0x1", "0-100000",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
