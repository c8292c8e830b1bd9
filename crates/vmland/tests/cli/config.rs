// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config`, on any machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{text, vmland};

#[test]
fn check_says_what_is_wrong_and_exits_with_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.toml");
    let file = path.display().to_string();
    // Others may not write to it, whatever the umask is.
    let put = |text: &str| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
    };
    // Without the directory's own name.
    let message = |of: &[u8]| text(of).replace(&format!("{}/", dir.path().display()), "");

    put("[defaults]\nwieght = 5\n[[vm]]\nmatch.name = \"a\"\n");
    let out = vmland(&["config", "check", &file]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        message(&out.stderr),
        "config.toml:2:1: unknown key \"wieght\"; did you mean \"weight\"?\nvmland: config.toml: 1 error\n"
    );

    put("[defaults]\nweight = 3\n[[vm]]\nmatch.name = \"a\"\n");
    let out = vmland(&["config", "check", &file]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(message(&out.stdout), "config.toml: 1 rule, no error\n");
    let warning = "warning: config.toml:3:1: the rule sets nothing\n";
    assert_eq!(message(&out.stderr), warning);

    for wrong in ["a:b=c", "a:weight=0"] {
        let out = vmland(&["config", "check", &file, "--vm", wrong]);
        assert_eq!(out.status.code(), Some(1), "{wrong:?}");
    }
    assert_eq!(
        vmland(&["config", "check", "/no/file"]).status.code(),
        Some(1)
    );
}

#[test]
fn show_without_a_scheduler_checks_all_the_same() {
    let out = vmland(&["config", "show", "--vm", "a:weight=0"]);
    assert_eq!(out.status.code(), Some(64));
    assert!(text(&out.stderr).contains("from 1 to 10000"));
    if !Path::new("/var/run/scx/root/stats").exists() {
        let out = vmland(&["config", "show", "--origin"]);
        assert_eq!(out.status.code(), Some(69), "{}", text(&out.stderr));
    }
}

#[test]
fn the_schema_is_printed() {
    let out = vmland(&["config", "schema"]);
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(text(&out.stdout).trim_end(), vmland_settings::schema());
}
