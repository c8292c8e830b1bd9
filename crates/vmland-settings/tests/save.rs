// SPDX-License-Identifier: GPL-2.0-only
//! What is set for a VM, written into a configuration's file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use tempfile::TempDir;
use vmland_identity::Vmm;
use vmland_settings::{Caller, Config, Edit, Key, SaveError, Sources, Target, VmFacts, save};

const TEXT: &str = "# Ours.\n[defaults]\nslice = \"5ms\"  # short\n";

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    (directory, file)
}

fn sources(file: &Path) -> Sources {
    Sources {
        file: file.into(),
        must_exist: false,
        flags: vec![],
        caller: Caller {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        },
        host_cpus: None,
    }
}

fn put(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).expect("written");
    fs::set_permissions(file, Permissions::from_mode(mode)).expect("chmod");
}

fn weight(value: &str) -> Vec<Edit> {
    vec![(Key::weight, Some(value.into()))]
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("it is there")
}

/// Nothing is left beside the file.
fn is_alone(file: &Path) {
    let directory = file.parent().expect("one");
    let names: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains("vmland"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn what_is_saved_is_in_force_and_the_rest_as_it_was() {
    let (_directory, file) = place();
    put(&file, TEXT, 0o640);
    let sources = sources(&file);
    save(&sources, Target::Name("db"), &weight("400")).expect("saved");
    let rule = "\n[[vm]]\nmatch = { name = \"db\" }\nweight = 400\n";
    assert_eq!(read(&file), format!("{TEXT}{rule}"));
    assert_eq!(fs::metadata(&file).expect("it").mode() & 0o7777, 0o640);
    is_alone(&file);
    let (config, warnings) = Config::load(&sources).expect("right");
    assert_eq!(warnings, []);
    let db = VmFacts {
        name: "db".into(),
        uuid: None,
        vmm: Vmm::Qemu,
        cgroup: None,
        uid: Some(64055),
        vcpus: 2,
    };
    assert_eq!(config.settings_for(&db).weight, Some(400));

    save(&sources, Target::Name("db"), &[(Key::weight, None)]).expect("saved");
    assert_eq!(read(&file), TEXT);
}

#[test]
fn a_file_that_is_not_there_is_made() {
    let (_directory, file) = place();
    let below = file.with_file_name("etc").join("config.toml");
    save(&sources(&below), Target::Name("a"), &[(Key::weight, None)]).expect("nothing to do");
    assert!(!below.exists());
    save(&sources(&below), Target::Name("a"), &weight("7")).expect("saved");
    assert_eq!(
        read(&below),
        "[[vm]]\nmatch = { name = \"a\" }\nweight = 7\n"
    );
    assert_eq!(fs::metadata(&below).expect("it").mode() & 0o7777, 0o644);
}

#[test]
fn a_link_stays_one() {
    let (directory, file) = place();
    let real = directory.path().join("real.toml");
    put(&real, TEXT, 0o600);
    symlink(&real, &file).expect("a link");
    save(&sources(&file), Target::Name("a"), &weight("7")).expect("saved");
    assert!(fs::symlink_metadata(&file).expect("it").is_symlink());
    assert!(read(&real).starts_with(TEXT) && read(&real).len() > TEXT.len());
}

#[test]
fn what_would_be_wrong_is_not_written() {
    let (directory, file) = place();
    let refused = |text: &str, edits: &[Edit], says: &str| {
        put(&file, text, 0o644);
        let error = save(&sources(&file), Target::Name("a"), edits).expect_err(text);
        assert!(matches!(error, SaveError::Wrong(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(read(&file), text);
        is_alone(&file);
    };
    refused(TEXT, &weight("0"), "from 1 to 10000");
    refused(TEXT, &weight("many"), "from 1 to 10000");
    refused(
        "[defaults]\nwieght = 1\n",
        &weight("7"),
        "config.toml:2:1: unknown key",
    );
    refused("[defaults\n", &weight("7"), "config.toml:1:10");
    refused(
        "vm = [{ match = { name = 'b' } }]\n",
        &weight("7"),
        "config.toml:3:",
    );
    let slices = [
        (Key::slice, Some("1ms".into())),
        (Key::slice_min, Some("2ms".into())),
    ];
    refused(TEXT, &slices, "is longer than slice");

    // Another file of the same configuration is checked, too.
    let other = directory.path().join("config.d");
    fs::create_dir(&other).expect("made");
    put(&other.join("a.toml"), "nonsense", 0o644);
    refused(TEXT, &weight("7"), "config.d/a.toml:1:");
}

#[test]
fn a_file_of_others_is_not_written() {
    let (directory, file) = place();
    put(&file, TEXT, 0o646);
    let error = save(&sources(&file), Target::Name("a"), &weight("7")).expect_err("anybody's");
    assert!(
        error.to_string().contains("may be written by anybody"),
        "{error}"
    );
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("chmod");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("chmod");
    let error = save(&sources(&file), Target::Name("a"), &weight("7")).expect_err("anybody's");
    assert!(
        error.to_string().contains("may be written by anybody"),
        "{error}"
    );
    assert_eq!(read(&file), TEXT);
}
