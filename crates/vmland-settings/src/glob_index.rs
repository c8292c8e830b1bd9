// SPDX-License-Identifier: GPL-2.0-only
//! Many globs, and which of them match a text, without trying each.
//!
//! A glob without wildcards is looked up. Any other can only match a text that
//! contains its pieces of plain text, so the rarest piece of each goes into one
//! automaton (Aho-Corasick), which finds in one pass over the text which globs
//! are worth trying. Only globs without any plain text (`*`, `[ab]?`) are always
//! tried.
//!
//! With n globs: built in O(their length); a text of length l takes O(l + globs
//! tried), that is O(l + matches) unless many globs share all their pieces.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use glob::Pattern;

use super::glob_text::{Form, Glob, plain_pieces};

/// Place of a glob in the list that the index was built from.
pub(super) type GlobId = u32;

#[derive(Debug)]
pub(super) struct GlobIndex {
    plain: HashMap<Arc<str>, GlobId>,
    /// By number of the glob; None for plain ones.
    patterns: Vec<Option<Arc<Pattern>>>,
    /// None: no glob has both a wildcard and plain text.
    pieces: Option<AhoCorasick>,
    /// By number of the piece: the globs to try where it is found.
    behind: Vec<Vec<GlobId>>,
    always: Vec<GlobId>,
}

impl GlobIndex {
    /// `globs` are all different.
    pub fn new(globs: &[&Glob]) -> Self {
        let mut plain = HashMap::new();
        let mut patterns = vec![];
        let mut always = vec![];
        let mut wild = vec![];
        for (id, glob) in (0..).zip(globs) {
            match &glob.form {
                Form::Plain(text) => {
                    plain.insert(text.clone(), id);
                    patterns.push(None);
                }
                Form::Wild(pattern) => {
                    match plain_pieces(pattern.as_str()) {
                        pieces if pieces.is_empty() => always.push(id),
                        pieces => wild.push((id, pieces)),
                    }
                    patterns.push(Some(pattern.clone()));
                }
            }
        }

        let mut users: HashMap<&str, usize> = HashMap::new();
        for piece in wild.iter().flat_map(|(_, pieces)| pieces) {
            *users.entry(piece).or_default() += 1;
        }
        let mut behind: Vec<Vec<GlobId>> = vec![];
        let mut needles: Vec<&str> = vec![];
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        for (id, pieces) in &wild {
            let rarest = pieces
                .iter()
                .min_by_key(|piece| (users[*piece], usize::MAX - piece.len()));
            let Some(rarest) = rarest.copied() else {
                continue;
            };
            let number = *numbers.entry(rarest).or_insert_with(|| {
                needles.push(rarest);
                behind.push(vec![]);
                needles.len() - 1
            });
            behind[number].push(*id);
        }
        // Searched for the length of a few thousand names only: what is built fast is best.
        // Fails for more states than fit 31 bits: no size that a configuration may have.
        let pieces = (!needles.is_empty()).then(|| {
            AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::NoncontiguousNFA))
                .prefilter(false)
                .build(&needles)
        });
        let pieces = match pieces.transpose() {
            Ok(pieces) => pieces,
            Err(_) => {
                always.extend(behind.drain(..).flatten());
                None
            }
        };
        Self {
            plain,
            patterns,
            pieces,
            behind,
            always,
        }
    }

    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The globs that match, each once, in ascending order.
    pub fn matching(&self, text: &str) -> Vec<GlobId> {
        let mut found: Vec<GlobId> = self.plain.get(text).copied().into_iter().collect();
        let mut try_all = |ids: &[GlobId]| {
            let is_match = |id: &&GlobId| {
                let pattern = self.patterns[**id as usize].as_ref();
                pattern.is_some_and(|pattern| pattern.matches(text))
            };
            found.extend(ids.iter().filter(is_match));
        };
        try_all(&self.always);
        if let Some(pieces) = &self.pieces {
            for piece in pieces.find_overlapping_iter(text) {
                try_all(&self.behind[piece.pattern().as_usize()]);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(globs: &[&str]) -> GlobIndex {
        let globs: Vec<_> = globs.iter().map(|glob| Glob::new(glob, None)).collect();
        let globs: Result<Vec<_>, _> = globs.iter().map(Result::as_ref).collect();
        GlobIndex::new(&globs.expect("globs"))
    }

    #[test]
    fn all_ways_to_match() {
        let index = index(&["web", "web-*", "*", "*-1", "[vw]eb-?", "db-*", "w*b*1"]);
        assert_eq!(index.matching("web"), [0, 2]);
        assert_eq!(index.matching("web-1"), [1, 2, 3, 4, 6]);
        assert_eq!(index.matching("db-web"), [2, 5]);
        assert_eq!(index.matching(""), [2]);
    }

    #[test]
    fn no_globs_at_all() {
        assert_eq!(index(&[]).matching("web"), [0; 0]);
    }

    proptest::proptest! {
        #[test]
        fn as_if_each_was_tried(
            globs in proptest::collection::btree_set("[ab*?\\[\\]!]{1,6}", 0..20),
            text in "[ab\\[\\]!]{0,8}",
        ) {
            let globs: Vec<Glob> = globs
                .iter()
                .filter_map(|glob| Glob::new(glob, None).ok())
                .collect();
            let expected: Vec<GlobId> = (0..)
                .zip(&globs)
                .filter(|(_, glob)| Pattern::new(glob.as_str()).is_ok_and(|p| p.matches(&text)))
                .map(|(id, _)| id)
                .collect();
            let globs: Vec<_> = globs.iter().collect();
            assert_eq!(GlobIndex::new(&globs).matching(&text), expected);
        }
    }
}
