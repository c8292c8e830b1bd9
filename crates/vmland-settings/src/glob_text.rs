// SPDX-License-Identifier: GPL-2.0-only
//! Globs: `*` is any text, `?` any character, `[a-c]` one of these, `[!a-c]` none of these.
//!
//! "Any" includes `/`, so that `/machine.slice/*` is everything below. There is
//! no escape character, since systemd's names are full of backslashes; `[*]` is
//! the star itself.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use glob::Pattern;

use super::finding::Position;

/// Longest glob, in bytes: longer than any cgroup path.
const GLOB_MAX: usize = 4096;

/// A glob as somebody wrote it.
#[derive(Clone, Debug)]
pub struct Glob {
    pub(super) form: Form,
    /// Where; None on the command line.
    pub(super) position: Option<Position>,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Without wildcards: it matches itself alone.
    Plain(Arc<str>),
    /// Shared, as a pattern takes 32 bytes a character.
    Wild(Arc<Pattern>),
}

impl Glob {
    /// The glob; or what is wrong with it.
    pub(super) fn new(text: &str, position: Option<Position>) -> Result<Self, String> {
        if text.is_empty() {
            return Err(r#"a glob is expected; for any text write "*""#.into());
        }
        if text.len() > GLOB_MAX {
            return Err(format!("a glob is at most {GLOB_MAX} bytes long"));
        }
        if text.contains("**") {
            return Err(r#""**" is no glob; "*" is any text, "/" included"#.into());
        }
        let form = if text.contains(['*', '?', '[']) {
            let pattern = Pattern::new(text)
                .map_err(|_| r#"a "[" is not closed; for the character itself write "[[]""#)?;
            Form::Wild(pattern.into())
        } else {
            Form::Plain(text.into())
        };
        Ok(Self { form, position })
    }

    /// Matches this text alone, whatever is in it.
    pub(super) fn exactly(text: &str) -> Self {
        Self {
            form: Form::Plain(text.into()),
            position: None,
        }
    }

    pub fn as_str(&self) -> &str {
        match &self.form {
            Form::Plain(text) => text,
            Form::Wild(pattern) => pattern.as_str(),
        }
    }
}

/// Globs of the same text are the same, wherever they stand.
impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Glob {}

impl Hash for Glob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The pieces of plain text in a valid glob: whatever it matches contains each.
pub(super) fn plain_pieces(glob: &str) -> Vec<&str> {
    let mut pieces = vec![];
    let mut rest = glob;
    while !rest.is_empty() {
        let end = rest.find(['*', '?', '[']).unwrap_or(rest.len());
        pieces.push(&rest[..end]);
        rest = after_wildcard(&rest[end..]);
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn after_wildcard(rest: &str) -> &str {
    let mut chars = rest.chars();
    if chars.next() == Some('[') {
        // A "]" that comes first is one of the characters.
        if chars.next() == Some('!') {
            chars.next();
        }
        chars.find(|c| *c == ']');
    }
    chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(glob: &Glob, text: &str) -> bool {
        match &glob.form {
            Form::Plain(plain) => **plain == *text,
            Form::Wild(pattern) => pattern.matches(text),
        }
    }

    #[test]
    fn what_globs_match() {
        for (glob, text, expected) in [
            ("web", "web", true),
            ("web", "web2", false),
            ("web-*", "web-", true),
            ("*", "", true),
            ("*", "/a/b", true),
            ("/machine.slice/*", "/machine.slice/a/b", true),
            ("/a?b", "/a/b", true),
            ("vm[0-9]", "vm7", true),
            ("vm[!0-9]", "vm7", false),
            ("[*]", "*", true),
            ("[*]", "x", false),
            ("[]]", "]", true),
            (r"qemu\x2d1", r"qemu\x2d1", true),
            ("Web", "web", false),
            (".*", ".a", true),
            ("*", ".a", true),
            ("w?b", "wüb", true),
        ] {
            let glob = Glob::new(glob, None).expect("a glob");
            assert_eq!(is_match(&glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn no_globs() {
        for (text, why) in [
            ("", "\"*\""),
            ("a[b", "[[]"),
            ("[]", "[[]"),
            ("a/**/b", "\"/\" included"),
            ("***", "\"/\" included"),
        ] {
            let error = Glob::new(text, None).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Glob::new(&"x".repeat(4096), None).is_ok());
        assert!(Glob::new(&"x".repeat(4097), None).is_err());
    }

    #[test]
    fn pieces() {
        for (glob, pieces) in [
            ("web", &["web"][..]),
            ("web-*", &["web-"]),
            ("*-x?y", &["-x", "y"]),
            ("a[b]c", &["a", "c"]),
            ("a[]b]c", &["a", "c"]),
            ("a[!]b]c", &["a", "c"]),
            ("[!!]c", &["c"]),
            ("[ü]c]", &["c]"]),
            ("*", &[]),
            ("", &[]),
        ] {
            assert_eq!(plain_pieces(glob), pieces, "{glob}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_matches_contains_every_piece(glob in "[ab!*?\\[\\]-]{0,8}", text in "[ab!\\]\\[-]{0,8}") {
            if let Ok(glob) = Glob::new(&glob, None) && is_match(&glob, &text) {
                for piece in plain_pieces(glob.as_str()) {
                    assert!(text.contains(piece), "{glob} {text} {piece}");
                }
            }
        }

        #[test]
        fn never_panics(glob in ".*") {
            let _ = Glob::new(&glob, None);
        }
    }
}
