// SPDX-License-Identifier: GPL-2.0-only
//! Changes in the text of a file, which leave its comments and its layout as they are.
//!
//! What holds for one VM goes into the last rule that is for this VM's name or UUID and
//! nothing else; if there is none, one is written below all others.

use glob::Pattern;
use toml_edit::{DocumentMut, Item, Table, TableLike, TomlError, Value};

use super::effective::Target;
use super::settings::Key;

/// A key, and its value as the command line has it; None: it is to be unset.
pub type Edit = (Key, Option<String>);

/// The text with the edits. It has still to be checked.
pub(super) fn edited(text: &str, target: Target<'_>, edits: &[Edit]) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let rules = document
        .get_mut("vm")
        .and_then(Item::as_array_of_tables_mut);
    if let Some(rules) = rules {
        let last = (0..rules.len()).rev();
        let is_his = |i: &usize| rules.get(*i).is_some_and(|rule| is_for(rule, target));
        if let Some(i) = { last }.find(|i| is_his(i)) {
            let rule = rules.get_mut(i).expect("it was found");
            for (key, value) in edits {
                change(rule, *key, value.as_deref());
            }
            if rule.len() == 1 && !has_comment(rule) {
                rules.remove(i);
            }
            return Ok(document.to_string());
        }
    }
    Ok(appended(text, target, edits))
}

fn is_for(rule: &Table, target: Target<'_>) -> bool {
    let matches = rule.get("match").and_then(Item::as_table_like);
    let (field, text) = wanted(target);
    matches.is_some_and(|matches: &dyn TableLike| {
        let value = matches.get(field).and_then(Item::as_str);
        let is_it = |value: &str| match target {
            Target::Name(_) => value == text,
            Target::Uuid(_) => value.eq_ignore_ascii_case(&text),
        };
        matches.len() == 1 && value.is_some_and(is_it)
    })
}

/// The key of `match` and the glob that is the target's alone.
fn wanted(target: Target<'_>) -> (&'static str, String) {
    match target {
        Target::Name(name) => ("name", Pattern::escape(name)),
        Target::Uuid(uuid) => ("uuid", uuid.into()),
    }
}

fn change(rule: &mut Table, key: Key, text: Option<&str>) {
    let Some(text) = text else {
        rule.remove(key.name());
        return;
    };
    let mut new = value(key, text);
    match rule.get_mut(key.name()).and_then(Item::as_value_mut) {
        Some(old) => {
            // The comment behind it, too.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            rule.insert(key.name(), new.into());
        }
    }
}

fn has_comment(rule: &Table) -> bool {
    rule.to_string().contains('#')
        || [rule.decor().prefix(), rule.decor().suffix()]
            .into_iter()
            .flatten()
            .any(|decor| decor.as_str().is_none_or(|text| text.contains('#')))
}

/// What is no number where one is due becomes a string, and is complained of later.
fn value(key: Key, text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if !key.is_quoted() => number.into(),
        _ => text.into(),
    }
}

/// By hand, for a document has its last comments below all tables.
fn appended(text: &str, target: Target<'_>, edits: &[Edit]) -> String {
    let set = edits
        .iter()
        .filter_map(|(key, text)| text.as_ref().map(|text| (key, value(*key, text))));
    let lines: String = set
        .map(|(key, value)| format!("{} = {value}\n", key.name()))
        .collect();
    if lines.is_empty() {
        return text.into();
    }
    let (field, glob) = wanted(target);
    let glob = Value::from(glob);
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{text}{gap}[[vm]]\nmatch = {{ {field} = {glob} }}\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# The house's rules.
[defaults]
slice = \"5ms\"   # short

[[vm]]
match = { name = \"db\" }   # twice
weight = 1

# The database.
[[vm]]
match.name = \"db\"
weight   = 400     # of the host
latency = 'low'

[[vm]]
match = { name = \"db\", vcpus = 4 }
weight = 3
# The end.
";

    fn edit(text: &str, target: Target<'_>, edits: &[(Key, Option<&str>)]) -> String {
        let own = |(key, value): &(Key, Option<&str>)| (*key, value.map(str::to_owned));
        let edits: Vec<_> = edits.iter().map(own).collect();
        edited(text, target, &edits).expect("TOML")
    }

    #[test]
    fn the_rest_stays_as_it_is() {
        let db = Target::Name("db");
        let set = [
            (Key::weight, Some("500")),
            (Key::latency, Some("batch")),
            (Key::cpus, Some("0-3,8")),
        ];
        let expected = TEXT
            .replace("weight   = 400     #", "weight   = 500     #")
            .replace(
                "latency = 'low'\n",
                "latency = \"batch\"\ncpus = \"0-3,8\"\n",
            );
        assert_eq!(edit(TEXT, db, &set), expected);

        let unset = edit(TEXT, db, &[(Key::latency, None), (Key::slice, None)]);
        assert_eq!(unset, TEXT.replace("latency = 'low'\n", ""));
        // Nothing is left of the rule but what somebody has written about it.
        let both = [(Key::latency, None), (Key::weight, None)];
        let bare = edit(TEXT, db, &both);
        assert!(bare.contains("# The database.\n[[vm]]\nmatch.name = \"db\"\n"));
        let rule = "[[vm]]\nmatch = { name = 'a' }\nweight = 1\n";
        assert_eq!(edit(rule, Target::Name("a"), &[(Key::weight, None)]), "");
    }

    #[test]
    fn a_new_rule_comes_last() {
        let uuid = "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11";
        let new = edit(TEXT, Target::Uuid(uuid), &[(Key::slice, Some("1ms"))]);
        let rule = format!("[[vm]]\nmatch = {{ uuid = \"{uuid}\" }}\nslice = \"1ms\"\n");
        assert_eq!(new, format!("{TEXT}\n{rule}"));
        let changed = edit(&new, Target::Uuid(uuid), &[(Key::slice, Some("2ms"))]);
        assert_eq!(changed, new.replace("1ms", "2ms"));
        assert_eq!(
            edit("", Target::Uuid(uuid), &[(Key::slice, Some("1ms"))]),
            rule
        );
        // A file of comments alone, without an end to its last line.
        let new = edit("# a", Target::Uuid(uuid), &[(Key::slice, Some("1ms"))]);
        assert_eq!(new, format!("# a\n\n{rule}"));
        assert_eq!(edit(TEXT, Target::Name("x"), &[(Key::slice, None)]), TEXT);
    }

    #[test]
    fn names_are_no_globs() {
        let star = Target::Name("db-*[1]");
        let new = edit("", star, &[(Key::weight, Some("7"))]);
        assert!(
            new.contains("match = { name = \"db-[*][[]1[]]\" }"),
            "{new}"
        );
        let again = edit(&new, star, &[(Key::weight, Some("8"))]);
        assert_eq!(again, new.replace('7', "8"));
    }
}
