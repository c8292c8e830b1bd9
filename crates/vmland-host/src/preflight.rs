// SPDX-License-Identifier: GPL-2.0-only
//! May the scheduler attach to this host?
//!
//! Answered before anything is attached, from `/proc` and `/sys` alone, so that a host that
//! cannot run the scheduler gets a sentence and an exit code instead of a libbpf log. What can
//! be told without privileges is told first: a user without root learns that the kernel lacks
//! sched_ext before being sent to look for root.
//!
//! | order | question | refusal |
//! | --- | --- | --- |
//! | 1 | is the kernel new enough? | [`Refusal::KernelTooOld`] |
//! | 2 | has it sched_ext? | [`Refusal::NoSchedExt`] |
//! | 3 | does it export its BTF? | [`Refusal::NoBtf`] |
//! | 4 | are all CPUs in scheduling domains? | [`Refusal::IsolatedCpus`] |
//! | 5 | are we in the initial PID namespace? | [`Refusal::PidNamespace`] |
//! | 6 | may we load and attach? | [`Refusal::NoPrivilege`] |
//! | 7 | is the place free? | [`Refusal::OtherScheduler`] |
//!
//! A pass is no promise: another scheduler may attach in between, and only the verifier knows
//! what the verifier thinks.

use std::fs;
use std::path::Path;

use serde::Serialize;
use vmland_base::exit;
use vmland_base::system_file::{Unreadable, read};

use crate::capability as cap;

/// Oldest supported kernel, as (major, minor): the first with `scx_bpf_select_cpu_and()`.
pub const OLDEST_KERNEL: (u32, u32) = (6, 16);

/// Inode number of the initial PID namespace, a constant: `PID_NS_INIT_INO` in
/// `uapi/linux/nsfs.h`, `PROC_PID_INIT_INO` in `linux/proc_ns.h` of older kernels.
const PID_NS_INIT_INO: u32 = 0xEFFF_FFFC;

/// Inode number of the initial user namespace: `USER_NS_INIT_INO`, as above.
const USER_NS_INIT_INO: u32 = 0xEFFF_FFFD;

/// The kernel's types, below the root.
pub const BTF: &str = "sys/kernel/btf/vmlinux";

const STATUS: &str = "proc/self/status";

/// A host that the scheduler may attach to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The kernel's release as it calls itself, e.g. `6.18.2-1-amd64`.
    pub release: String,
    /// (major, minor) of [`Host::release`].
    pub version: (u32, u32),
}

/// Why the scheduler may not attach. `Display` says what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Capabilities are missing from the effective set, or are held in a user namespace other
    /// than the initial one, where they do not count.
    #[error(
        "Attaching needs {} in the initial user namespace. Run as root on the host (sudo), or grant them to the service (AmbientCapabilities=).",
        missing.join(", ")
    )]
    NoPrivilege {
        /// Names of the missing capabilities, e.g. `CAP_BPF`. Never empty.
        missing: Vec<&'static str>,
    },

    /// Not in the initial PID namespace. BPF compares the initial namespace's PIDs with the one
    /// that the scheduler believes to have, and would not find it.
    #[error(
        "Running inside a PID namespace, where the scheduler would not find its own task. Start it on the host, or in a container that shares the host's PID namespace (--pid=host)."
    )]
    PidNamespace,

    /// Older than [`OLDEST_KERNEL`].
    #[error(
        "Kernel {release} is too old. Boot {}.{} or newer.",
        OLDEST_KERNEL.0,
        OLDEST_KERNEL.1
    )]
    KernelTooOld {
        /// The kernel's release.
        release: String,
    },

    /// The kernel was built without sched_ext.
    #[error(
        "Kernel {release} was built without sched_ext. Boot one with CONFIG_SCHED_CLASS_EXT=y."
    )]
    NoSchedExt {
        /// The kernel's release.
        release: String,
    },

    /// Another sched_ext scheduler is attached, or is being attached or removed.
    #[error(
        "The place is taken by {} (sched_ext is {state}). Stop that scheduler, or its service (e.g. scx.service), and try again.",
        if name.is_empty() { "another scheduler" } else { name }
    )]
    OtherScheduler {
        /// The scheduler's name as the kernel has it; empty if it is just coming or going.
        name: String,
        /// sched_ext's state: `enabled`, `enabling` or `disabling`.
        state: String,
    },

    /// `isolcpus=` takes CPUs out of the scheduling domains, with which sched_ext refuses to
    /// attach.
    #[error(
        "The kernel was booted with {parameter}, with which sched_ext does not attach. Boot without it; a cpuset isolates CPUs as well (cpuset.cpus.partition = isolated)."
    )]
    IsolatedCpus {
        /// The parameter as it is on the kernel's command line.
        parameter: String,
    },

    /// `/sys/kernel/btf/vmlinux` is missing: nothing can be relocated to this kernel.
    #[error(
        "The kernel does not export its BTF (/sys/kernel/btf/vmlinux). Boot one with CONFIG_DEBUG_INFO_BTF=y."
    )]
    NoBtf,

    /// A file that every Linux has could not be read or understood.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Refusal {
    /// The exit code for this refusal, one of [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Refusal::NoPrivilege { .. } => exit::NOPERM,
            Refusal::PidNamespace
            | Refusal::KernelTooOld { .. }
            | Refusal::NoSchedExt { .. }
            | Refusal::IsolatedCpus { .. }
            | Refusal::NoBtf => exit::UNAVAILABLE,
            Refusal::OtherScheduler { .. } => exit::TEMPFAIL,
            Refusal::Unreadable(_) => exit::FAILURE,
        }
    }
}

/// Tells whether the scheduler may attach to the host whose `/proc` and `/sys` are below `root`
/// (`/`, except in tests).
///
/// # Errors
///
/// The first [`Refusal`] in the order of the module's table.
pub fn check(root: &Path) -> Result<Host, Refusal> {
    let host = capable(root)?;
    place_free(root)?;
    Ok(host)
}

/// As [`check`], but another scheduler may be attached.
///
/// # Errors
///
/// All but [`Refusal::OtherScheduler`].
pub fn capable(root: &Path) -> Result<Host, Refusal> {
    let host = kernel(root)?;
    sched_ext(root, &host)?;
    btf(root)?;
    domains(root)?;
    pid_namespace(root)?;
    privileges(root)?;
    Ok(host)
}

/// Question 1: is the kernel new enough?
///
/// # Errors
///
/// [`Refusal::KernelTooOld`].
pub fn kernel(root: &Path) -> Result<Host, Refusal> {
    let path = root.join("proc/sys/kernel/osrelease");
    let release = read(&path)?.trim().to_owned();
    let version =
        version(&release).ok_or_else(|| Unreadable::invalid(&path, "not a kernel release"))?;
    if version < OLDEST_KERNEL {
        return Err(Refusal::KernelTooOld { release });
    }
    Ok(Host { release, version })
}

/// Question 2: has this host's kernel sched_ext?
///
/// # Errors
///
/// [`Refusal::NoSchedExt`].
pub fn sched_ext(root: &Path, host: &Host) -> Result<(), Refusal> {
    if sched_ext_available(root) {
        return Ok(());
    }
    // Without sysfs nothing is known about the kernel.
    let path = root.join("sys/kernel");
    match fs::metadata(&path) {
        Err(source) => Err(Unreadable { path, source }.into()),
        Ok(_) => Err(Refusal::NoSchedExt {
            release: host.release.clone(),
        }),
    }
}

/// Question 3: does the kernel export its BTF?
///
/// # Errors
///
/// [`Refusal::NoBtf`].
pub fn btf(root: &Path) -> Result<(), Refusal> {
    match root.join(BTF).exists() {
        true => Ok(()),
        false => Err(Refusal::NoBtf),
    }
}

/// Question 4: are all CPUs in scheduling domains?
///
/// # Errors
///
/// [`Refusal::IsolatedCpus`].
pub fn domains(root: &Path) -> Result<(), Refusal> {
    match isolated_from_domains(root) {
        Some(parameter) => Err(Refusal::IsolatedCpus { parameter }),
        None => Ok(()),
    }
}

/// Question 5: are we in the initial PID namespace?
///
/// # Errors
///
/// [`Refusal::PidNamespace`].
pub fn pid_namespace(root: &Path) -> Result<(), Refusal> {
    match in_initial_pid_namespace(root, &read(&root.join(STATUS))?) {
        true => Ok(()),
        false => Err(Refusal::PidNamespace),
    }
}

/// Question 6: may we load and attach?
///
/// # Errors
///
/// [`Refusal::NoPrivilege`].
pub fn privileges(root: &Path) -> Result<(), Refusal> {
    let path = root.join(STATUS);
    let missing = missing_capabilities(root, effective_capabilities(&path, &read(&path)?)?);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Refusal::NoPrivilege { missing }),
    }
}

/// Question 7: is no other scheduler attached?
///
/// # Errors
///
/// [`Refusal::OtherScheduler`].
pub fn place_free(root: &Path) -> Result<(), Refusal> {
    let state = read(&root.join("sys/kernel/sched_ext/state"))?;
    let state = state.trim();
    if state != "disabled" {
        // The directory of the attached scheduler comes and goes with it.
        let name = read(&root.join("sys/kernel/sched_ext/root/ops")).unwrap_or_default();
        return Err(Refusal::OtherScheduler {
            name: name.trim().to_owned(),
            state: state.to_owned(),
        });
    }
    Ok(())
}

/// Tells whether the kernel has sched_ext, attached to or not. Needs no privileges. `root` is
/// `/`, except in tests.
pub fn sched_ext_available(root: &Path) -> bool {
    root.join("sys/kernel/sched_ext/state").exists()
}

/// The `isolcpus=` of the kernel's command line, if it is about scheduling domains: without
/// flags it is (Documentation/admin-guide/kernel-parameters.txt).
fn isolated_from_domains(root: &Path) -> Option<String> {
    let line = read(&root.join("proc/cmdline")).unwrap_or_default();
    line.split_whitespace()
        .rfind(|word| {
            word.strip_prefix("isolcpus=").is_some_and(|value| {
                let mut flags = value
                    .split(',')
                    .take_while(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
                    .peekable();
                flags.peek().is_none() || flags.any(|flag| flag == "domain")
            })
        })
        .map(str::to_owned)
}

/// (major, minor) of a release such as `6.16.0-rc1+` or `7.0-custom`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..end].parse().ok()?))
}

/// The value of a `Key:\tvalue` line of `/proc/PID/status`.
fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(k, _)| *k == key)
        .map(|(_, value)| value.trim())
}

/// Inode number of one of our namespaces, from the target of its link, `pid:[4026531836]`.
fn namespace(root: &Path, kind: &str) -> Option<u32> {
    let target = fs::read_link(root.join("proc/self/ns").join(kind)).ok()?;
    let target = target.to_str()?;
    target
        .strip_prefix(kind)?
        .strip_prefix(":[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// `NSpid:` lists our PIDs from the namespace of the *mounted* procfs inwards. So it gives us
/// away where the host's `/proc` is seen from a container; in a container's own `/proc` it has
/// one value and the inode number decides. A kernel without namespaces has neither.
fn in_initial_pid_namespace(root: &Path, status: &str) -> bool {
    let nested = field(status, "NSpid").is_some_and(|pids| pids.split_whitespace().count() > 1);
    !nested && namespace(root, "pid").is_none_or(|inode| inode == PID_NS_INIT_INO)
}

fn effective_capabilities(path: &Path, status: &str) -> Result<u64, Unreadable> {
    field(status, "CapEff")
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| Unreadable::invalid(path, "no effective capabilities (CapEff)"))
}

/// Names what is missing from `effective` to load, attach and run the scheduler:
///
/// - `CAP_BPF` for programs and struct_ops maps (`bpf_prog_load()`, `map_create()`);
/// - `CAP_PERFMON` for struct_ops and tracing programs (`is_perfmon_prog_type()`).
///   `CAP_SYS_ADMIN` stands in for either (`bpf_token_capable()`);
/// - `CAP_SYS_ADMIN` itself if KVM is a module: only it may enumerate the modules' BTF
///   (`bpf_obj_get_next_id()`). libbpf carries on without it, and no vCPU would be recognized;
/// - `CAP_SYS_RESOURCE`, unless the hard limit of locked memory is unlimited already: the
///   framework raises it after attaching, and panics if it cannot. With the limit raised,
///   `mlockall()` needs no `CAP_IPC_LOCK`.
///
/// All of them count in the initial user namespace only.
fn missing_capabilities(root: &Path, effective: u64) -> Vec<&'static str> {
    let effective = match namespace(root, "user") {
        Some(inode) if inode != USER_NS_INIT_INO => 0,
        _ => effective,
    };
    let has = |bit: u32| effective & (1 << bit) != 0;

    let mut missing = Vec::new();
    if !has(cap::SYS_ADMIN) {
        if !has(cap::BPF) {
            missing.push("CAP_BPF");
        }
        if !has(cap::PERFMON) {
            missing.push("CAP_PERFMON");
        }
        if root.join("sys/kernel/btf/kvm").exists() {
            missing.push("CAP_SYS_ADMIN");
        }
    }
    if !has(cap::SYS_RESOURCE) && !may_lock_all_memory(root) {
        missing.push("CAP_SYS_RESOURCE");
    }
    missing
}

/// Tells whether the hard limit of locked memory is unlimited (`LimitMEMLOCK=infinity` in a
/// service unit).
fn may_lock_all_memory(root: &Path) -> bool {
    let Ok(limits) = read(&root.join("proc/self/limits")) else {
        return false;
    };
    // Max locked memory   <soft>   <hard>   bytes
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|limits| limits.split_whitespace().nth(1))
        == Some("unlimited")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use vmland_test_tree::Tree;

    /// A host that passes: root, sched_ext without a scheduler.
    fn good() -> Tree {
        Tree::new()
            .put("proc/sys/kernel/osrelease", "6.18.2-1-amd64\n")
            .put("proc/self/status", status("000001ffffffffff", "4242"))
            .put("sys/kernel/sched_ext/state", "disabled\n")
            .put("sys/kernel/btf/vmlinux", "")
            .link("proc/self/ns/pid", "pid:[4026531836]")
            .link("proc/self/ns/user", "user:[4026531837]")
    }

    trait Checked {
        fn capabilities(self, bits: &[u32]) -> Self;
        fn check(&self) -> Result<Host, Refusal>;
        fn refusal(&self) -> Refusal;
        fn missing(&self) -> Vec<&'static str>;
    }

    impl Checked for Tree {
        fn capabilities(self, bits: &[u32]) -> Self {
            let set = bits.iter().fold(0u64, |set, bit| set | 1 << bit);
            self.put("proc/self/status", status(&format!("{set:016x}"), "4242"))
        }

        fn check(&self) -> Result<Host, Refusal> {
            check(self.path())
        }

        fn refusal(&self) -> Refusal {
            self.check().unwrap_err()
        }

        fn missing(&self) -> Vec<&'static str> {
            match self.check() {
                Ok(_) => Vec::new(),
                Err(Refusal::NoPrivilege { missing }) => missing,
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn status(cap_eff: &str, nspid: &str) -> String {
        format!(
            "Name:\tscx_vmland\nPid:\t4242\nUid:\t0\t0\t0\t0\nNSpid:\t{nspid}\n\
             CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t{cap_eff}\n\
             CapBnd:\t000001ffffffffff\nSeccomp:\t0\n"
        )
    }

    #[test]
    fn a_good_host_passes() {
        let host = good().check().unwrap();
        assert_eq!(host.release, "6.18.2-1-amd64");
        assert_eq!(host.version, (6, 18));
    }

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.16.0", Some((6, 16))),
            ("6.16", Some((6, 16))),
            ("7.3.0-rc1+", Some((7, 3))),
            ("7.0-custom", Some((7, 0))),
            ("10.0.1", Some((10, 0))),
            ("6", None),
            ("", None),
            ("six.sixteen", None),
            ("6.", None),
            ("99999999999.1", None),
            ("6.99999999999", None),
            ("6.ä", None),
        ] {
            assert_eq!(version(release), expected, "{release:?}");
        }
    }

    #[test]
    fn oldest_kernel() {
        let tree = good().put("proc/sys/kernel/osrelease", "6.16.0\n");
        assert!(tree.check().is_ok());
        for release in ["6.15.9", "6.6.1", "5.19.0"] {
            let tree = good().put("proc/sys/kernel/osrelease", release);
            let refusal = tree.refusal();
            assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
            assert!(
                matches!(&refusal, Refusal::KernelTooOld { release: r } if r == release),
                "{refusal}"
            );
        }
    }

    #[test]
    fn no_sched_ext() {
        let tree = good().remove("sys/kernel/sched_ext");
        assert!(!sched_ext_available(tree.path()));
        let refusal = tree.refusal();
        assert!(matches!(refusal, Refusal::NoSchedExt { .. }), "{refusal}");
        assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
        assert!(sched_ext_available(good().path()));
    }

    #[test]
    fn no_sysfs_says_nothing_about_the_kernel() {
        let tree = good().remove("sys");
        let refusal = tree.refusal();
        assert!(matches!(refusal, Refusal::Unreadable(_)), "{refusal}");
    }

    #[test]
    fn no_btf() {
        let refusal = good().remove("sys/kernel/btf").refusal();
        assert!(matches!(refusal, Refusal::NoBtf), "{refusal}");
        assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
    }

    #[test]
    fn isolated_cpus() {
        let with = |parameter: &str| {
            good().put(
                "proc/cmdline",
                format!("BOOT_IMAGE=/vmlinuz {parameter} quiet\n"),
            )
        };
        for parameter in [
            "isolcpus=2,3",
            "isolcpus=domain,2-3",
            "isolcpus=nohz,domain,3",
        ] {
            let refusal = with(parameter).refusal();
            assert!(
                matches!(&refusal, Refusal::IsolatedCpus { parameter: told } if told == parameter),
                "{refusal}"
            );
            assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
        }
        for parameter in [
            "isolcpus=nohz,2-3",
            "isolcpus=managed_irq,2",
            "nohz_full=2-3",
        ] {
            assert!(with(parameter).check().is_ok(), "{parameter}");
        }
    }

    #[test]
    fn pid_namespace_seen_through_the_hosts_proc() {
        let tree = good()
            .put("proc/self/status", status("000001ffffffffff", "4242\t17"))
            .remove("proc/self/ns");
        let refusal = tree.refusal();
        assert!(matches!(refusal, Refusal::PidNamespace), "{refusal}");
        assert_eq!(refusal.exit_code(), exit::UNAVAILABLE);
    }

    #[test]
    fn pid_namespace_with_a_proc_of_its_own() {
        let tree = good().link("proc/self/ns/pid", "pid:[4026532617]");
        let refusal = tree.refusal();
        assert!(matches!(refusal, Refusal::PidNamespace), "{refusal}");
    }

    #[test]
    fn kernel_without_namespaces() {
        let tree = good()
            .put("proc/self/status", "CapEff:\t000001ffffffffff\n")
            .remove("proc/self/ns");
        assert!(tree.check().is_ok());
    }

    #[test]
    fn no_privileges_at_all() {
        let tree = good().capabilities(&[]);
        assert_eq!(
            tree.missing(),
            ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_RESOURCE"]
        );
        let refusal = tree.refusal();
        assert_eq!(refusal.exit_code(), exit::NOPERM);
        assert!(
            refusal.to_string().contains("CAP_BPF, CAP_PERFMON"),
            "{refusal}"
        );
    }

    #[test]
    fn bpf_and_perfmon_suffice_to_load() {
        let tree = good().capabilities(&[cap::BPF, cap::PERFMON, cap::SYS_RESOURCE]);
        assert!(tree.missing().is_empty());
        let tree = good().capabilities(&[cap::BPF, cap::SYS_RESOURCE]);
        assert_eq!(tree.missing(), ["CAP_PERFMON"]);
        let tree = good().capabilities(&[cap::PERFMON, cap::SYS_RESOURCE]);
        assert_eq!(tree.missing(), ["CAP_BPF"]);
    }

    #[test]
    fn sys_admin_stands_in() {
        let tree = good().capabilities(&[cap::SYS_ADMIN, cap::SYS_RESOURCE]);
        assert!(tree.missing().is_empty());
    }

    #[test]
    fn kvm_as_a_module_needs_sys_admin() {
        let bits = [cap::BPF, cap::PERFMON, cap::SYS_RESOURCE];
        let tree = good().capabilities(&bits).put("sys/kernel/btf/kvm", "");
        assert_eq!(tree.missing(), ["CAP_SYS_ADMIN"]);
        let tree = tree.capabilities(&[cap::SYS_ADMIN, cap::SYS_RESOURCE]);
        assert!(tree.missing().is_empty());
    }

    #[test]
    fn locked_memory() {
        let limits = |hard: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             unlimited            unlimited            processes \n\
                 Max locked memory         8388608              {hard}            bytes     \n"
            )
        };
        let tree = good().capabilities(&[cap::SYS_ADMIN]);
        assert_eq!(tree.missing(), ["CAP_SYS_RESOURCE"]);
        let tree = tree.put("proc/self/limits", limits("8388608"));
        assert_eq!(tree.missing(), ["CAP_SYS_RESOURCE"]);
        let tree = tree.put("proc/self/limits", limits("unlimited"));
        assert!(tree.missing().is_empty());
    }

    #[test]
    fn root_of_a_user_namespace_is_not_root() {
        let tree = good().link("proc/self/ns/user", "user:[4026532201]");
        assert_eq!(
            tree.missing(),
            ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_RESOURCE"]
        );
    }

    #[test]
    fn other_scheduler() {
        let tree = good()
            .put("sys/kernel/sched_ext/state", "enabled\n")
            .put("sys/kernel/sched_ext/root/ops", "lavd_1.0.20\n");
        let refusal = tree.refusal();
        assert_eq!(refusal.exit_code(), exit::TEMPFAIL);
        assert!(refusal.to_string().contains("lavd_1.0.20"), "{refusal}");
        let Refusal::OtherScheduler { name, state } = refusal else {
            panic!("{refusal}");
        };
        assert_eq!((name.as_str(), state.as_str()), ("lavd_1.0.20", "enabled"));
    }

    #[test]
    fn other_scheduler_on_its_way_out() {
        let refusal = good()
            .put("sys/kernel/sched_ext/state", "disabling\n")
            .refusal();
        assert_eq!(refusal.exit_code(), exit::TEMPFAIL);
        assert!(
            refusal.to_string().contains("another scheduler"),
            "{refusal}"
        );
    }

    #[test]
    fn order_of_refusals() {
        // Everything is wrong at first; each repair brings up the next refusal.
        let tree = good()
            .put("proc/sys/kernel/osrelease", "5.4.0")
            .put("proc/self/status", status("0", "4242\t1"))
            .put("sys/kernel/sched_ext/root/ops", "other")
            .remove("sys/kernel/sched_ext/state")
            .remove("sys/kernel/btf");
        assert!(matches!(tree.refusal(), Refusal::KernelTooOld { .. }));
        let tree = tree.put("proc/sys/kernel/osrelease", "7.3.0");
        assert!(matches!(tree.refusal(), Refusal::NoSchedExt { .. }));
        let tree = tree.put("sys/kernel/sched_ext/state", "enabled");
        assert!(matches!(tree.refusal(), Refusal::NoBtf));
        let tree = tree.put("sys/kernel/btf/vmlinux", "");
        assert!(matches!(tree.refusal(), Refusal::PidNamespace));
        let tree = tree.put("proc/self/status", status("0", "4242"));
        assert!(matches!(tree.refusal(), Refusal::NoPrivilege { .. }));
        let tree = tree.put("proc/self/status", status("1ffffffffff", "4242"));
        assert!(matches!(tree.refusal(), Refusal::OtherScheduler { .. }));
        let tree = tree.put("sys/kernel/sched_ext/state", "disabled");
        assert!(tree.check().is_ok());
    }

    #[test]
    fn unreadable() {
        let refusal = Tree::new().refusal();
        assert_eq!(refusal.exit_code(), exit::FAILURE);
        assert!(refusal.to_string().contains("osrelease"), "{refusal}");

        for (path, content) in [
            ("proc/sys/kernel/osrelease", "garbage"),
            ("proc/self/status", "Name:\tx\n"),
            ("proc/self/status", "CapEff:\tnot hex\n"),
        ] {
            let refusal = good().put(path, content).refusal();
            let Refusal::Unreadable(Unreadable { path: p, source }) = refusal else {
                panic!("{refusal}");
            };
            assert!(p.ends_with(path));
            assert_eq!(source.kind(), io::ErrorKind::InvalidData);
        }
    }
}
