// SPDX-License-Identifier: GPL-2.0-only
//! An input that is several files: the parts between lines of `%%`.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the parts to the files of these names below a directory of this thread's own, which it
/// returns. A part that is missing is a file that is missing.
pub fn put(data: &[u8], names: &[&str]) -> PathBuf {
    thread_local! {
        static ROOT: RefCell<Option<Root>> = const { RefCell::new(None) };
    }
    let root = ROOT.with_borrow_mut(|root| root.get_or_insert_with(Root::new).0.clone());
    let mut parts = split(data).into_iter();
    for name in names {
        let path = root.join(name);
        let _ = fs::remove_file(&path);
        if let Some(part) = parts.next() {
            let parent = path.parent().expect("below the root");
            fs::create_dir_all(parent).expect("a directory");
            fs::write(&path, part).expect("written");
        }
    }
    root
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    const BETWEEN: &[u8] = b"%%\n";
    let mut parts = vec![];
    let mut rest = data;
    while let Some(at) = rest
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN)
    {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// In memory.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        let name = format!(
            "vmland-fuzz-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let root = Path::new("/dev/shm").join(name);
        fs::create_dir_all(&root).expect("a directory");
        Self(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
