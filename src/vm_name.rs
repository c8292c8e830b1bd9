// SPDX-License-Identifier: GPL-2.0-only
//! What a VM is called, for people.
//!
//! The scheduler knows a VM by the PID of its VMM. Operators know it by the name that they gave
//! it, which some file below `/proc/PID` tells for every common VMM: no configuration, and no
//! question to a daemon that may be the one that is stuck. The first source that gives a name
//! wins:
//!
//! | VMM | the user's own name | libvirt's machine name | what identifies it otherwise |
//! | --- | --- | --- | --- |
//! | QEMU | `-name [guest=]NAME` | cgroup | Proxmox' `-id`, or `/qemu.slice/ID.scope` |
//! | Firecracker | `--id` | | the jailer's cgroup `/firecracker/ID` |
//! | Cloud Hypervisor | | cgroup | stem of `--api-socket` |
//! | crosvm | `--name` | | stem of `--socket` |
//! | other | | cgroup | |
//!
//! If none does, it is the process's own name and PID: `myvmm[1234]`.
//!
//! Names are labels, not identities: whoever starts a VMM chooses its command line, two VMs may
//! have the same name, and no decision of the scheduler depends on one. They are made safe to
//! print, see [`VmIdentity::name`]. Nothing here fails or panics; a process that has vanished is
//! `[1234]`.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Serialize;

/// How much is read of a command line, in bytes. The longest ones, of VMs with hundreds of
/// disks, have some tens of KiB; the kernel allows megabytes.
const CMDLINE_MAX: u64 = 256 * 1024;

/// How much is read of `/proc/PID/cgroup`, in bytes: a dozen cgroup v1 hierarchies of `PATH_MAX`.
const CGROUP_MAX: u64 = 64 * 1024;

/// How much is read of `/proc/PID/comm`, in bytes: more than any (16 for a task, 64 for a
/// kernel thread).
const COMM_MAX: u64 = 64;

/// Length at which a name is cut, in characters. The longest honest ones are KubeVirt's
/// `NAMESPACE_NAME`, of 63 + 1 + 63 characters.
const NAME_MAX_CHARS: usize = 256;

/// The program that runs a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vmm {
    /// `qemu-system-*`, or `qemu-kvm` and `kvm` as distributions call it.
    Qemu,
    /// Firecracker, with or without its jailer.
    Firecracker,
    /// Cloud Hypervisor.
    CloudHypervisor,
    /// crosvm.
    Crosvm,
    /// Any other program.
    Other,
}

impl Vmm {
    /// The name in lower case, as `Display` and serde write it, e.g. `cloud-hypervisor`.
    pub fn as_str(self) -> &'static str {
        match self {
            Vmm::Qemu => "qemu",
            Vmm::Firecracker => "firecracker",
            Vmm::CloudHypervisor => "cloud-hypervisor",
            Vmm::Crosvm => "crosvm",
            Vmm::Other => "other",
        }
    }

    /// The VMM whose executable, or thread, is called `base`. `comm` is cut at 15 characters,
    /// so Cloud Hypervisor's lacks its last one. Release binaries carry a version or a target
    /// (`firecracker-v1.10.1-x86_64`); NixOS wraps as `.qemu-system-x86_64-wrapped`.
    fn from_program(base: &str) -> Option<Vmm> {
        let base = base.trim_start_matches('.');
        let is = |name: &str| base.strip_prefix(name).is_some_and(|s| s.is_empty());
        let release_of = |name: &str| base.strip_prefix(name).is_some_and(|s| s.starts_with("-v"));
        if base.starts_with("qemu-system-") || base.starts_with("qemu-kvm") || is("kvm") {
            Some(Vmm::Qemu)
        } else if is("firecracker") || release_of("firecracker") {
            Some(Vmm::Firecracker)
        } else if base.starts_with("cloud-hyperviso") {
            Some(Vmm::CloudHypervisor)
        } else if is("crosvm") || release_of("crosvm") {
            Some(Vmm::Crosvm)
        } else {
            None
        }
    }
}

impl fmt::Display for Vmm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known about the VM that a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmIdentity {
    /// The VM's name. Never empty, at most 256 characters. Characters that could control a
    /// terminal or reorder text, and bytes that are not UTF-8, have become U+FFFD.
    pub name: String,
    /// The program that runs it.
    pub vmm: Vmm,
    /// The UUID given to QEMU with `-uuid`, or else with `-smbios type=1,uuid=`; lower case.
    pub uuid: Option<String>,
    /// Path of the cgroup of the whole VM, where libvirt, Proxmox or the jailer made one, and of
    /// the process otherwise; as in `/proc/PID/cgroup`, that is with systemd's `\xNN` escapes,
    /// and made safe to print like the name.
    pub cgroup: Option<String>,
}

/// Finds out what the VM of process `pid` (its thread group's ID) is called. `proc_root` is
/// `/proc`, except in tests.
///
/// Reads `exe`, `cmdline`, `cgroup` and `comm` of the process, each once. What is missing or
/// unreadable is skipped; without privileges that is `exe` of other users' processes.
pub fn identify(proc_root: &Path, pid: u32) -> VmIdentity {
    let process = Process::read(&proc_root.join(pid.to_string()));
    let vmm = process.vmm();
    let args = &process.args[..];
    let place = process.cgroup_of_vm(vmm);

    let own = match vmm {
        Vmm::Qemu => qemu_name(args),
        Vmm::Firecracker => option(args, "--id").map(str::to_owned),
        Vmm::Crosvm => option(args, "--name").map(str::to_owned),
        Vmm::CloudHypervisor | Vmm::Other => None,
    };
    let by_place = || place.as_ref().and_then(|place| place.name.clone());
    let by_use = || match vmm {
        Vmm::Qemu => option(args, "-id").map(str::to_owned),
        Vmm::CloudHypervisor => option(args, "--api-socket").and_then(socket_name),
        Vmm::Crosvm => option(args, "--socket")
            .or_else(|| option(args, "-s"))
            .and_then(socket_name),
        Vmm::Firecracker | Vmm::Other => None,
    };
    let name = own
        .filter(|name| says_something(name))
        .or_else(|| by_place().filter(|name| says_something(name)))
        .or_else(|| by_use().filter(|name| says_something(name)))
        .unwrap_or_else(|| format!("{}[{pid}]", process.comm));

    VmIdentity {
        name: printable(&name),
        vmm,
        uuid: (vmm == Vmm::Qemu).then(|| qemu_uuid(args)).flatten(),
        cgroup: place
            .map(|place| place.cgroup)
            .or_else(|| process.cgroup().map(str::to_owned))
            .map(|path| path.chars().map(harmless).collect()),
    }
}

/// What `/proc/PID` says, as text.
struct Process {
    /// Base name of the executable, if it may be read.
    exe: Option<String>,
    args: Vec<String>,
    /// Lines of `cgroup`: controllers (empty for cgroup v2) and path.
    cgroups: Vec<(String, String)>,
    comm: String,
}

/// The cgroup of a whole VM, and its name if the cgroup tells it.
struct Place {
    cgroup: String,
    name: Option<String>,
}

impl Process {
    fn read(dir: &Path) -> Process {
        let exe = fs::read_link(dir.join("exe")).ok().and_then(|path| {
            let base = path.file_name()?.to_string_lossy().into_owned();
            // So the kernel marks a program that was replaced by an upgrade.
            Some(base.trim_end_matches(" (deleted)").to_owned())
        });

        let cmdline = read_at_most(&dir.join("cmdline"), CMDLINE_MAX);
        let mut args: Vec<String> = cmdline
            .split(|&byte| byte == 0)
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        // What follows the last NUL: nothing, the rest of a cut argument, or all of a process
        // title that was overwritten without one.
        if args.len() > 1 {
            args.pop();
        }

        let cgroup = read_at_most(&dir.join("cgroup"), CGROUP_MAX);
        let cgroups = String::from_utf8_lossy(&cgroup)
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let controllers = fields.next()?.to_owned();
                let path = fields.next()?.trim_end_matches(" (deleted)");
                Some((controllers, path.to_owned()))
            })
            .collect();

        let comm = read_at_most(&dir.join("comm"), COMM_MAX);
        let comm = String::from_utf8_lossy(&comm)
            .trim_end_matches('\n')
            .to_owned();

        Process {
            exe,
            args,
            cgroups,
            comm,
        }
    }

    /// The executable cannot lie, but may be unreadable, or a loader or wrapper; `argv[0]` and
    /// `comm` are what the process makes them.
    fn vmm(&self) -> Vmm {
        let argv0 = self.args.first().and_then(|arg| arg.rsplit('/').next());
        [self.exe.as_deref(), argv0, Some(&self.comm)]
            .into_iter()
            .flatten()
            .find_map(Vmm::from_program)
            .unwrap_or(Vmm::Other)
    }

    /// The process's cgroup: of cgroup v2 if it is used, else of v1's `cpu`, else any.
    fn cgroup(&self) -> Option<&str> {
        let path_of = |wanted: fn(&str) -> bool| {
            self.cgroups
                .iter()
                .find(|(controllers, path)| wanted(controllers) && path != "/")
                .map(|(_, path)| path.as_str())
        };
        path_of(str::is_empty)
            .or_else(|| path_of(|list| list.split(',').any(|name| name == "cpu")))
            .or_else(|| path_of(|_| true))
            .or_else(|| self.cgroups.first().map(|(_, path)| path.as_str()))
    }

    fn cgroup_of_vm(&self, vmm: Vmm) -> Option<Place> {
        self.cgroups.iter().find_map(|(_, path)| place(path, vmm))
    }
}

/// Reads the beginning of a file; what cannot be read is missing.
fn read_at_most(path: &Path, max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A process that exits meanwhile gives ESRCH: keep what was read until then.
        let _ = file.take(max).read_to_end(&mut bytes);
    }
    bytes
}

/// Value of the last `option` after `argv[0]`, given as `option VALUE` or `option=VALUE`.
fn option<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    (1..args.len())
        .rev()
        .find_map(|i| match args[i].strip_prefix(option)? {
            "" => args.get(i + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
}

/// Values of a QEMU option, the last one first. QEMU takes one dash or two.
fn qemu_options<'a>(args: &'a [String], option: &str) -> impl Iterator<Item = &'a str> {
    args.windows(2)
        .rev()
        .filter(move |pair| pair[0] == option || pair[0].strip_prefix('-') == Some(option))
        .map(|pair| pair[1].as_str())
}

/// Takes apart an option's value as QEMU's `opts_parse()` does: `KEY=VALUE` separated by commas,
/// a comma in a value doubled. The first element may be a value alone, and then belongs to
/// `implied`.
fn qemu_parse<'a>(mut text: &'a str, implied: &'a str) -> Vec<(&'a str, String)> {
    let mut pairs = Vec::new();
    while !text.is_empty() {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        let key = if text[end..].starts_with('=') {
            let key = &text[..end];
            text = &text[end + 1..];
            key
        } else if pairs.is_empty() {
            implied
        } else {
            // A flag, such as the `server` of old socket options.
            text = text.get(end + 1..).unwrap_or("");
            continue;
        };

        let mut value = String::new();
        loop {
            let comma = text.find(',').unwrap_or(text.len());
            value.push_str(&text[..comma]);
            text = text.get(comma + 1..).unwrap_or("");
            match text.strip_prefix(',') {
                Some(rest) => {
                    value.push(',');
                    text = rest;
                }
                None => break,
            }
        }
        pairs.push((key, value));
    }
    pairs
}

/// Last value of `key` in a parsed option.
fn value_of(pairs: Vec<(&str, String)>, key: &str) -> Option<String> {
    pairs
        .into_iter()
        .rev()
        .find_map(|(k, value)| (k == key).then_some(value))
}

fn qemu_name(args: &[String]) -> Option<String> {
    qemu_options(args, "-name").find_map(|text| value_of(qemu_parse(text, "guest"), "guest"))
}

fn qemu_uuid(args: &[String]) -> Option<String> {
    // Proxmox gives the UUID only to the firmware.
    let firmware = || {
        qemu_options(args, "-smbios").find_map(|text| {
            let pairs = qemu_parse(text, "type");
            let system = pairs.iter().any(|(key, v)| *key == "type" && v == "1");
            system.then(|| value_of(pairs, "uuid")).flatten()
        })
    };
    qemu_options(args, "-uuid")
        .map(str::to_owned)
        .next()
        .or_else(firmware)
        .filter(|uuid| is_uuid(uuid))
        .map(|uuid| uuid.to_ascii_lowercase())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The name in a socket's path: `web` of `/run/ch/web.sock`, or of Cloud Hypervisor's
/// `path=/run/ch/web.sock`. Where the socket is called after its purpose, as Kata's
/// `/run/vc/vm/ID/clh-api.sock`, it is the directory that belongs to the VM.
fn socket_name(text: &str) -> Option<String> {
    let path = text
        .split(',')
        .find_map(|part| part.strip_prefix("path="))
        .or_else(|| (!text.starts_with("fd=")).then_some(text))?;
    let mut components = path.rsplit('/');
    let file = components.next()?;
    let stem = [".sock", ".socket"]
        .into_iter()
        .find_map(|end| file.strip_suffix(end))
        .unwrap_or(file);
    let purpose = [
        "api",
        "ch",
        "clh",
        "clh-api",
        "cloud-hypervisor",
        "control",
        "crosvm",
    ];
    if purpose.contains(&stem) {
        let dir = components.next().unwrap_or("");
        let shared = ["", "run", "tmp", "var", "ch", "cloud-hypervisor", "crosvm"];
        return (!shared.contains(&dir)).then(|| dir.to_owned());
    }
    Some(stem.to_owned())
}

/// The part of a cgroup path that belongs to a VM. Layouts, each possibly nested deeper, and
/// with parts below for the threads:
///
/// - libvirt with systemd: `/machine.slice/machine-qemu\x2d1\x2dweb.scope`
/// - libvirt without: `/machine/qemu-1-web.libvirt-qemu`
/// - Proxmox: `/qemu.slice/100.scope`
/// - Firecracker's jailer: `/firecracker/ID`, after the name of the executable
fn place(path: &str, vmm: Vmm) -> Option<Place> {
    let mut end = 0;
    let mut parent = "";
    for component in path.split('/') {
        end += component.len();
        let name = if let Some(unit) = component
            .strip_prefix("machine-")
            .and_then(|unit| unit.strip_suffix(".scope"))
        {
            // systemd-machined has containers, too.
            libvirt_machine(&systemd_unescape(unit))
        } else if let Some(machine) = component.strip_suffix(".libvirt-qemu") {
            // Old libvirt: the name alone.
            libvirt_machine(machine).or_else(|| Some(Some(machine.to_owned())))
        } else if parent == "qemu.slice" {
            component
                .strip_suffix(".scope")
                .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
                .map(|id| Some(id.to_owned()))
        } else if vmm == Vmm::Firecracker
            && Vmm::from_program(parent) == Some(Vmm::Firecracker)
            && !component.is_empty()
        {
            Some(Some(component.to_owned()))
        } else {
            None
        };
        if let Some(name) = name {
            return Some(Place {
                cgroup: path[..end].to_owned(),
                name,
            });
        }
        parent = component;
        end += 1;
    }
    None
}

/// Whether this is a machine name of a VM of libvirt's, and the VM's name in it. libvirt makes
/// them as `DRIVER-ID-NAME`, with the user's name or a hash before ID for an unprivileged or
/// embedded driver, and drops what a host name may not contain, which can be all of NAME
/// (`virDomainDriverGenerateMachineName()`).
fn libvirt_machine(machine: &str) -> Option<Option<String>> {
    let rest = ["qemu-", "ch-"]
        .into_iter()
        .find_map(|driver| machine.strip_prefix(driver))?;
    let mut tail = rest;
    loop {
        match tail.split_once('-') {
            Some((id, name)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                break Some((!name.is_empty()).then(|| name.to_owned()));
            }
            Some((_, next)) => tail = next,
            // Old libvirt: no ID. A number alone is an ID without a name.
            None => {
                let name = !rest.bytes().all(|byte| byte.is_ascii_digit());
                break Some(name.then(|| rest.to_owned()));
            }
        }
    }
}

/// Undoes systemd's escaping of unit names, `\xNN` for a byte. What is no escape stays.
fn systemd_unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if let [b'\\', b'x', high, low, ..] = bytes[i..]
            && let Some(high) = char::from(high).to_digit(16)
            && let Some(low) = char::from(low).to_digit(16)
        {
            out.push((high << 4 | low) as u8);
            i += 4;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn says_something(name: &str) -> bool {
    !name.trim().is_empty()
}

/// Makes a name safe for terminals, tables and logs.
fn printable(name: &str) -> String {
    name.chars().take(NAME_MAX_CHARS).map(harmless).collect()
}

/// Replaces control characters, and the invisible ones that break lines, join or reorder text.
pub(crate) fn harmless(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{061c}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tree::Tree;

    /// Identifies the process of a tree kept in `tests/fixtures/proc`.
    fn fixture(case: &str, pid: u32) -> VmIdentity {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/proc")
            .join(case);
        assert!(root.join(pid.to_string()).is_dir(), "no fixture {case}");
        identify(&root, pid)
    }

    /// A `/proc` of one process with PID 1.
    struct Proc(Tree);

    impl Proc {
        fn new() -> Self {
            Proc(Tree::new())
        }

        fn qemu(args: &[&str]) -> Self {
            Proc::new().cmdline(&[&["qemu-system-x86_64"], args].concat())
        }

        fn put(self, file: &str, content: impl AsRef<[u8]>) -> Self {
            Proc(self.0.put(Path::new("1").join(file), content))
        }

        fn cmdline(self, args: &[&str]) -> Self {
            let text: String = args.iter().flat_map(|arg| [arg, "\0"]).collect();
            self.put("cmdline", text)
        }

        fn exe(self, target: &str) -> Self {
            Proc(self.0.link("1/exe", target))
        }

        fn identify(&self) -> VmIdentity {
            identify(self.0.path(), 1)
        }
    }

    #[test]
    fn layouts() {
        for (case, pid, name, vmm, cgroup) in [
            (
                "libvirt-systemd",
                2201,
                "web",
                Vmm::Qemu,
                r"/machine.slice/machine-qemu\x2d1\x2dweb.scope",
            ),
            (
                "libvirt-systemd-scope-only",
                2202,
                "mail-gw-2",
                Vmm::Qemu,
                r"/machine.slice/machine-qemu\x2d12\x2dmail\x2dgw\x2d2.scope",
            ),
            (
                "libvirt-no-systemd",
                3107,
                "db",
                Vmm::Qemu,
                "/machine/qemu-3-db.libvirt-qemu",
            ),
            ("proxmox", 1412, "web", Vmm::Qemu, "/qemu.slice/100.scope"),
            (
                "proxmox-unnamed",
                1413,
                "101",
                Vmm::Qemu,
                "/qemu.slice/101.scope",
            ),
            (
                "qemu",
                4711,
                "build, test",
                Vmm::Qemu,
                "/user.slice/user-1000.slice/session-3.scope",
            ),
            (
                "qemu-unnamed",
                4712,
                "qemu-system-aar[4712]",
                Vmm::Qemu,
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal-4.scope",
            ),
            (
                "firecracker-jailer",
                5120,
                "551e7604-e35c-42b3-b825-416853441234",
                Vmm::Firecracker,
                "/firecracker/551e7604-e35c-42b3-b825-416853441234",
            ),
            (
                "firecracker-cgroup-only",
                5121,
                "node-7",
                Vmm::Firecracker,
                "/firecracker-v1.10.1-x86_64/node-7",
            ),
            (
                "cloud-hypervisor",
                6001,
                "web",
                Vmm::CloudHypervisor,
                "/system.slice/cloud-hypervisor@web.service",
            ),
            (
                "kata",
                6002,
                "3f1c0b7a9d22",
                Vmm::CloudHypervisor,
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod77e0.slice/\
                 cri-containerd-3f1c0b7a9d22.scope",
            ),
            ("crosvm", 7001, "penguin", Vmm::Crosvm, "/vms.slice/termina"),
            ("crosvm-socket", 7002, "arcvm", Vmm::Crosvm, "/"),
            (
                "kubevirt",
                8123,
                "default_testvm",
                Vmm::Qemu,
                "/kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod1b7d0c55_6f3e_4d0c_9e0e_6a6d1a0c2a51.slice/\
                 cri-containerd-9c1e5b7a40d2f3869c1e5b7a40d2f3869c1e5b7a40d2f3869c1e5b7a40d2f386\
                 .scope",
            ),
            (
                "unknown",
                1234,
                "myvmm[1234]",
                Vmm::Other,
                "/system.slice/lab.service",
            ),
        ] {
            let vm = fixture(case, pid);
            assert_eq!(vm.name, name, "{case}");
            assert_eq!(vm.vmm, vmm, "{case}");
            assert_eq!(vm.cgroup.as_deref(), Some(cgroup), "{case}");
        }
    }

    #[test]
    fn uuids() {
        let uuid = |case, pid| fixture(case, pid).uuid;
        assert_eq!(
            uuid("libvirt-systemd", 2201).as_deref(),
            Some("8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11")
        );
        assert_eq!(
            uuid("kubevirt", 8123).as_deref(),
            Some("5a9fc181-957e-5c32-9e5a-2de5e9673531")
        );
        assert_eq!(
            uuid("proxmox", 1412).as_deref(),
            Some("2ea3f676-dfa5-11e9-ae82-c721e12f3fcf")
        );
        assert_eq!(uuid("qemu", 4711), None);
        assert_eq!(uuid("firecracker-jailer", 5120), None);
        let lie = Proc::qemu(&["-uuid", "\u{1b}]0;owned\u{7}-0000-0000-0000-00000000"]);
        assert_eq!(lie.identify().uuid, None);
    }

    #[test]
    fn qemu_names() {
        for (value, name) in [
            ("web", "web"),
            ("guest=web", "web"),
            ("debug-threads=on,guest=web", "web"),
            ("web,debug-threads=on", "web"),
            ("a,,b", "a,b"),
            ("a,,b=c,process=x", "a,b=c"),
            ("guest=a,,,,b,debug-threads=on", "a,,b"),
            ("guest=a=b", "a=b"),
            ("guest=a,guest=b", "b"),
            ("guest=ünï,debug-threads=on", "ünï"),
            ("web,", "web"),
        ] {
            let proc = Proc::qemu(&["-S", "-name", value, "-m", "1G"]);
            assert_eq!(proc.identify().name, name, "-name {value}");
        }
        assert_eq!(Proc::qemu(&["--name", "web"]).identify().name, "web");
        let twice = Proc::qemu(&["-name", "a", "-name", "b"]);
        assert_eq!(twice.identify().name, "b");
    }

    #[test]
    fn names_that_say_nothing() {
        for value in [
            "",
            "guest=",
            "guest= ,x=y",
            "debug-threads=on",
            ",",
            "=",
            "=,",
        ] {
            let proc = Proc::qemu(&["-name", value]).put("comm", "qemu-system-x86\n");
            assert_eq!(proc.identify().name, "qemu-system-x86[1]", "-name {value}");
        }
        let proc = Proc::qemu(&["-name"]).put("comm", "qemu\n");
        assert_eq!(proc.identify().name, "qemu[1]");
        let proc = Proc::qemu(&["-name", ""]).put("cgroup", "0::/qemu.slice/7.scope\n");
        assert_eq!(proc.identify().name, "7");
    }

    #[test]
    fn options_count_only_for_their_vmm() {
        let proc = Proc::new()
            .cmdline(&["/usr/bin/java", "-name", "x", "--id", "y", "--name=z"])
            .put("comm", "java\n");
        assert_eq!(proc.identify().name, "java[1]");
        assert_eq!(proc.identify().vmm, Vmm::Other);
    }

    #[test]
    fn firecracker_ids() {
        let name = |args: &[&str]| Proc::new().cmdline(args).identify().name;
        assert_eq!(name(&["/firecracker", "--id=vm-1", "--no-api"]), "vm-1");
        assert_eq!(name(&["firecracker", "--id", "vm-2"]), "vm-2");
        assert_eq!(name(&["firecracker", "--id"]), "[1]");
        assert_eq!(name(&["firecracker", "--identity", "x"]), "[1]");
    }

    #[test]
    fn sockets() {
        for (socket, name) in [
            ("/run/ch/web.sock", Some("web")),
            ("path=/run/ch/web.sock", Some("web")),
            ("path=/run/ch/web.socket,mode=0600", Some("web")),
            ("web", Some("web")),
            ("/run/ch/db.example.com", Some("db.example.com")),
            ("/run/vc/vm/abc/clh-api.sock", Some("abc")),
            ("/run/vms/web/api.sock", Some("web")),
            ("/tmp/cloud-hypervisor.sock", None),
            ("/run/cloud-hypervisor/api.sock", None),
            ("api.sock", None),
            ("fd=3", None),
            ("/run/ch/", Some("")),
            ("", Some("")),
        ] {
            assert_eq!(socket_name(socket).as_deref(), name, "{socket:?}");
        }
    }

    #[test]
    fn libvirts_cloud_hypervisor() {
        let proc = Proc::new()
            .cmdline(&["cloud-hypervisor", "-v", "--api-socket", "fd=9"])
            .put(
                "cgroup",
                "0::/machine.slice/machine-ch\\x2d4\\x2dweb.scope/libvirt\n",
            );
        assert_eq!(proc.identify().name, "web");
    }

    #[test]
    fn machine_names() {
        for (machine, name) in [
            ("qemu-1-web", Some(Some("web"))),
            ("qemu-12-web-3-x", Some(Some("web-3-x"))),
            ("qemu-alice-1-web", Some(Some("web"))),
            ("qemu-embed-0a1b2c3d-1-web", Some(Some("web"))),
            ("qemu-instance-0a", Some(Some("instance-0a"))),
            ("qemu-5", Some(None)),
            ("qemu-5-", Some(None)),
            ("qemu-", Some(None)),
            ("lxc-1-web", None),
            ("debian", None),
        ] {
            let found = libvirt_machine(machine);
            let found = found.as_ref().map(Option::as_deref);
            assert_eq!(found, name, "{machine}");
        }
    }

    #[test]
    fn containers_are_not_vms_of_libvirt() {
        let proc = Proc::new()
            .cmdline(&["vmm"])
            .put("comm", "vmm\n")
            .put("cgroup", "0::/machine.slice/machine-debian.scope/payload\n");
        let vm = proc.identify();
        assert_eq!(vm.name, "vmm[1]");
        assert_eq!(
            vm.cgroup.as_deref(),
            Some("/machine.slice/machine-debian.scope/payload")
        );
    }

    #[test]
    fn unescaping() {
        for (escaped, plain) in [
            (r"qemu\x2d1\x2dweb", "qemu-1-web"),
            (r"\xc3\xa4", "ä"),
            (r"\xff", "\u{fffd}"),
            (r"a\", r"a\"),
            (r"a\x", r"a\x"),
            (r"a\x2", r"a\x2"),
            (r"a\xzz", r"a\xzz"),
            (r"\x+1", r"\x+1"),
            (r"ä\x2dö", "ä-ö"),
            ("", ""),
        ] {
            assert_eq!(systemd_unescape(escaped), plain, "{escaped}");
        }
    }

    #[test]
    fn programs() {
        for (base, vmm) in [
            ("qemu-system-x86_64", Some(Vmm::Qemu)),
            ("qemu-system-x86", Some(Vmm::Qemu)),
            (".qemu-system-x86_64-wrapped", Some(Vmm::Qemu)),
            ("qemu-kvm", Some(Vmm::Qemu)),
            ("kvm", Some(Vmm::Qemu)),
            ("firecracker-v1.10.1-x86_64", Some(Vmm::Firecracker)),
            ("cloud-hypervisor", Some(Vmm::CloudHypervisor)),
            ("cloud-hyperviso", Some(Vmm::CloudHypervisor)),
            ("cloud-hypervisor-static", Some(Vmm::CloudHypervisor)),
            ("crosvm", Some(Vmm::Crosvm)),
            ("qemu-x86_64", None),
            ("qemu-img", None),
            ("firecracker-containerd", None),
            ("kvm-nx-lpage-recovery-7", None),
            ("", None),
        ] {
            assert_eq!(Vmm::from_program(base), vmm, "{base}");
        }
    }

    #[test]
    fn which_program_it_is() {
        let proc = Proc::new()
            .exe("/usr/bin/qemu-system-x86_64 (deleted)")
            .cmdline(&["my vm", "-name", "web"]);
        assert_eq!(proc.identify().name, "web");
        // The executable wins over what the process says.
        let proc = proc.cmdline(&["crosvm", "--name", "x"]);
        assert_eq!(proc.identify().vmm, Vmm::Qemu);
        // A loader says nothing; argv[0] does. And comm, if all else fails.
        let proc = Proc::new()
            .exe("/lib64/ld-linux-x86-64.so.2")
            .cmdline(&["/opt/crosvm"]);
        assert_eq!(proc.identify().vmm, Vmm::Crosvm);
        let proc = Proc::new().put("comm", "cloud-hyperviso\n");
        assert_eq!(proc.identify().vmm, Vmm::CloudHypervisor);
    }

    #[test]
    fn vanished_process() {
        let root = std::env::temp_dir().join("vmland-vm-name-missing");
        let vm = identify(&root, 1234);
        assert_eq!(
            vm,
            VmIdentity {
                name: "[1234]".to_owned(),
                vmm: Vmm::Other,
                uuid: None,
                cgroup: None,
            }
        );
    }

    #[test]
    fn empty_files() {
        let proc = Proc::new()
            .put("cmdline", "")
            .put("cgroup", "")
            .put("comm", "");
        assert_eq!(proc.identify().name, "[1]");
    }

    #[test]
    fn kept_from_terminals() {
        let proc = Proc::qemu(&["-name", "a\u{1b}[2J\nb\u{9b}\u{202e}c\td"]);
        assert_eq!(
            proc.identify().name,
            "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}d"
        );
        let proc = Proc::new().put("comm", "x\u{7}\n").put(
            "cgroup",
            "0::/machine.slice/machine-qemu\\x2d1\\x2d\\x1b\\x00.scope/\u{1b}\n",
        );
        let vm = proc.identify();
        assert_eq!(vm.name, "\u{fffd}\u{fffd}");
        let proc = Proc::new()
            .put("comm", "x\u{7}\n")
            .put("cgroup", "0::/a\u{1b}[0m\n");
        let vm = proc.identify();
        assert_eq!(vm.name, "x\u{fffd}[1]");
        assert_eq!(vm.cgroup.as_deref(), Some("/a\u{fffd}[0m"));
    }

    #[test]
    fn not_utf8() {
        let proc = Proc::new()
            .put(
                "cmdline",
                b"/usr/bin/kvm\0-name\0w\xffb,debug-threads=on\0\xfe\0",
            )
            .put("cgroup", b"0::/\xff\xfe\n")
            .put("comm", b"\xff\n");
        let vm = proc.identify();
        assert_eq!(vm.name, "w\u{fffd}b");
        assert_eq!(vm.cgroup.as_deref(), Some("/\u{fffd}\u{fffd}"));
    }

    #[test]
    fn huge_command_lines() {
        // The name in front is found, and only so much is read.
        let mut cmdline = b"kvm\0-name\0web\0-append\0".to_vec();
        cmdline.resize(4 << 20, b'x');
        let proc = Proc::new().put("cmdline", &cmdline);
        assert_eq!(proc.identify().name, "web");

        // A name that is cut off is no name.
        let mut cmdline = b"kvm\0-name\0".to_vec();
        cmdline.resize(1 << 20, b'x');
        let proc = Proc::new().put("cmdline", &cmdline).put("comm", "kvm\n");
        assert_eq!(proc.identify().name, "kvm[1]");

        // A long one that fits is shortened, by characters.
        let proc = Proc::qemu(&["-name", &"ü".repeat(10_000)]);
        assert_eq!(proc.identify().name, "ü".repeat(NAME_MAX_CHARS));

        // Nothing but separators.
        let proc = Proc::new().put("cmdline", vec![0; 1 << 20]);
        assert_eq!(proc.identify().name, "[1]");
        let proc = Proc::qemu(&["-name", &",".repeat(100_001)]);
        assert_eq!(proc.identify().name, ",".repeat(NAME_MAX_CHARS));
    }

    #[test]
    fn title_without_separators() {
        let proc = Proc::new()
            .put("cmdline", "/usr/bin/qemu-system-x86_64")
            .put("comm", "qemu\n");
        assert_eq!(proc.identify().vmm, Vmm::Qemu);
    }

    #[test]
    fn odd_cgroup_lines() {
        for cgroup in [
            "garbage\n::\n",
            ":::::\n",
            "0:\n",
            "0::\n",
            "0::machine-.scope\n",
            "0::/.libvirt-qemu\n",
            "0::/qemu.slice/.scope\n",
            "0::/qemu.slice/x.scope\n",
            "1:name=systemd:/machine-qemu.scope\n",
            "\0\0\0",
        ] {
            let proc = Proc::qemu(&[]).put("comm", "q\n").put("cgroup", cgroup);
            assert_eq!(proc.identify().name, "q[1]", "{cgroup:?}");
        }
    }

    #[test]
    fn the_cgroup_that_counts() {
        let proc = Proc::new().put("cgroup", "3:memory:/m\n2:cpu,cpuacct:/c\n0::/\n");
        assert_eq!(proc.identify().cgroup.as_deref(), Some("/c"));
        let proc = Proc::new().put("cgroup", "2:cpu,cpuacct:/c\n0::/u\n");
        assert_eq!(proc.identify().cgroup.as_deref(), Some("/u"));
        let proc = Proc::new().put("cgroup", "0::/gone (deleted)\n");
        assert_eq!(proc.identify().cgroup.as_deref(), Some("/gone"));
        let proc = Proc::new().put("cgroup", "0::/a:b\n");
        assert_eq!(proc.identify().cgroup.as_deref(), Some("/a:b"));
    }

    #[test]
    fn shown_in_lower_case_and_padded() {
        assert_eq!(Vmm::CloudHypervisor.to_string(), "cloud-hypervisor");
        assert_eq!(format!("{:<8}|", Vmm::Qemu), "qemu    |");
    }
}
