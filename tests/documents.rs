// SPDX-License-Identifier: GPL-2.0-only
//! What documents say of the code is so: every test that they name is there.

use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// In the last column of tables that have the head "test".
#[test]
fn every_line_has_its_test() {
    for (document, least) in [("THREATS.md", 30), ("docs/platforms.md", 8)] {
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
                let source = fs::read_to_string(path(file)).unwrap_or_default();
                let there = source.contains(&format!("fn {function}("));
                assert!(there, "{document}: {file} has no {function}");
                count += 1;
            }
        }
        assert!(count >= least, "{document}: {count}");
    }
}
