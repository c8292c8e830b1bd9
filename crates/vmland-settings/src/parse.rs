// SPDX-License-Identifier: GPL-2.0-only
//! The text of one file, as rules.
//!
//! The tables are walked by hand and not deserialised, so that every error is
//! found, and each with its place.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::finding::{Finding, Lines, Place, Position, Source, quote};
use super::glob_text::Glob;
use super::kind::Given;
use super::matching::{Field, Match};
use super::rule::Rule;
use super::settings::Key;
use super::uids::{self, UidRange};
use super::vcpus::{self, VcpuRange};
use vmland_base::suggest::{all_of, either, nearest};
use vmland_identity::Vmm;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub defaults: Option<Rule>,
    pub rules: Vec<Rule>,
    /// In the order of the file.
    pub errors: Vec<Finding>,
}

pub(super) fn parse(text: &str, file: &Arc<Path>) -> Parsed {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        lines: Lines::new(text),
        source: Source::File(file.clone()),
        is_garbled: !syntax.is_empty(),
        errors: vec![],
    };
    let mut parsed = reader.document(table.get_ref());
    let values = std::mem::take(&mut reader.errors);
    for e in syntax {
        reader.syntax(&e);
    }
    // What a line that cannot be read seems to say is nothing to complain of, too.
    let syntax = reader.errors;
    let garbled: BTreeSet<_> = syntax.iter().map(line).collect();
    let values = values
        .into_iter()
        .filter(|error| !garbled.contains(&line(error)));
    parsed.errors = values.chain(syntax).collect();
    parsed.errors.sort_by_key(|error| error.place.position);
    parsed.errors.dedup_by_key(|error| error.place.position);
    parsed
}

fn line(finding: &Finding) -> Option<u32> {
    finding.place.position.map(|position| position.line)
}

struct Reader<'a> {
    text: &'a str,
    lines: Lines<'a>,
    source: Source,
    /// There are errors of syntax: tables may seem to be missing that are not.
    is_garbled: bool,
    errors: Vec<Finding>,
}

type Table<'a> = DeTable<'a>;
type Name<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    fn document(&mut self, table: &Table<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        for (key, value) in table {
            match (&**key.get_ref(), value.get_ref()) {
                ("defaults", DeValue::Table(table)) => {
                    parsed.defaults = Some(self.defaults(value.span(), table));
                }
                ("defaults", _) => self.structure(key.span(), "one table is expected: [defaults]"),
                ("vm", DeValue::Array(rules)) => {
                    for rule in rules {
                        match rule.get_ref() {
                            DeValue::Table(table) => {
                                parsed.rules.push(self.rule(rule.span(), table));
                            }
                            _ => self.structure(rule.span(), "a table is expected: [[vm]]"),
                        }
                    }
                }
                ("vm", _) => self.structure(key.span(), "a rule begins with two brackets: [[vm]]"),
                (name, _) if Key::named(name).is_some() => self.structure(
                    key.span(),
                    format!("{name} belongs below [defaults] or a [[vm]]"),
                ),
                (name, _) => {
                    let meant = match nearest(name, ["defaults", "vm"]) {
                        Some("vm") => "did you mean [[vm]]?",
                        Some(_) => "did you mean [defaults]?",
                        None => "there are [defaults] and [[vm]]",
                    };
                    let name = quote(name);
                    self.structure(key.span(), format!("unknown table {name:?}; {meant}"));
                }
            }
        }
        parsed
    }

    fn defaults(&mut self, span: Range<usize>, table: &Table<'_>) -> Rule {
        let position = Some(self.position(&span));
        let mut rule = Rule::new(self.source.clone(), position, Match::default());
        for (key, value) in table {
            match &**key.get_ref() {
                "match" => self.error(
                    key.span(),
                    "match belongs below a [[vm]]; [defaults] are for all VMs",
                ),
                _ => self.setting(&mut rule, key, value, None),
            }
        }
        self.errors.extend(rule.contradiction());
        rule
    }

    fn rule(&mut self, span: Range<usize>, table: &Table<'_>) -> Rule {
        let position = Some(self.position(&span));
        let mut rule = Rule::new(self.source.clone(), position, Match::default());
        let mut has_match = false;
        for (key, value) in table {
            match &**key.get_ref() {
                "match" => {
                    has_match = true;
                    rule.matches = self.matches(value);
                }
                name if Match::KEYS.contains(&name) => {
                    has_match = true;
                    let text = format!("{name} belongs into match: match = {{ {name} = … }}");
                    self.error(key.span(), text);
                }
                _ => self.setting(&mut rule, key, value, Some("match")),
            }
        }
        if !has_match {
            self.structure(
                span,
                "a rule needs match, such as match = { name = \"web-*\" }; what is for all VMs belongs below [defaults]",
            );
        }
        self.errors.extend(rule.contradiction());
        rule
    }

    /// `other` is what may stand beside settings here.
    fn setting(&mut self, rule: &mut Rule, key: &Name<'_>, value: &Value<'_>, other: Option<&str>) {
        let Some(known) = Key::named(key.get_ref()) else {
            let known = Key::ALL.iter().map(|key| key.name()).chain(other);
            return self.error(key.span(), unknown_key(key.get_ref(), known));
        };
        let given = Given::of(value.get_ref());
        if let Err(text) = rule.set(known, &given, || self.shown(value)) {
            self.error(value.span(), text);
        }
        rule.positions[known as usize] = Some(self.position(&key.span()));
    }

    fn matches(&mut self, value: &Value<'_>) -> Match {
        let mut matches = Match::default();
        let DeValue::Table(table) = value.get_ref() else {
            let shown = self.shown(value);
            self.error(
                value.span(),
                format!("match = {shown}: expected a table such as {{ name = \"web-*\" }}"),
            );
            return matches;
        };
        if table.is_empty() {
            self.structure(
                value.span(),
                format!(
                    "match is empty; it takes {}; what is for all VMs belongs below [defaults]",
                    all_of(Match::KEYS)
                ),
            );
        }
        for (key, value) in table {
            match &**key.get_ref() {
                "vmm" => matches.vmms = self.each(value, Reader::vmm),
                "uid" => matches.uids = self.each(value, Reader::uids),
                "vcpus" => matches.vcpus = self.vcpus(value),
                name => match Field::ALL.into_iter().find(|field| field.as_str() == name) {
                    Some(field) => {
                        matches.globs[field as usize] =
                            self.each(value, |reader, value| reader.glob(field, value));
                    }
                    None => self.error(key.span(), unknown_key(name, Match::KEYS)),
                },
            }
        }
        matches
    }

    /// One value, or a list of some.
    fn each<T>(
        &mut self,
        value: &Value<'_>,
        mut read: impl FnMut(&mut Self, &Value<'_>) -> Option<T>,
    ) -> Vec<T> {
        match value.get_ref() {
            DeValue::Array(values) if values.is_empty() => {
                self.error(value.span(), "the list is empty, so that no VM would match");
                vec![]
            }
            DeValue::Array(values) => values
                .iter()
                .filter_map(|value| read(self, value))
                .collect(),
            _ => read(self, value).into_iter().collect(),
        }
    }

    fn glob(&mut self, field: Field, value: &Value<'_>) -> Option<Glob> {
        let name = field.as_str();
        let DeValue::String(text) = value.get_ref() else {
            let shown = self.shown(value);
            self.error(
                value.span(),
                format!(
                    "match.{name} = {shown}: expected a glob such as \"web-*\", or a list of some"
                ),
            );
            return None;
        };
        let text = match field {
            Field::Uuid => text.to_ascii_lowercase().into(),
            Field::Name | Field::Cgroup => text.clone(),
        };
        match Glob::new(&text, Some(self.position(&value.span()))) {
            Ok(glob) => Some(glob),
            Err(e) => {
                let shown = self.shown(value);
                self.error(value.span(), format!("match.{name} = {shown}: {e}"));
                None
            }
        }
    }

    fn vmm(&mut self, value: &Value<'_>) -> Option<Vmm> {
        let words = Vmm::ALL.map(Vmm::as_str);
        let text = value.get_ref().as_str().unwrap_or_default();
        let found = Vmm::ALL.into_iter().find(|vmm| vmm.as_str() == text);
        if found.is_none() {
            let shown = self.shown(value);
            let meant =
                nearest(text, words).map_or(String::new(), |w| format!("; did you mean {w:?}?"));
            self.error(
                value.span(),
                format!(
                    "match.vmm = {shown}: expected {}, or a list of some{meant}",
                    either(words)
                ),
            );
        }
        found
    }

    fn uids(&mut self, value: &Value<'_>) -> Option<UidRange> {
        let expected = format!("{}, or a list of some", uids::EXPECTED);
        self.range("uid", &expected, value, UidRange::read)
    }

    fn vcpus(&mut self, value: &Value<'_>) -> Option<VcpuRange> {
        self.range("vcpus", vcpus::EXPECTED, value, VcpuRange::read)
    }

    fn range<R>(
        &mut self,
        key: &str,
        expected: &str,
        value: &Value<'_>,
        read: fn(&Given<'_>) -> Result<R, Option<String>>,
    ) -> Option<R> {
        read(&Given::of(value.get_ref()))
            .map_err(|meant| {
                let shown = self.shown(value);
                let meant =
                    meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
                self.error(
                    value.span(),
                    format!("match.{key} = {shown}: expected {expected}{meant}"),
                );
            })
            .ok()
    }

    fn shown(&self, value: &Value<'_>) -> String {
        quote(self.text.get(value.span()).unwrap_or_default())
    }

    fn position(&self, span: &Range<usize>) -> Position {
        self.lines.position(span.start)
    }

    /// An error of the parser's.
    fn syntax(&mut self, e: &toml::de::Error) {
        let span = e.span().unwrap_or_default();
        let given = quote(self.text.get(span.clone()).unwrap_or_default());
        let message = e.message().trim_end_matches(", expected nothing");
        if message.starts_with("string values must be quoted") {
            let text = match given.trim() {
                "" => "a value is missing".into(),
                given => format!("a string needs quotes: {given:?}"),
            };
            self.error(span, text);
        } else if message == "duplicate key" && !given.is_empty() {
            self.error(span, format!("{given} is given twice"));
        } else {
            self.error(span, message);
        }
    }

    /// An error in what belongs where.
    fn structure(&mut self, span: Range<usize>, text: impl Into<String>) {
        if !self.is_garbled {
            self.error(span, text);
        }
    }

    fn error(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.errors.push(Finding {
            place: Place {
                source: self.source.clone(),
                position: Some(self.position(&span)),
            },
            text: text.into(),
        });
    }
}

/// The setting of this name; or what is wrong.
pub(super) fn known_key(name: &str) -> Result<Key, String> {
    let all = || Key::ALL.iter().map(|key| key.name());
    Key::named(name).ok_or_else(|| unknown_key(name, all()))
}

/// For a key that is none of `known`.
pub(super) fn unknown_key<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(meant) => format!("unknown key {:?}; did you mean {meant:?}?", quote(name)),
        None => format!("unknown key {:?}; there are {}", quote(name), all_of(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Latency;
    use crate::settings::Settings;
    use proptest::prelude::*;

    fn read(text: &str) -> Parsed {
        parse(text, &Arc::from(Path::new("a.toml")))
    }

    #[test]
    fn numbers_in_all_their_forms() {
        for (text, weight) in [
            ("1_000", 1000),
            ("0x10", 16),
            ("0o17", 15),
            ("0b1_01", 5),
            ("+5", 5),
        ] {
            let parsed = read(&format!("[defaults]\nweight = {text}\n"));
            assert_eq!(parsed.errors, [], "{text}");
            let settings = parsed
                .defaults
                .map(|rule| rule.settings)
                .unwrap_or_default();
            assert_eq!(settings.weight, Some(weight), "{text}");
        }
        for (text, meant) in [
            ("slice = 1_0.5", "\"10.5ms\""),
            ("slice = 0x10", "\"16ms\""),
            ("weight = '+7'", "7"),
        ] {
            let errors = read(&format!("[defaults]\n{text}\n")).errors;
            assert_eq!(errors.len(), 1, "{text}");
            let meant = format!("did you mean {meant}?");
            assert!(errors[0].text.ends_with(&meant), "{}", errors[0].text);
        }
        for text in ["2.5", "1e2", "nan", "-inf", "99999999999999999999"] {
            let errors = read(&format!("[defaults]\nweight = {text}\n")).errors;
            assert_eq!(errors.len(), 1, "{text}");
        }
    }

    #[test]
    fn other_ways_to_write_tables() {
        let parsed = read("vm = [{ match.name = 'a', weight = 1 }, { match = { name = 'b' } }]");
        assert_eq!(parsed.errors, []);
        assert_eq!(parsed.rules.len(), 2);
        let parsed = read("\u{feff}defaults.weight = 7\r\ndefaults.latency = 'low'\r\n");
        assert_eq!(parsed.errors, []);
        let settings = parsed
            .defaults
            .map(|rule| rule.settings)
            .unwrap_or_default();
        assert_eq!(settings.weight, Some(7));
        assert_eq!(settings.latency, Some(Latency::Low));
        let parsed = read("[[vm]]\nweight = 1\n[vm.match]\nname = 'a'\n");
        assert_eq!(parsed.errors, []);
        assert_eq!(
            parsed.rules[0].positions[0].map(|p| (p.line, p.column)),
            Some((2, 1))
        );
        assert_eq!(read("").errors, []);
    }

    proptest! {
        #[test]
        fn round_trip(settings in Settings::any()) {
            let mut text = "[defaults]\n".to_owned();
            for key in Key::ALL {
                match settings.written(*key) {
                    Some(value) if key.is_quoted() => text += &format!("{} = {value:?}\n", key.name()),
                    Some(value) => text += &format!("{} = {value}\n", key.name()),
                    None => {}
                }
            }
            let parsed = read(&text);
            prop_assert_eq!(parsed.errors, []);
            prop_assert_eq!(parsed.defaults.map(|rule| rule.settings), Some(settings));
        }

        #[test]
        fn never_panics(text in ".*", near in "((\\[\\[?(vm|defaults)\\]?\\]?|match|name|weight|slice|=|\\{|\\}|\"|'|ü|#|\\.|,|[0-9]|ms| |\n)){0,40}") {
            read(&text);
            read(&near);
        }
    }
}
