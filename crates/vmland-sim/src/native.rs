// SPDX-License-Identifier: GPL-2.0-only
//! A scheduler's BPF part as native code.
//!
//! The C compiler makes a shared object of it and of `shim/`, once a process, when
//! the first simulated host needs it. Each host loads a copy of its own: the globals
//! of a BPF object are the state of one scheduler.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use libloading::Library;
use tempfile::TempDir;

use crate::abi::{Host, LAYOUT, Ops};

/// A scheduler's C code: a file that includes `scx/common.bpf.h` of `shim/` first and
/// `check.h` last, and the scheduler's BPF sources in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub file: PathBuf,
    /// Directories of the headers, beside `shim/`.
    pub include: Vec<PathBuf>,
}

pub struct Native {
    library: Library,
}

impl Native {
    pub fn load(source: &Source) -> Self {
        let original = built(source);
        // dlopen() would give the same instance for the same file.
        let copy = tempfile::NamedTempFile::new().expect("there is room for temporary files");
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
            .map_or_else(|e| panic!("{name}: {e}"), |symbol| *symbol)
    }

    pub fn has(&self, name: &str) -> bool {
        // SAFETY: only the address is taken.
        unsafe { self.library.get::<*mut ()>(name.as_bytes()) }.is_ok()
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

/// Where the objects are while this process runs, by what they were made of.
struct Built {
    dir: TempDir,
    objects: HashMap<Source, PathBuf>,
}

static BUILT: LazyLock<Mutex<Built>> = LazyLock::new(|| {
    Mutex::new(Built {
        dir: tempfile::tempdir().expect("there is room for temporary files"),
        objects: HashMap::new(),
    })
});

fn built(source: &Source) -> PathBuf {
    let mut built = BUILT.lock().expect("no compilation has failed");
    if let Some(object) = built.objects.get(source) {
        return object.clone();
    }
    let object = built.dir.path().join(format!("{}.so", built.objects.len()));
    build(source, &object);
    built.objects.insert(source.clone(), object.clone());
    object
}

fn build(source: &Source, object: &Path) {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let compiler = cc::Build::new()
        .cargo_metadata(false)
        .no_default_flags(true)
        .opt_level(2)
        .target(&target)
        .host(&target)
        .out_dir(object.parent().expect("it is in a directory"))
        .get_compiler();
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
    let include = [&shim].into_iter().chain(&source.include);
    // -w: BPF code draws warnings that mean nothing to it.
    let status = compiler
        .to_command()
        .args(["-std=gnu11", "-O2", "-g", "-w", "-fPIC", "-shared"])
        .args(["-fno-strict-aliasing", "-fno-delete-null-pointer-checks"])
        .args(include.flat_map(|dir| ["-I".as_ref(), dir.as_os_str()]))
        .arg("-o")
        .arg(object)
        .arg(&source.file)
        .status()
        .expect("the C compiler runs");
    let file = source.file.display();
    assert!(status.success(), "{file} does not compile");
}
