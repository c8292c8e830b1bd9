// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's command line as a user meets it, on any machine.

use std::path::Path;
use std::process::{Command, Output};

use vmland_base::exit;

fn scx_vmland(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scx_vmland"))
        .args(args)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_flag_and_every_exit_code() {
    let out = scx_vmland(&["--help"]);
    assert_eq!(out.status.code(), Some(0));
    let help = text(&out.stdout);
    for word in [
        "--slice-us",
        "--slice-us-min",
        "--ipi-window-us",
        "--config",
        "--vm",
        "--partial",
        "--exit-dump-len",
        "--stats",
        "--monitor",
        "--help-stats",
        "--verbose",
        "--version",
        "--btf-custom-path",
        "0 stopped",
        "64",
        "69",
        "70",
        "75",
        "77",
    ] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
}

#[test]
fn version_names_the_framework() {
    let out = scx_vmland(&["-V"]);
    assert_eq!(out.status.code(), Some(0));
    let version = text(&out.stdout);
    assert!(
        version.starts_with(concat!("scx_vmland ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    assert!(version.contains("scx_rustland_core"), "{version}");
}

#[test]
fn wrong_usage_is_64_and_says_what_is_allowed() {
    let wrong: [(&[&str], &str); 6] = [
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--slice-us", "99"], "100"),
        (&["--slice-us", "100001"], "100000"),
        (&["--slice-us", "5ms"], "5ms"),
        (&["--stats", "0"], "0.01"),
        (&["--monitor", "soon"], "0.01"),
    ];
    for (args, expected) in wrong {
        let out = scx_vmland(args);
        assert_eq!(out.status.code(), Some(64), "{args:?}");
        let message = text(&out.stderr);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

const SERVICE: &str = include_str!("../configs/scx_vmland.service");

/// Of the service file.
fn of_service(key: &str) -> &'static str {
    let mut values = SERVICE.lines().filter_map(|line| line.split_once('='));
    let found = values.find(|(name, _)| *name == key);
    found.unwrap_or_else(|| panic!("no {key}")).1
}

/// systemd.service(5): after a failure it is started again, unless its exit code says that this
/// is of no use, and three failures in five minutes are the end of that.
#[test]
fn the_service_comes_back_but_not_for_ever() {
    assert_eq!(of_service("Restart"), "on-failure");
    let codes = [exit::USAGE, exit::UNAVAILABLE, exit::NOPERM].map(|code| code.to_string());
    assert_eq!(of_service("RestartPreventExitStatus"), codes.join(" "));
    let number = |key: &str, unit: &str| -> u64 {
        let value = of_service(key).strip_suffix(unit).expect("its unit");
        value.parse().expect("a number")
    };
    let burst: u64 = number("StartLimitBurst", "");
    let interval_s = 60 * number("StartLimitIntervalSec", "min");
    assert_eq!((burst, interval_s), (3, 300));
    // Of failures that take as long as systemd waits for a start, all are within the interval.
    assert!(burst * (number("RestartSec", "s") + 90) <= interval_s);
}

/// What starts it in scx.service, the service of the scx packages: a shell splits the flags of
/// /etc/default/scx at blanks.
#[test]
fn scx_service_can_start_it() {
    const START: &str =
        "exec ${SCX_SCHEDULER_OVERRIDE:-$SCX_SCHEDULER} ${SCX_FLAGS_OVERRIDE:-$SCX_FLAGS} ";
    let program = Path::new(env!("CARGO_BIN_EXE_scx_vmland"));
    let out = Command::new("/bin/bash")
        .args(["-c", START])
        .env("PATH", program.parent().expect("a directory"))
        .env("SCX_SCHEDULER", "scx_vmland")
        .env("SCX_FLAGS", "--slice-us 3000 --version")
        .output()
        .expect("bash");
    assert!(text(&out.stdout).starts_with("scx_vmland "), "{out:?}");
}

/// The packages' recipes name the version that they package.
#[test]
fn recipes_have_the_version_of_the_programs() {
    let version = env!("CARGO_PKG_VERSION");
    for (recipe, line) in [
        (
            include_str!("../packaging/rpm/scx-vmland.spec"),
            format!("Version:        {version}"),
        ),
        (
            include_str!("../packaging/arch/PKGBUILD"),
            format!("pkgver={version}"),
        ),
        (
            include_str!("../packaging/nix/default.nix"),
            format!("  version = \"{version}\";"),
        ),
    ] {
        assert!(recipe.lines().any(|it| it == line), "{line}");
    }
}

/// Before it looks at the host, so before anything is attached.
#[test]
fn a_broken_configuration_is_64_and_says_where() {
    let out = scx_vmland(&["--vm", "db-*:wieght=400"]);
    assert_eq!(out.status.code(), Some(64));
    let message = text(&out.stderr);
    assert!(
        message.contains("wieght") && message.contains("weight"),
        "{message}"
    );

    let out = scx_vmland(&["--config", "/nonexistent/config.toml"]);
    assert_eq!(out.status.code(), Some(64));
    let message = text(&out.stderr);
    assert!(message.contains("/nonexistent/config.toml"), "{message}");
}

#[test]
fn statistics_are_explained_without_a_scheduler() {
    let out = scx_vmland(&["--help-stats"]);
    assert_eq!(out.status.code(), Some(0));
    let help = text(&out.stdout);
    for name in [
        "yield_asked",
        "yield_honoured",
        "handoff_next",
        "pause_exits",
        "cpu_ns",
    ] {
        assert!(help.contains(name), "no {name} in:\n{help}");
    }
}

#[test]
fn a_kernel_without_sched_ext_is_said_so() {
    if Path::new("/sys/kernel/sched_ext").exists() {
        return; // tests/in_host starts the scheduler for real
    }
    let out = scx_vmland(&[]);
    assert_eq!(out.status.code(), Some(69));
    let message = text(&out.stderr);
    assert!(message.contains("sched_ext"), "{message}");
}
