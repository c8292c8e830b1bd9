// SPDX-License-Identifier: GPL-2.0-only
//! Builds the user space of the guests: one static program, alone in the archive
//! that their kernel unpacks.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::{env, process};

/// A regular file that everybody may execute, as in `st_mode`.
const PROGRAM: u32 = 0o100_755;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=load.c");
    let out = directory("OUT_DIR");
    let program = out.join("load");
    // Asked for when the script runs: a copied build directory has one compiled elsewhere.
    compile(&directory("CARGO_MANIFEST_DIR").join("load.c"), &program);
    pack(&program, &out.join("guest.cpio"))
        .unwrap_or_else(|e| fail(&format!("cannot pack the guests' user space: {e}")));
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

fn pack(program: &Path, archive: &Path) -> io::Result<()> {
    let init = cpio::NewcBuilder::new("init").mode(PROGRAM);
    let inputs = [(init, File::open(program)?)];
    cpio::write_cpio(inputs.into_iter(), File::create(archive)?)?;
    Ok(())
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
