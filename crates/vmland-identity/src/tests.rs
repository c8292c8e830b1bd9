// SPDX-License-Identifier: GPL-2.0-only
//! Whole processes: which source wins, and what cannot be trusted.

use proptest::prelude::*;

use super::printable::NAME_MAX_CHARS;
use super::*;
use vmland_base::printable::harmless;
use vmland_test_tree::Tree;

/// A `/proc` of one process, with PID 1.
fn process(args: &[&str]) -> Tree {
    let cmdline: String = args.iter().flat_map(|arg| [arg, "\0"]).collect();
    Tree::new().put("1/cmdline", cmdline)
}

fn qemu(args: &[&str]) -> Tree {
    process(&[&["qemu-system-x86_64"], args].concat())
}

fn vm(tree: &Tree) -> VmIdentity {
    identify(tree.path(), 1)
}

fn name(tree: &Tree) -> String {
    vm(tree).name
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
        let tree = qemu(&["-name", value]).put("1/comm", "qemu-system-x86\n");
        assert_eq!(name(&tree), "qemu-system-x86[1]", "-name {value}");
    }
    let tree = qemu(&["-name"]).put("1/comm", "qemu\n");
    assert_eq!(name(&tree), "qemu[1]");
    let tree = qemu(&["-name", ""]).put("1/cgroup", "0::/qemu.slice/7.scope\n");
    assert_eq!(name(&tree), "7");
    let hidden = format!("{}x", " ".repeat(NAME_MAX_CHARS));
    let tree = qemu(&["-name", &hidden]).put("1/comm", "qemu\n");
    assert_eq!(name(&tree), "qemu[1]");
}

#[test]
fn what_the_user_says_comes_before_the_cgroup_and_that_before_the_rest() {
    let tree = qemu(&["-id", "100"]);
    assert_eq!(name(&tree), "100");
    let tree = tree.put("1/cgroup", "0::/machine/qemu-3-db.libvirt-qemu\n");
    assert_eq!(name(&tree), "db");
    let tree = tree.put("1/cmdline", "kvm\0-id\x00100\0-name\0web\0");
    assert_eq!(name(&tree), "web");
}

#[test]
fn options_count_only_for_their_vmm() {
    let tree =
        process(&["/usr/bin/java", "-name", "x", "--id", "y", "--name=z"]).put("1/comm", "java\n");
    assert_eq!(name(&tree), "java[1]");
    assert_eq!(vm(&tree).vmm, Vmm::Other);
}

#[test]
fn firecracker_ids() {
    let vm = |args: &[&str]| vm(&process(args));
    assert_eq!(vm(&["/firecracker", "--id=vm-1", "--no-api"]).name, "vm-1");
    assert_eq!(vm(&["firecracker", "--id", "vm-2"]).uuid, None);
    assert_eq!(vm(&["firecracker", "--id"]).name, "[1]");
    assert_eq!(vm(&["firecracker", "--identity", "x"]).name, "[1]");
    let id = "551e7604-e35c-42b3-b825-416853441234";
    assert_eq!(vm(&["firecracker", "--id", id]).uuid.as_deref(), Some(id));
}

#[test]
fn libvirts_cloud_hypervisor() {
    let tree = process(&["cloud-hypervisor", "-v", "--api-socket", "fd=9"]).put(
        "1/cgroup",
        "0::/machine.slice/machine-ch\\x2d4\\x2dweb.scope/libvirt\n",
    );
    assert_eq!(name(&tree), "web");
}

#[test]
fn containers_are_not_vms_of_libvirt() {
    let path = "/machine.slice/machine-debian.scope/payload";
    let tree = process(&["vmm"])
        .put("1/comm", "vmm\n")
        .put("1/cgroup", format!("0::{path}\n"));
    assert_eq!(name(&tree), "vmm[1]");
    assert_eq!(vm(&tree).cgroup.as_deref(), Some(path));
}

#[test]
fn only_kubevirts_names_have_a_namespace() {
    let tree = qemu(&["-name", "guest=default_testvm"]);
    assert_eq!(name(&tree), "default_testvm");
    let tree = tree.put("1/cgroup", "0::/kubepods/pod7/x\n");
    assert_eq!(name(&tree), "default/testvm");
}

#[test]
fn which_program_it_is() {
    let tree =
        process(&["my vm", "-name", "web"]).link("1/exe", "/usr/bin/qemu-system-x86_64 (deleted)");
    assert_eq!(name(&tree), "web");
    // The executable wins over what the process says.
    let tree = tree.put("1/cmdline", "crosvm\0--name\0x\0");
    assert_eq!(vm(&tree).vmm, Vmm::Qemu);
    // A loader says nothing; argv[0] does. And comm, if all else fails.
    let tree = process(&["/opt/crosvm"]).link("1/exe", "/lib64/ld-linux-x86-64.so.2");
    assert_eq!(vm(&tree).vmm, Vmm::Crosvm);
    let tree = Tree::new().put("1/comm", "cloud-hyperviso\n");
    assert_eq!(vm(&tree).vmm, Vmm::CloudHypervisor);
    // A title without separators.
    let tree = Tree::new().put("1/cmdline", "/usr/bin/qemu-system-x86_64");
    assert_eq!(vm(&tree).vmm, Vmm::Qemu);
}

#[test]
fn the_user_is_the_real_one() {
    let status = |text: &str| process(&[]).put("1/status", text);
    let uid = |text: &str| vm(&status(text)).uid;
    let real = "Name:\tqemu\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t7\t7\t7\t7\n";
    assert_eq!(uid(real), Some(1000));
    // The kernel escapes what a process's name would break the line with.
    let lie = "Name:\tx\\nUid:\\t0\nUid:\t1000\t1000\t1000\t1000\n";
    assert_eq!(uid(lie), Some(1000));
    for none in ["", "Uid:", "Uid:\t\n", "Uid:\t-1\n", "Name:\tUid:\t0\n"] {
        assert_eq!(uid(none), None, "{none:?}");
    }
}

#[test]
fn a_process_that_has_vanished() {
    let nobody = VmIdentity {
        name: "[1234]".to_owned(),
        vmm: Vmm::Other,
        uuid: None,
        cgroup: None,
        uid: None,
    };
    assert_eq!(identify(Tree::new().path(), 1234), nobody);
    let tree = process(&[]).put("1/cgroup", "").put("1/comm", "");
    assert_eq!(name(&tree), "[1]");
}

#[test]
fn kept_from_terminals() {
    let tree = qemu(&["-name", "a\u{1b}[2J\nb\u{9b}\u{202e}c\td"]);
    assert_eq!(
        name(&tree),
        "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}d"
    );
    let tree = Tree::new().put("1/comm", "x\u{7}\n").put(
        "1/cgroup",
        "0::/machine.slice/machine-qemu\\x2d1\\x2d\\x1b\\x00.scope/\u{1b}\n",
    );
    assert_eq!(name(&tree), "\u{fffd}\u{fffd}");
    let tree = tree.put("1/cgroup", "0::/a\u{1b}[0m\n");
    assert_eq!(name(&tree), "x\u{fffd}[1]");
    assert_eq!(vm(&tree).cgroup.as_deref(), Some("/a\u{fffd}[0m"));
}

#[test]
fn not_utf8() {
    let tree = Tree::new()
        .put(
            "1/cmdline",
            b"/usr/bin/kvm\0-name\0w\xffb,debug-threads=on\0\xfe\0",
        )
        .put("1/cgroup", b"0::/\xff\xfe\n")
        .put("1/comm", b"\xff\n");
    assert_eq!(name(&tree), "w\u{fffd}b");
    assert_eq!(vm(&tree).cgroup.as_deref(), Some("/\u{fffd}\u{fffd}"));
}

#[test]
fn huge_command_lines() {
    // The name in front is found, and only so much is read.
    let mut cmdline = b"kvm\0-name\0web\0-append\0".to_vec();
    cmdline.resize(4 << 20, b'x');
    assert_eq!(name(&Tree::new().put("1/cmdline", &cmdline)), "web");

    // A name that is cut off is no name.
    let mut cmdline = b"kvm\0-name\0".to_vec();
    cmdline.resize(1 << 20, b'x');
    let tree = Tree::new()
        .put("1/cmdline", &cmdline)
        .put("1/comm", "kvm\n");
    assert_eq!(name(&tree), "kvm[1]");

    // A long one that fits is shortened, by characters.
    let tree = qemu(&["-name", &"ü".repeat(10_000)]);
    assert_eq!(name(&tree), "ü".repeat(NAME_MAX_CHARS));

    // Nothing but separators.
    let tree = Tree::new().put("1/cmdline", vec![0; 1 << 20]);
    assert_eq!(name(&tree), "[1]");
    let tree = qemu(&["-name", &",".repeat(100_001)]);
    assert_eq!(name(&tree), ",".repeat(NAME_MAX_CHARS));
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
        "0::/kubepods/pod\n",
        "1:name=systemd:/machine-qemu.scope\n",
        "\0\0\0",
    ] {
        let tree = qemu(&[]).put("1/comm", "q\n").put("1/cgroup", cgroup);
        assert_eq!(name(&tree), "q[1]", "{cgroup:?}");
    }
}

/// Bytes that look like something now and then.
fn hostile(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ];
    prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
}

const OF_CMDLINES: &[&str] = &[
    "\0",
    "\0",
    "qemu-kvm",
    "firecracker",
    "cloud-hypervisor",
    "crosvm",
    "-name",
    "guest=",
    "-id",
    "--id",
    "--id=",
    "-uuid",
    "-smbios",
    "type=1,",
    "uuid=",
    "--platform",
    "--api-socket",
    "path=",
    "/",
    ".sock",
    "=",
    ",",
    ",,",
    "_",
    "a",
    "\u{1b}[2J",
    "\u{202e}",
    "\n",
];

const OF_STATUS: &[&str] = &["Uid:", "\t", "1000", "4294967296", "\n", "Name:"];

const OF_CGROUPS: &[&str] = &[
    "0::",
    "2:cpu:",
    "5:cpuset:",
    "\n",
    "/",
    "/",
    "machine-qemu",
    "\\x2d",
    "\\x",
    "1",
    ".scope",
    "qemu-",
    ".libvirt-qemu",
    "qemu.slice",
    "kubepods",
    ".slice",
    "-pod",
    "pod",
    "firecracker",
    " (deleted)",
    ":",
    "\u{1b}",
    "ä",
];

proptest! {
    #[test]
    fn whatever_a_process_says_is_safe_to_print(
        cmdline in hostile(OF_CMDLINES),
        cgroup in hostile(OF_CGROUPS),
        status in hostile(OF_STATUS),
        comm in any::<String>(),
        exe in prop::option::of(any::<String>()),
        pid in any::<i32>(),
    ) {
        let vm = identity(&Process::parse(exe, &cmdline, &cgroup, &status, &comm), pid);
        prop_assert!(!vm.name.trim().is_empty());
        prop_assert!(vm.name.chars().count() <= NAME_MAX_CHARS);
        let shown = [Some(vm.name), vm.uuid, vm.cgroup];
        for text in shown.iter().flatten() {
            prop_assert!(text.chars().all(|c| c == harmless(c)), "{text:?}");
        }
    }
}
