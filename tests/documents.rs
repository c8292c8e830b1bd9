// SPDX-License-Identifier: GPL-2.0-only
//! What documents say of the code is so: every test that they name is there, and every message
//! of the code is explained. The script tests/documents checks links and commands.

use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// In the last column of tables. Where all are tests of the emulated host, their folder is left
/// out.
#[test]
fn every_line_has_its_test() {
    const OF: [(&str, &str, usize); 2] = [
        ("THREATS.md", "", 30),
        ("docs/platforms.md", "tests/in_host", 12),
    ];
    for (document, folder, least) in OF {
        let mut count = 0;
        for row in text(document).lines().filter(|line| line.starts_with("| ")) {
            let last = row.trim_end_matches(" |").rsplit(" | ").next();
            let last = last.expect("a column");
            if last == "test" || last == "---" {
                continue;
            }
            for name in last.split(", ") {
                let name = name.trim_matches('`');
                let (file, function) = name.split_once(": ").unwrap_or_else(|| panic!("{row}"));
                let source = fs::read_to_string(path(folder).join(file)).unwrap_or_default();
                let there = source.contains(&format!("fn {function}("));
                assert!(there, "{document}: {file} has no {function}");
                count += 1;
            }
        }
        assert!(count >= least, "{document}: {count}");
    }
}

/// The string literals that follow any of `starts`, as they are in the source.
fn literals<'a>(source: &'a str, starts: &'a [&str]) -> Vec<String> {
    let after = |start: &'a &str| source.split(*start).skip(1);
    let literal = |rest: &str| {
        let rest = rest.trim_start().strip_prefix('"')?;
        let end = rest
            .match_indices('"')
            .find(|(at, _)| !rest[..*at].ends_with('\\'))?;
        let lines = rest[..end.0].split("\\\n").map(str::trim_start);
        Some(lines.collect::<String>().replace("\\\"", "\""))
    };
    starts.iter().flat_map(after).filter_map(literal).collect()
}

/// The beginning of the longest text in the first sentence of a message that is the same on all
/// hosts.
fn constant(message: &str) -> Option<&str> {
    const ENOUGH: usize = 32;
    let sentence = message.split(". ").next().expect("a part");
    let parts = sentence.split(['{', '}']).step_by(2);
    let longest = parts.max_by_key(|part| part.len()).expect("a part");
    let longest = longest.trim_matches(|c: char| !c.is_alphabetic());
    let end = longest
        .char_indices()
        .nth(ENOUGH)
        .map_or(longest.len(), |(at, _)| at);
    (longest.len() > 3).then_some(&longest[..end])
}

#[test]
fn constant_parts_of_messages() {
    let of = constant;
    assert_eq!(
        of("Kernel {release} is too old. Boot {}.{}"),
        Some("is too old")
    );
    assert_eq!(of("the place {e:#}"), Some("the place"));
    assert_eq!(of("{refusal}"), None);
    let source = "warn!(\n    \"a \\\"b\\\" \\\n     c\", x); error!(\"d\")";
    assert_eq!(literals(source, &["warn!(", "error!("]), ["a \"b\" c", "d"]);
}

/// In docs/failures.md: what the scheduler logs as a warning or an error, and why it or the tool
/// refuses to go on.
#[test]
fn every_message_is_explained() {
    let guide = text("docs/failures.md");
    let mut messages = vec![];
    for file in fs::read_dir(path("src")).expect("src").flatten() {
        let source = fs::read_to_string(file.path()).unwrap_or_default();
        messages.extend(literals(&source, &["warn!(", "error!("]));
    }
    let logged = messages.len();
    for file in [
        "crates/vmland-base/src/system_file.rs",
        "crates/vmland-host/src/preflight.rs",
        "crates/vmland-control/src/socket.rs",
        "crates/vmland-control/src/client.rs",
        "crates/vmland/src/client.rs",
        "crates/vmland/src/ab/errors.rs",
        "crates/vmland-guests/src/preflight.rs",
        "crates/vmland-guests/src/running.rs",
        "crates/vmland-settings/src/save.rs",
    ] {
        let of_errors = text(file).replace("#[error(\n", "#[error(");
        messages.extend(literals(&of_errors, &["#[error("]));
    }
    let limits = text("src/limits.rs");
    messages.extend(literals(&limits, &["=> {"]));
    let core_sched = text("crates/vmland-host/src/core_sched.rs");
    messages.extend(literals(&core_sched, &["WARNING: &str = "]));
    assert!(logged > 20 && messages.len() > logged + 15, "{messages:#?}");
    let constants = messages.iter().filter_map(|message| constant(message));
    let missing: Vec<_> = constants.filter(|text| !guide.contains(text)).collect();
    assert!(
        missing.is_empty(),
        "docs/failures.md does not have: {missing:#?}"
    );
}

/// In docs/failures.md, by their names as they are shown.
#[test]
fn every_check_of_doctor_is_explained() {
    let guide = text("docs/failures.md");
    let source = text("crates/vmland-host/src/doctor/mod.rs");
    let (_, checks) = source.split_once("const CHECKS").expect("a list");
    let (checks, _) = checks.split_once("];").expect("its end");
    let names = literals(checks, &["\n    ("]);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let shown = format!("`{}`", name.replace('_', " "));
        assert!(
            guide.contains(&shown),
            "docs/failures.md does not have {shown}"
        );
    }
}
