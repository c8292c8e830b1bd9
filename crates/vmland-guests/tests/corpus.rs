// SPDX-License-Identifier: GPL-2.0-only
//! Replays the corpus of the fuzz target that is about guests.

use std::path::Path;

#[path = "../../../fuzz/targets/guest.rs"]
mod guest;
#[path = "../../../fuzz/targets/replay.rs"]
mod replay;

#[test]
fn consoles_of_guests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    replay::replay(&root, "guest", guest::run);
}
