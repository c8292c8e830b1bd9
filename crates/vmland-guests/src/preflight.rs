// SPDX-License-Identifier: GPL-2.0-only
//! Can these guests be started on this host?
//!
//! Answered before the first of them is, in this order: is there QEMU, is there
//! KVM, a kernel image, the CPUs asked for, and enough memory for all guests? A
//! pass is no promise: memory may be used up meanwhile, and only QEMU knows what
//! QEMU can do.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vmland_base::cpus;
use vmland_base::exit;
use vmland_base::system_file::{Unreadable, read};

use super::archive;

/// Memory of a guest without a workload, in MiB: a kernel and one small program.
pub const GUEST_MEMORY_MIB: u64 = 192;

/// What QEMU needs beside its guest's memory, in MiB, its caches and page tables
/// included. Rounded up: a host that swaps measures its disk.
const QEMU_MEMORY_MIB: u64 = 64;

/// What an administrator may set.
#[derive(Clone, Debug)]
pub struct Options {
    /// QEMU: a path, or a name that is looked up in `PATH`.
    pub qemu: PathBuf,
    /// The guests' kernel image. None: the host's own.
    pub kernel: Option<PathBuf>,
    /// CPUs of the host that QEMU's threads are kept on, such as `1-2,5`. None:
    /// any.
    pub cpus: Option<String>,
    /// Whether the guests have the paravirtual TLB flush, IPIs and yield. Their
    /// locks never are paravirtual.
    pub pv: bool,
    /// The guests' user space, an archive; as [`archive::userspace`] makes it, except where
    /// somebody tries another load.
    pub userspace: Vec<u8>,
    /// What the guests' kernels unpack over their user space, as
    /// `workload::pack` makes it; empty for nothing.
    pub archive: Vec<u8>,
    /// Where `/dev`, `/proc`, `/sys` and `/boot` are looked for; `/`, except in tests.
    pub root: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            qemu: "qemu-system-x86_64".into(),
            kernel: None,
            cpus: None,
            pv: true,
            userspace: archive::userspace(),
            archive: Vec::new(),
            root: "/".into(),
        }
    }
}

/// What all guests have in common, found and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub qemu: PathBuf,
    pub kernel: PathBuf,
    /// Never empty.
    pub cpus: Option<BTreeSet<usize>>,
    pub pv: bool,
    /// As in [`Options`].
    pub userspace: Vec<u8>,
    /// As in [`Options`].
    pub archive: Vec<u8>,
}

impl Machine {
    /// Memory of each guest, in MiB: while it boots, it holds the archive and what it
    /// has unpacked of it.
    pub fn guest_memory_mib(&self) -> u64 {
        GUEST_MEMORY_MIB + 2 * self.archive_mib()
    }

    fn archive_mib(&self) -> u64 {
        (self.archive.len() as u64).div_ceil(1 << 20)
    }
}

/// Why the guests cannot be started. `Display` says what is wrong and what to do
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "There is no {} to start guests with. Install QEMU (Debian: apt-get install qemu-system-x86), or say where it is (--qemu FILE).",
        .0.display()
    )]
    NoQemu(PathBuf),

    #[error(
        "There is no /dev/kvm. Load KVM (modprobe kvm_intel, or kvm_amd), after enabling virtualization in the firmware, or on the host of this virtual machine."
    )]
    NoKvm,

    #[error("/dev/kvm cannot be opened: {0}. Run as root, or as a member of the group kvm.")]
    KvmClosed(io::Error),

    #[error(
        "There is no kernel image for the guests: neither {} is there. Name one (--kernel FILE).",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor ")
    )]
    NoKernel {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },

    #[error(
        "The guests' kernel image {} cannot be read: {source}. Run as root, or name another (--kernel FILE).",
        path.display()
    )]
    KernelUnreadable { path: PathBuf, source: io::Error },

    #[error(
        "\"{given}\" names no CPUs to keep the guests on. This host has {online}: name some of them, such as --cpus {online}."
    )]
    BadCpus {
        given: String,
        /// The host's, as a list.
        online: String,
    },

    #[error(
        "{guests} guests need {needed_mib} MiB of memory, and {available_mib} MiB are available. Start fewer, or free some."
    )]
    NoMemory {
        guests: usize,
        needed_mib: u64,
        available_mib: u64,
    },

    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Refusal {
    /// The exit code for this refusal, one of [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Refusal::NoQemu(_)
            | Refusal::NoKvm
            | Refusal::NoKernel { .. }
            | Refusal::NoMemory { .. } => exit::UNAVAILABLE,
            Refusal::KvmClosed(source) | Refusal::KernelUnreadable { source, .. } => {
                match source.kind() {
                    io::ErrorKind::PermissionDenied => exit::NOPERM,
                    _ => exit::UNAVAILABLE,
                }
            }
            Refusal::BadCpus { .. } => exit::USAGE,
            Refusal::Unreadable(_) => exit::FAILURE,
        }
    }
}

/// Tells whether so many `guests` can be started, and with what.
///
/// # Errors
///
/// The first [`Refusal`], in the order of the module's text.
pub fn check(guests: usize, options: &Options) -> Result<Machine, Refusal> {
    let root = &options.root;
    let path = env::var_os("PATH").unwrap_or_default();
    let qemu =
        program(&options.qemu, &path).ok_or_else(|| Refusal::NoQemu(options.qemu.clone()))?;
    kvm(root)?;
    let kernel = kernel(root, options.kernel.as_deref())?;
    let cpus = options
        .cpus
        .as_deref()
        .map(|list| host_cpus(root, list))
        .transpose()?;
    let machine = Machine {
        qemu,
        kernel,
        cpus,
        pv: options.pv,
        userspace: options.userspace.clone(),
        archive: options.archive.clone(),
    };
    memory(root, guests, &machine)?;
    Ok(machine)
}

/// As a shell finds it: what contains a slash is not looked up in `path`.
fn program(name: &Path, path: &OsStr) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if name.components().count() > 1 {
        vec![name.to_owned()]
    } else {
        env::split_paths(path).map(|dir| dir.join(name)).collect()
    };
    candidates.into_iter().find(|file| is_program(file))
}

/// Whether it is a file that may be executed.
pub(super) fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn kvm(root: &Path) -> Result<(), Refusal> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(root.join("dev/kvm"));
    match open {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Refusal::NoKvm),
        Err(e) => Err(Refusal::KvmClosed(e)),
    }
}

/// The one given, or the host's own, which is where distributions put it or, in
/// the emulated host of the tests, `/boot/vmlinux`.
fn kernel(root: &Path, given: Option<&Path>) -> Result<PathBuf, Refusal> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let release = read(&root.join("proc/sys/kernel/osrelease"))?;
            let boot = root.join("boot");
            let tried = vec![
                boot.join(format!("vmlinuz-{}", release.trim())),
                boot.join("vmlinux"),
            ];
            match tried.iter().find(|path| path.exists()) {
                Some(path) => path.clone(),
                None => return Err(Refusal::NoKernel { tried }),
            }
        }
    };
    match File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(Refusal::KernelUnreadable {
            path,
            source: io::Error::new(io::ErrorKind::InvalidInput, "not a file"),
        }),
        Err(source) => Err(Refusal::KernelUnreadable { path, source }),
    }
}

fn host_cpus(root: &Path, given: &str) -> Result<BTreeSet<usize>, Refusal> {
    let path = root.join("sys/devices/system/cpu/online");
    let online = read(&path)?;
    let of_host =
        cpus::parse(&online).ok_or_else(|| Unreadable::invalid(&path, "not a list of CPUs"))?;
    cpus::parse(given)
        .filter(|cpus| !cpus.is_empty() && cpus.is_subset(&of_host))
        .ok_or_else(|| Refusal::BadCpus {
            given: given.to_owned(),
            online: online.trim().to_owned(),
        })
}

fn memory(root: &Path, guests: usize, machine: &Machine) -> Result<(), Refusal> {
    let path = root.join("proc/meminfo");
    let meminfo = read(&path)?;
    let available_kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| Unreadable::invalid(&path, "no MemAvailable"))?;
    let available_mib = available_kib / 1024;
    // QEMU keeps the archive for as long as it runs.
    let guest_mib = machine.guest_memory_mib() + QEMU_MEMORY_MIB + machine.archive_mib();
    let needed_mib = guests as u64 * guest_mib;
    if needed_mib > available_mib {
        return Err(Refusal::NoMemory {
            guests,
            needed_mib,
            available_mib,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    /// A host that passes, with room for four guests.
    fn good() -> Tree {
        Tree::new()
            .put("dev/kvm", "")
            .put("proc/sys/kernel/osrelease", "6.18.2-1-amd64\n")
            .put(
                "proc/meminfo",
                "MemFree: 1 kB\nMemAvailable:    1048576 kB\n",
            )
            .put("sys/devices/system/cpu/online", "0-3\n")
            .put("boot/vmlinuz-6.18.2-1-amd64", "")
    }

    trait Checked {
        fn options(&self) -> Options;
        fn check(&self) -> Result<Machine, Refusal>;
        fn with_cpus(&self, cpus: &str) -> Result<Machine, Refusal>;
    }

    impl Checked for Tree {
        /// Every machine that runs tests has a shell, to play QEMU.
        fn options(&self) -> Options {
            Options {
                qemu: "sh".into(),
                root: self.path().into(),
                ..Options::default()
            }
        }

        fn check(&self) -> Result<Machine, Refusal> {
            check(4, &self.options())
        }

        fn with_cpus(&self, cpus: &str) -> Result<Machine, Refusal> {
            let options = Options {
                cpus: Some(cpus.into()),
                ..self.options()
            };
            check(4, &options)
        }
    }

    #[test]
    fn a_good_host() {
        let tree = good();
        let machine = tree.check().unwrap();
        assert!(machine.qemu.is_absolute() && machine.qemu.ends_with("sh"));
        assert_eq!(
            machine.kernel,
            tree.path().join("boot/vmlinuz-6.18.2-1-amd64")
        );
        assert_eq!(machine.cpus, None);

        let machine = tree.with_cpus("1-2").unwrap();
        assert_eq!(machine.cpus, Some(BTreeSet::from([1, 2])));
    }

    #[test]
    fn no_qemu() {
        let tree = good().put("not-executable", "");
        for qemu in ["no-such-qemu".into(), tree.path().join("not-executable")] {
            let options = Options {
                qemu,
                ..tree.options()
            };
            let refusal = check(1, &options).unwrap_err();
            assert!(matches!(refusal, Refusal::NoQemu(_)), "{refusal}");
            assert!(refusal.to_string().contains("apt-get install"));
            assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
        }
    }

    #[test]
    fn no_kvm() {
        let refusal = good().remove("dev/kvm").check().unwrap_err();
        assert!(matches!(refusal, Refusal::NoKvm), "{refusal}");

        // A directory cannot be opened for writing, not even by root.
        let tree = good().remove("dev/kvm").put("dev/kvm/x", "");
        let refusal = tree.check().unwrap_err();
        assert!(matches!(refusal, Refusal::KvmClosed(_)), "{refusal}");
        let forbidden = Refusal::KvmClosed(io::ErrorKind::PermissionDenied.into());
        assert_eq!(forbidden.exit_code(), exit::NOPERM);
    }

    #[test]
    fn the_kernel() {
        let tree = good().remove("boot/vmlinuz-6.18.2-1-amd64");
        let refusal = tree.check().unwrap_err();
        assert!(matches!(refusal, Refusal::NoKernel { .. }), "{refusal}");
        assert!(refusal.to_string().contains("vmlinuz-6.18.2-1-amd64 nor"));

        let tree = tree.put("boot/vmlinux", "").put("other", "");
        assert_eq!(
            tree.check().unwrap().kernel,
            tree.path().join("boot/vmlinux")
        );

        let kernel = |path: &str| {
            let options = Options {
                kernel: Some(tree.path().join(path)),
                ..tree.options()
            };
            check(1, &options)
        };
        assert_eq!(kernel("other").unwrap().kernel, tree.path().join("other"));
        for path in ["missing", "boot"] {
            let refusal = kernel(path).unwrap_err();
            assert!(
                matches!(refusal, Refusal::KernelUnreadable { .. }),
                "{refusal}"
            );
            assert!(refusal.to_string().contains("--kernel"), "{refusal}");
        }
    }

    #[test]
    fn cpus_that_are_not_there() {
        let tree = good();
        for list in ["", "4", "0-4", "x"] {
            let refusal = tree.with_cpus(list).unwrap_err();
            assert!(
                matches!(refusal, Refusal::BadCpus { .. }),
                "{list}: {refusal}"
            );
            assert!(refusal.to_string().contains("0-3"), "{refusal}");
            assert_eq!(refusal.exit_code(), exit::USAGE);
        }
    }

    #[test]
    fn memory_for_all() {
        let tree = good();
        let refusal = check(5, &tree.options()).unwrap_err();
        let Refusal::NoMemory {
            needed_mib,
            available_mib,
            ..
        } = refusal
        else {
            panic!("{refusal}");
        };
        assert_eq!((needed_mib, available_mib), (1280, 1024));

        let with_archive = |guests| {
            let options = Options {
                archive: vec![0; (3 << 20) + 1],
                ..tree.options()
            };
            check(guests, &options)
        };
        assert_eq!(with_archive(3).unwrap().guest_memory_mib(), 200);
        let refusal = with_archive(4).unwrap_err();
        assert!(refusal.to_string().contains("1072 MiB"), "{refusal}");
    }

    #[test]
    fn unreadable() {
        for (path, content) in [
            ("proc/meminfo", "MemFree: 1 kB\n"),
            ("proc/meminfo", "MemAvailable: much\n"),
            ("sys/devices/system/cpu/online", "all"),
        ] {
            let refusal = good().put(path, content).with_cpus("0").unwrap_err();
            let Refusal::Unreadable(Unreadable { path: p, .. }) = refusal else {
                panic!("{refusal}");
            };
            assert!(p.ends_with(path));
        }
        let refusal = good().remove("proc/meminfo").check().unwrap_err();
        assert!(matches!(refusal, Refusal::Unreadable(_)), "{refusal}");
    }
}
