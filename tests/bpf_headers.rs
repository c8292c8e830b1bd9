// SPDX-License-Identifier: GPL-2.0-only
//! Every header of bpf/ stands alone: it compiles as the only file of a program. And every
//! program compiles for the other architecture, where nobody has run it yet.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{available_parallelism, scope};

use libbpf_rs::libbpf_sys::API_HEADERS;
use tempfile::TempDir;

const ARCH: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86"
};

/// The BPF clang, with the flags of the build as far as the frontend takes notice.
fn clang(libbpf: &Path, arch: &str) -> Command {
    let out = Path::new(env!("OUT_DIR"));
    let scx = out.join("scx_utils-bpf_h");
    let mut clang = Command::new(env::var("BPF_CLANG").unwrap_or("clang".into()));
    clang
        .args(["-target", "bpf", "-mcpu=v4", "-Wall", "-Werror"])
        // Functions and variables of a header are for those that include it.
        .args(["-Wno-unused", "-Wno-compare-distinct-pointer-types"])
        // As scx/common.bpf.h defines it before it includes vmlinux.h.
        .arg("-DBPF_NO_KFUNC_PROTOTYPES=")
        .arg(format!("-D__TARGET_ARCH_{arch}"));
    for dir in [out, &scx.join("arch").join(arch), &scx, libbpf] {
        clang.arg("-I").arg(dir);
    }
    clang
}

/// What clang prints if it fails.
fn run(clang: &mut Command) -> Result<(), String> {
    let output = clang.output().expect("the BPF clang runs");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn headers(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            found.extend(headers(&path));
        } else if path.extension().is_some_and(|ending| ending == "h") {
            found.push(path);
        }
    }
    found
}

fn libbpf_headers() -> TempDir {
    let dir = tempfile::tempdir().expect("there is room for temporary files");
    let bpf = dir.path().join("bpf");
    fs::create_dir(&bpf).expect("the directory is writable");
    for (name, text) in API_HEADERS {
        fs::write(bpf.join(name), text).expect("the directory is writable");
    }
    dir
}

#[test]
fn every_program_compiles_for_arm64() {
    let dir = libbpf_headers();
    let bpf = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf");
    let compile = |program: &str| {
        run(clang(dir.path(), "arm64")
            .args(["-g", "-O2", "-o", "/dev/null", "-c"])
            .arg(bpf.join(program)))
    };
    for program in [
        "vmland.bpf.c",
        "classify/kvm.bpf.c",
        "ipi/ipi.bpf.c",
        "placement/prefer.bpf.c",
    ] {
        compile(program).unwrap_or_else(|said| panic!("{program}: {said}"));
    }
}

#[test]
fn every_header_stands_alone() {
    let dir = libbpf_headers();
    let libbpf = dir.path();
    // The kernel's types take most of the time, so they are compiled once.
    let types = libbpf.join("vmlinux.pch");
    let vmlinux = format!("{}/scx_utils-bpf_h/arch/{ARCH}/vmlinux.h", env!("OUT_DIR"));
    run(clang(libbpf, ARCH)
        .args(["-x", "c-header", &vmlinux, "-o"])
        .arg(&types))
    .unwrap();

    let headers = headers(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf"));
    assert!(headers.len() > 30, "{headers:?}");
    let check = |header: &PathBuf| {
        run(clang(libbpf, ARCH)
            .arg("-include-pch")
            .arg(&types)
            .args(["-fsyntax-only", "-x", "c"])
            .arg(header))
    };
    let threads = available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = scope(|scope| {
        let parts: Vec<_> = headers
            .chunks(headers.len().div_ceil(threads))
            .map(|part| scope.spawn(move || part.iter().map(check).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("no panic"))
            .filter_map(Result::err)
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
