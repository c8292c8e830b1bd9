// SPDX-License-Identifier: GPL-2.0-only
//! The tool as a user meets it, on any machine; a little of it needs root.

mod config;
mod metrics;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::geteuid;

fn vmland(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmland"))
        .args(args)
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command() {
    let out = vmland(&["--help"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).contains("vms"));
    for (args, words) in [
        (&["vm", "--help"][..], &["show", "set", "unset"][..]),
        (&["vm", "set", "--help"], &["NAME", "key=value", "--save"]),
        (&["vm", "show", "--help"], &["--json", "--interval"]),
        (&["metrics", "--help"], &["ADDR", "/metrics"]),
        (&["why", "--help"], &["NAME", "--json", "--interval"]),
        (
            &["trace", "--help"],
            &["--for", "--output", "--records", "ui.perfetto.dev"],
        ),
        (&["config", "--help"], &["check", "reload", "show"]),
    ] {
        let help = text(&vmland(args).stdout);
        assert!(words.iter().all(|word| help.contains(word)), "{help}");
    }
}

#[test]
fn wrong_usage_is_64_and_says_what_is_allowed() {
    for args in [&[][..], &["nothing"], &["top", "--interval", "0"], &["why"]] {
        assert_eq!(vmland(args).status.code(), Some(64), "{args:?}");
    }
    // Whether a scheduler runs or not.
    let wrong: [(&[&str], &str); 6] = [
        (&["a"], "key=value"),
        (&["a", "weight"], "\"weight\": expected key=value"),
        (&["a", "weight=1", "weight=2"], "weight is given twice"),
        (&["a", "wieght=1"], "did you mean \"weight\"?"),
        (&["a", "cpus=3-0"], "did you mean \"0-3\"?"),
        (&["a", "slice=1ms", "slice_min=2ms"], "is longer than"),
    ];
    for (args, expected) in wrong {
        let out = vmland(&[&["vm", "set"], args].concat());
        assert_eq!(out.status.code(), Some(64), "{args:?}");
        let message = text(&out.stderr);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn workloads_that_cannot_be_run_are_refused_before_guests_start() {
    let refused: [(&[&str], i32, &str); 7] = [
        (&["--guests", "run"], 64, "--workload"),
        (
            &["--guests", "lock", "--workload", "sh"],
            64,
            "--guests run",
        ),
        (
            &["--guests", "run", "--workload-file", "/etc/passwd"],
            64,
            "--workload",
        ),
        (
            &["--guests", "run", "--workload", "no-such-program -x"],
            69,
            "no-such-program",
        ),
        (
            &[
                "--guests",
                "run",
                "--workload",
                "sh",
                "--workload-file",
                "/no/file",
            ],
            69,
            "/no/file",
        ),
        (
            &[
                "--guests",
                "run",
                "--workload",
                "sh",
                "--workload-file",
                "/etc/passwd:x",
            ],
            64,
            "DEST",
        ),
        (
            &[
                "--guests",
                "run",
                "--workload",
                "sh",
                "--workload-root",
                "/no/root",
            ],
            69,
            "/no/root",
        ),
    ];
    for (args, code, expected) in refused {
        let out = vmland(&[&["bench"], args].concat());
        let message = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn asking_a_scheduler_that_is_not_there_is_said_so() {
    if Path::new("/var/run/scx/root/stats").exists() {
        return;
    }
    for args in [
        &["vms"][..],
        &["vms", "--json"],
        &["why", "a"],
        &["why", "a", "--json"],
        &["trace", "-o", "/nowhere/trace.json"],
        &["vm", "show", "a"],
        &["vm", "set", "a", "weight=200"],
        &["vm", "set", "a", "weight=200", "--save"],
        &["vm", "unset", "a"],
        &["config", "reload"],
    ] {
        let out = vmland(args);
        assert_eq!(out.status.code(), Some(69), "{args:?}");
        let message = text(&out.stderr);
        assert!(message.contains("no scx_vmland is running"), "{message}");
    }
}

#[test]
fn top_needs_no_scheduler() {
    let top = |args: &[&str]| {
        let out = vmland(&[&["top", "--interval", "0.1"], args].concat());
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        text(&out.stdout)
    };
    for args in [&["--once"][..], &["--batch", "-n", "1"], &["-n", "1"]] {
        let table = top(args);
        assert!(
            table.contains(" CPUs · ") && table.contains("READY%"),
            "{table}"
        );
    }
    assert!(top(&["-n", "2"]).contains("Over 0 s:"));
    for line in top(&["--json", "-n", "2"]).lines() {
        let reading: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(reading["host"]["cpus"].as_u64() > Some(0));
        assert!(reading["vms"].is_array());
    }
    let csv = top(&["--csv", "--once"]);
    assert!(csv.starts_with("time,name,pid,vcpus,cpu_percent,"), "{csv}");
    let wrong: [&[&str]; 4] = [
        &["--json", "--csv"],
        &["--once", "-n", "2"],
        &["-n", "0"],
        &["--sort", "colour"],
    ];
    for args in wrong {
        let out = vmland(&[&["top"], args].concat());
        assert_eq!(out.status.code(), Some(64), "{args:?}");
    }
}

/// What it says of hosts is tested in vmland-host.
#[test]
fn doctor_says_the_same_to_programs() {
    let out = vmland(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let shown = vmland(&["doctor"]);
    let table = text(&shown.stdout);
    assert_eq!(table.lines().count(), findings.len(), "{table}");
    for (line, finding) in table.lines().zip(findings) {
        let verdict = finding["verdict"].as_str().expect("a verdict");
        assert!(line.trim_start().starts_with(verdict), "{line}: {finding}");
    }
    let code = i32::from(report["verdict"] == "refused");
    assert_eq!(
        (out.status.code(), shown.status.code()),
        (Some(code), Some(code))
    );
    if !Path::new("/sys/kernel/sched_ext").exists() {
        assert_eq!(code, 1, "{table}");
    }
}

/// Node labels of Kubernetes: a prefix that is a DNS name, a slash, and at most 63 characters of
/// names that it takes.
#[test]
fn doctor_labels_nodes() {
    let out = vmland(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let mut expected = vec![format!(
        "doctor={}",
        report["verdict"].as_str().expect("one")
    )];
    for finding in report["findings"].as_array().expect("findings") {
        let [check, verdict] = ["check", "verdict"].map(|key| finding[key].as_str().expect("text"));
        assert!(check.len() <= 63 && check.starts_with(|c: char| c.is_ascii_lowercase()));
        assert!(
            check.ends_with(|c: char| c.is_ascii_alphanumeric()),
            "{check}"
        );
        assert!(check.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        expected.push(format!("{check}={verdict}"));
    }
    let labels = vmland(&["doctor", "--labels"]);
    let lines = text(&labels.stdout);
    let names: Vec<_> = lines
        .lines()
        .map(|line| line.strip_prefix("scx-vmland/"))
        .collect();
    assert_eq!(
        names,
        expected
            .iter()
            .map(|name| Some(&**name))
            .collect::<Vec<_>>()
    );
    assert_eq!(labels.status.code(), out.status.code());
}

/// No scheduler is needed to compare these two, and four windows of a second would be all.
const HARMLESS: [&str; 9] = [
    "ab",
    "--schedulers",
    "a=,b=",
    "--rounds",
    "2",
    "--window",
    "1s",
    "--settle",
    "0s",
];

/// Says what is not tested, and why.
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("skipped: it needs root");
    }
    is_root
}

#[test]
fn help_of_ab_names_every_flag() {
    let out = vmland(&["ab", "--help"]);
    assert_eq!(out.status.code(), Some(0));
    let help = text(&out.stdout);
    for word in [
        "--window",
        "--rounds",
        "--schedulers",
        "--settle",
        "--seed",
        "--metric",
        "--export-json",
        "--export-csv",
        "--export-markdown",
        "--report",
        "--gate",
        "2 one is broken",
        "[WORKLOAD]",
    ] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
}

#[test]
fn wrong_usage_of_ab_is_64_and_says_what_is_wrong() {
    let wrong: [(&[&str], &str); 25] = [
        (&["--schedulers", "eevdf,scx_no"], "no program \"scx_no\""),
        (&["--schedulers", "eevdf"], "two schedulers at least"),
        (&["--schedulers", "a=,a="], "two schedulers are called a"),
        (&["--schedulers", "eevdf,=true"], "needs a name"),
        (&["--schedulers", "a=,b=sh 'c"], "unbalanced quotes"),
        (&["--schedulers", "a=,b=sh 1,2"], "quotes around a comma"),
        (
            &["--schedulers", "a=,b=sh '1,2',a="],
            "two schedulers are called a",
        ),
        (
            &["--schedulers", "a=", "--schedulers", "a="],
            "two schedulers are called a",
        ),
        (&["--window", "0.5s"], "1s"),
        (&["--window", "500ms"], "1s at least"),
        (&["--window", "abc"], "such as 2s"),
        (&["--settle", "2d"], "a day at most"),
        (&["--rounds", "1"], "2..=1000"),
        (&["--seed", "x"], "invalid digit"),
        (&["--metric", "x"], "NAME=COMMAND"),
        (&["--metric", "x="], "needs a command"),
        (&["--metric", "=true"], "needs a name"),
        (
            &["--metric", "x=echo 1", "--metric", "x-=echo 2"],
            "two metrics are called \"x\"",
        ),
        (&["--metric", "CPU pressure@=echo 1"], "\"CPU pressure\""),
        (&["--metric", "pause exits=echo 1"], "\"pause exits\""),
        (&["--gate", "pause_exits<1"], "METRIC<=RATIO"),
        (&["--gate", "pause_exits<=0"], "above 0"),
        (
            &["--gate", "pause_exit<=0.9"],
            "did you mean \"pause_exits\"?",
        ),
        (&["--gate", "cpu_share<=1"], "not compared by it"),
        (&["--", "no-such-load"], "no program \"no-such-load\""),
    ];
    for (args, expected) in wrong {
        let out = vmland(&[&["ab"], args].concat());
        assert_eq!(out.status.code(), Some(64), "{args:?}");
        let message = text(&out.stderr);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

#[test]
fn ab_measures_nothing_that_it_could_not_write() {
    if !is_root() {
        return;
    }
    let nowhere: [(&[&str], &str); 2] = [
        (&["--report", "/proc/none"], "cannot make /proc/none"),
        (&["--export-json", "/proc/a/b"], "cannot write /proc/a/b"),
    ];
    for (args, expected) in nowhere {
        let out = vmland(&[&HARMLESS[..], args].concat());
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        let message = text(&out.stderr);
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(!message.contains("window 1"), "{args:?}: {message}");
    }
}

/// Nothing is attached, and the metric is the same in all windows.
#[test]
fn the_gate_decides_the_exit_code() {
    if !is_root() {
        return;
    }
    for (gate, rounds, code, says) in [
        (
            "always>=1,always<=1",
            "4",
            0,
            "gate: b, always<=1: met, 1.00 [1.00..1.00]",
        ),
        (
            "always>=1,always<=0.9",
            "4",
            2,
            "gate: b, always<=0.9: broken",
        ),
        // Too few windows to compare.
        (
            "always>=1",
            "2",
            3,
            "gate: b, always>=1: open, not compared",
        ),
    ] {
        let metric = ["--metric", "always@=echo 7", "--rounds", rounds];
        let harmless = HARMLESS
            .into_iter()
            .filter(|arg| !["--rounds", "2"].contains(arg));
        let args: Vec<_> = harmless.chain(metric).chain(["--gate", gate]).collect();
        let out = vmland(&args);
        let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "{gate}: {stdout}{stderr}");
        assert!(stdout.contains(says), "{gate}: {stdout}");
    }
}

#[test]
fn ab_without_root_is_77() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmland"));
    command.args(HARMLESS);
    if geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let out = match command.output() {
        Ok(out) => out,
        Err(e) => {
            eprintln!("skipped: the program lies where only root may run it: {e}");
            return;
        }
    };
    assert_eq!(out.status.code(), Some(77));
    let message = text(&out.stderr);
    assert!(message.contains("root only"), "{message}");
}

#[test]
fn ab_on_a_kernel_without_sched_ext_is_69_root_or_not() {
    if Path::new("/sys/kernel/sched_ext").exists() {
        return; // tests/in_host compares schedulers for real
    }
    let out = vmland(&["ab"]);
    assert_eq!(out.status.code(), Some(69));
    let message = text(&out.stderr);
    assert!(
        message.contains("this kernel has no sched_ext"),
        "{message}"
    );
}
