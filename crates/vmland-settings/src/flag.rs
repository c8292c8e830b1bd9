// SPDX-License-Identifier: GPL-2.0-only
//! A rule of the command line: `NAME-GLOB:key=value,…`.

use super::finding::{Diagnostics, Finding, Place, Source};
use super::glob_text::Glob;
use super::matching::Match;
use super::parse::known_key;
use super::rule::Rule;
use super::settings::Key;

/// All that is wrong with it is told at once. The glob may contain colons: it
/// ends at the last one.
pub(super) fn parse(text: &str) -> Result<Rule, Diagnostics> {
    let source = Source::Flag(text.into());
    let place = Place {
        source: source.clone(),
        position: None,
    };
    let finding = |text| Finding {
        place: place.clone(),
        text,
    };
    let Some((glob, settings)) = text.rsplit_once(':') else {
        let text = "expected NAME-GLOB:key=value,… such as \"web-*:weight=200,slice=5ms\"";
        return Err(Diagnostics(vec![finding(text.into())]));
    };

    let mut errors = vec![];
    let matches = match Glob::new(glob.trim(), None) {
        Ok(glob) => Match::by_name(glob),
        Err(e) => {
            errors.push(format!("{glob:?}: {e}"));
            Match::default()
        }
    };
    let mut rule = Rule::new(source, None, matches);
    let mut given = vec![];
    for setting in split(settings) {
        let Some((name, value)) = setting.split_once('=') else {
            errors.push(format!("{:?}: expected key=value", setting.trim()));
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let key = match known_key(name) {
            Ok(key) => key,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        if given.contains(&key) {
            errors.push(format!("{name} is given twice"));
        }
        given.push(key);
        errors.extend(rule.set_word(key, value).err());
    }

    let mut errors: Vec<_> = errors.into_iter().map(finding).collect();
    errors.extend(rule.contradiction());
    if errors.is_empty() {
        Ok(rule)
    } else {
        Err(Diagnostics(errors))
    }
}

/// At the commas, but for those within a list of CPUs: what follows one, begins with a
/// digit and has no "=" goes on with it.
fn split(settings: &str) -> Vec<&str> {
    let mut pieces = vec![];
    let mut start = 0;
    for (comma, _) in settings.match_indices(',') {
        let piece = &settings[start..comma];
        let next = settings[comma + 1..].split(',').next().unwrap_or_default();
        let goes_on = next.trim_start().starts_with(|c: char| c.is_ascii_digit());
        if is_list(piece) && goes_on && !next.contains('=') {
            continue;
        }
        pieces.push(piece);
        start = comma + 1;
    }
    pieces.push(&settings[start..]);
    pieces
}

fn is_list(setting: &str) -> bool {
    let name = setting.split('=').next().unwrap_or_default().trim();
    Key::named(name).is_some_and(Key::is_list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::YieldTo;

    fn errors(text: &str) -> String {
        let diagnostics = parse(text).expect_err(text);
        diagnostics.to_string()
    }

    #[test]
    fn settings() {
        let rule = parse("web:*: weight = 200, slice=5ms,slice_min=500us,yield_to = ignore")
            .expect("right");
        let [names, ..] = &rule.matches.globs;
        assert_eq!(names[0].as_str(), "web:*");
        assert_eq!(rule.settings.weight, Some(200));
        assert_eq!(rule.settings.slice_ns, Some(5_000_000));
        assert_eq!(rule.settings.slice_min_ns, Some(500_000));
        assert_eq!(rule.settings.yield_to, Some(YieldTo::Ignore));
        assert_eq!(rule.settings.latency, None);
    }

    #[test]
    fn lists_have_commas() {
        for (flag, cpus, weight) in [
            ("a:cpus=0-3,8,weight=2", "0-3,8", Some(2)),
            ("a:weight=3,cpus=0,2, 4", "0,2,4", Some(3)),
            ("a:cpus=7", "7", None),
        ] {
            let rule = parse(flag).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(rule.settings.written(Key::cpus).as_deref(), Some(cpus));
            assert_eq!(rule.settings.weight, weight);
        }
        assert!(errors("a:cpus=0,weight").contains(r#""weight": expected key=value"#));
        assert!(errors("a:weight=1,2").contains(r#""2": expected key=value"#));
        assert!(errors("a:cpus=0,").contains(r#""": expected key=value"#));
    }

    #[test]
    fn what_is_wrong() {
        for (flag, text) in [
            ("web", "expected NAME-GLOB:key=value"),
            ("", "expected NAME-GLOB:key=value"),
            (":weight=1", "a glob is expected"),
            ("web:", r#""": expected key=value"#),
            ("web:weight", r#""weight": expected key=value"#),
            ("web:wieght=1", r#"did you mean "weight"?"#),
            ("web:match=x", r#"unknown key "match"; there are "weight","#),
            (
                "web:weight=0",
                r#"weight = "0": expected a whole number from 1 to 10000"#,
            ),
            ("web:slice=5", r#"did you mean "5ms"?"#),
            ("web:slice=1s", "expected a time from 100us to 100ms"),
            ("web:latency=lo", r#"did you mean "low"?"#),
            ("web:weight=1,weight=2", "weight is given twice"),
            (
                "web:slice=1ms,slice_min=2ms",
                "slice_min = \"2ms\" is longer than slice = \"1ms\"",
            ),
        ] {
            let errors = errors(flag);
            assert!(errors.contains(text), "{flag}: {errors}");
            assert!(errors.starts_with(&format!("--vm '{flag}': ")), "{errors}");
        }
    }

    #[test]
    fn all_that_is_wrong() {
        let errors = errors("a[:weight=0,slcie=1ms,latency=x");
        assert_eq!(errors.lines().count(), 4, "{errors}");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*", near in "[a*\\[]{0,3}:((weight|slice|latency|cpus|x)=?[0-9a-z.%-]{0,6},?){0,3}") {
            let _ = parse(&text);
            let _ = parse(&near);
        }
    }
}
