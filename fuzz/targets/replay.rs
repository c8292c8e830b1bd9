// SPDX-License-Identifier: GPL-2.0-only
//! For tests: a target's corpus, every input that found something new, and every one that found a
//! fault.

use std::fs;
use std::path::Path;

/// `root` is the repository.
pub fn replay(root: &Path, target: &str, run: fn(&[u8])) {
    let dir = root.join("fuzz/corpus").join(target);
    let inputs = fs::read_dir(&dir).expect("a corpus");
    let mut count = 0;
    for input in inputs {
        let path = input.expect("an entry").path();
        // Shown if it fails.
        println!("{}", path.display());
        run(&fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count > 1, "{} is empty", dir.display());
}
