// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the load, which is the whole user space of the guests.

use std::path::{Path, PathBuf};
use std::{env, process};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=load.c");
    // Asked for when the script runs: a copied build directory has one compiled elsewhere.
    let source = directory("CARGO_MANIFEST_DIR").join("load.c");
    compile(&source, &directory("OUT_DIR").join("load"));
}

/// Static, as there is nothing else in the guest.
fn compile(source: &Path, program: &Path) {
    const INSTALL: &str = "on Debian: apt-get install gcc libc6-dev";
    let compiler = cc::Build::new()
        .no_default_flags(true)
        .try_get_compiler()
        .unwrap_or_else(|e| fail(&format!("no C compiler ({e}); {INSTALL}")));
    let status = compiler
        .to_command()
        .args(["-O2", "-Wall", "-static", "-pthread", "-o"])
        .args([program, source])
        .status()
        .unwrap_or_else(|e| {
            let path = compiler.path().display();
            fail(&format!(
                "the C compiler {path} does not run ({e}); {INSTALL}"
            ))
        });
    if !status.success() {
        let source = source.display();
        fail(&format!(
            "{source} does not compile; its messages are above. It needs a static C library: {INSTALL}"
        ));
    }
}

/// As cargo names it in `variable`.
fn directory(variable: &str) -> PathBuf {
    env::var_os(variable)
        .unwrap_or_else(|| fail(&format!("{variable} is not set")))
        .into()
}

fn fail(why: &str) -> ! {
    eprintln!("error: {why}");
    process::exit(1);
}
