// SPDX-License-Identifier: GPL-2.0-only
//! Every test that THREATS.md names is there.

use std::fs;
use std::path::Path;

#[test]
fn every_line_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("THREATS.md")).expect("THREATS.md");
    let mut count = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let last = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .expect("a column");
        if last == "test" || last == "---" {
            continue;
        }
        for name in last.split(", ") {
            let name = name.trim_matches('`');
            let (file, function) = name.split_once(": ").unwrap_or_else(|| panic!("{row}"));
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            let there = source.contains(&format!("fn {function}("));
            assert!(there, "{file} has no {function}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
