// SPDX-License-Identifier: GPL-2.0-only
//! What is wrong with a configuration, and where.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use vmland_base::printable::harmless;

/// Longest piece of a file that a message repeats, in characters.
const QUOTE_MAX_CHARS: usize = 60;

/// The origin: a file, a `--vm` on the command line, or `vmland vm set`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    File(Arc<Path>),
    /// The argument of one `--vm`.
    Flag(Arc<str>),
    /// Set while the scheduler ran.
    Live,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => one_line(&path.to_string_lossy()).fmt(f),
            Source::Flag(text) => write!(f, "--vm '{}'", one_line(text)),
            Source::Live => f.write_str("vmland vm set"),
        }
    }
}

/// A place in a file, both from 1 up; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// Where something was set; as a compiler writes it, `FILE:LINE:COLUMN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub source: Source,
    /// None: the file as a whole, or a flag.
    pub position: Option<Position>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        match self.position {
            Some(Position { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// One error or warning: a line that says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What does not hinder, but is hardly meant.
pub type Warning = Finding;

/// Why a configuration cannot be used: every error of every file and flag, in
/// the order in which they are read. Never empty. `Display` gives a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Finding>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

/// What a file says, short enough and safe to repeat on a terminal or in a log.
pub(super) fn quote(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut quote: String = line.chars().take(QUOTE_MAX_CHARS).map(harmless).collect();
    if quote.len() < text.len() && (text.contains('\n') || line.chars().count() > QUOTE_MAX_CHARS) {
        quote.push('…');
    }
    quote
}

fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| harmless(c) == c) {
        Cow::Borrowed(text)
    } else {
        text.chars().map(harmless).collect()
    }
}

/// Finds positions in a text from offsets in bytes.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// Offset at which each line starts.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1));
        Self {
            text,
            starts: starts.collect(),
        }
    }

    /// O(log lines), and the length of one line.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = &self.text.as_bytes()[self.starts[line - 1]..offset];
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position {
            line: number(line),
            column: number(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let lines = Lines::new("ab\n\nüx\n");
        let at = |offset| {
            let Position { line, column } = lines.position(offset);
            (line, column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(1), (1, 2));
        assert_eq!(at(2), (1, 3));
        assert_eq!(at(3), (2, 1));
        assert_eq!(at(4), (3, 1));
        assert_eq!(at(6), (3, 2));
        assert_eq!(at(8), (4, 1));
        assert_eq!(at(99), (4, 1));
        assert_eq!(Lines::new("").position(0), Position { line: 1, column: 1 });
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        assert_eq!(quote("\"a\u{1b}[2J\""), "\"a\u{fffd}[2J\"");
        assert_eq!(quote("[1,\n2]"), "[1,…");
        assert_eq!(quote(&"ü".repeat(60)), "ü".repeat(60));
        assert_eq!(quote(&"ü".repeat(61)), format!("{}…", "ü".repeat(60)));
    }

    #[test]
    fn places() {
        let place = |source, position| Place { source, position }.to_string();
        let file = Source::File(Path::new("/etc/a\n.toml").into());
        let position = Position { line: 3, column: 4 };
        assert_eq!(place(file.clone(), None), "/etc/a\u{fffd}.toml");
        assert_eq!(place(file, Some(position)), "/etc/a\u{fffd}.toml:3:4");
        assert_eq!(place(Source::Flag("a:b=1".into()), None), "--vm 'a:b=1'");
    }
}
