// SPDX-License-Identifier: GPL-2.0-only
//! A scheduler's BPF part as native code.
//!
//! The C compiler makes a shared object of it and of `shim/`, once a process, when
//! the first simulated host needs it. Each host loads a copy of its own: the globals
//! of a BPF object are the state of one scheduler.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;
use tempfile::TempDir;

use crate::abi::{Host, LAYOUT, Ops};

/// Which scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// bpf/vmland.bpf.c and bpf/ipi.bpf.c
    Vmland,
    /// The framework's main.bpf.c alone.
    Rustland,
}

pub struct Native {
    library: Library,
}

impl Native {
    pub fn load(object: Object) -> Self {
        let (dir, original) = built(object);
        // dlopen() would give the same instance for the same file.
        let copy = tempfile::NamedTempFile::new_in(dir).expect("the directory is writable");
        fs::copy(original, copy.path()).expect("the directory is writable");
        // SAFETY: our own object; it has no constructors.
        let library = unsafe { Library::new(copy.path()) }.expect("the object loads");
        let native = Native { library };
        // SAFETY: shim/check.h defines it so.
        let theirs = unsafe { &*native.global::<[u64; LAYOUT.len()]>("sim_layout") };
        let theirs = theirs.map(|n| n as usize);
        assert_eq!(
            theirs, LAYOUT,
            "shim/types.h or shim/host.h, and abi.rs, differ"
        );
        native
    }

    /// Address of a global variable.
    pub fn global<T>(&self, name: &str) -> *mut T {
        // SAFETY: only the address is taken.
        unsafe { self.library.get::<*mut T>(name.as_bytes()) }
            .map(|symbol| *symbol)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A function, as `T`.
    pub fn function<T: Copy>(&self, name: &str) -> T {
        // SAFETY: as `global()`; the caller vouches for `T`.
        *unsafe { self.library.get::<T>(name.as_bytes()) }.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The entries of an array map, which are zero at first (`shim/maps.h`).
    pub fn array<T>(&self, name: &str, entries: usize) -> *mut T {
        let memory = self.global::<*mut T>(name);
        // SAFETY: a map's first member is a pointer to its entries, or null.
        unsafe {
            if (*memory).is_null() {
                *memory = libc::calloc(entries, size_of::<T>()).cast();
            }
            *memory
        }
    }

    /// What the loader sets.
    pub fn set<T>(&self, name: &str, value: T) {
        // SAFETY: a variable of that type, by the caller's word.
        unsafe { *self.global(name) = value }
    }

    /// Gives it its host, and returns its programs.
    pub fn start(&self, host: *mut Host) -> Ops {
        // SAFETY: shim/host.h and shim/macros.h define them so.
        unsafe {
            *self.global::<*mut Host>("sim_host") = host;
            *self.global::<Ops>("rustland")
        }
    }
}

/// The directory that holds the objects while this process runs, and one of them.
fn built(object: Object) -> (&'static Path, PathBuf) {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let dir = BUILT
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("there is room for temporary files");
            for source in ["vmland", "rustland"] {
                build(source, dir.path());
            }
            dir
        })
        .path();
    let name = match object {
        Object::Vmland => "vmland.so",
        Object::Rustland => "rustland.so",
    };
    (dir, dir.join(name))
}

fn build(source: &str, dir: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shim = root.join("tests/sim/shim");
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let compiler = cc::Build::new()
        .cargo_metadata(false)
        .no_default_flags(true)
        .opt_level(2)
        .target(&target)
        .host(&target)
        .out_dir(dir)
        .get_compiler();
    // -w: BPF code draws warnings that mean nothing to it.
    let status = compiler
        .to_command()
        .args(["-std=gnu11", "-O2", "-g", "-w", "-fPIC", "-shared"])
        .args(["-fno-strict-aliasing", "-fno-delete-null-pointer-checks"])
        .arg("-I")
        .arg(&shim)
        .arg("-I")
        .arg(root.join("bpf"))
        // The framework's sources, as our build script has written them.
        .args(["-I", env!("OUT_DIR")])
        .arg("-o")
        .arg(dir.join(format!("{source}.so")))
        .arg(shim.join(format!("{source}.c")))
        .status()
        .expect("the C compiler runs");
    assert!(status.success(), "shim/{source}.c does not compile");
}
