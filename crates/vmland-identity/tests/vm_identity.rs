// SPDX-License-Identifier: GPL-2.0-only
//! VMs as their managers lay them out: one tree of `/proc` for each in tests/fixtures/proc.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vmland_identity::{Vmm, holders, identify, threads};

const QEMU: Vmm = Vmm::Qemu;

/// Tree and PID; name, VMM, UUID and cgroup.
type Layout = (
    &'static str,
    i32,
    &'static str,
    Vmm,
    &'static str,
    &'static str,
);

/// Stands for no UUID.
const NO: &str = "";

const LAYOUTS: &[Layout] = &[
    (
        "libvirt-systemd",
        2201,
        "web",
        QEMU,
        "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11",
        r"/machine.slice/machine-qemu\x2d1\x2dweb.scope",
    ),
    (
        "libvirt-systemd-scope-only",
        2202,
        "mail-gw-2",
        QEMU,
        NO,
        r"/machine.slice/machine-qemu\x2d12\x2dmail\x2dgw\x2d2.scope",
    ),
    (
        "libvirt-systemd-v1",
        2203,
        "old",
        QEMU,
        "0d0b3f5e-9a0f-4a3f-8a64-2f3f0c1f6b77",
        r"/machine.slice/machine-qemu\x2d7\x2dold.scope",
    ),
    (
        "libvirt-no-systemd",
        3107,
        "db",
        QEMU,
        NO,
        "/machine/qemu-3-db.libvirt-qemu",
    ),
    (
        "libvirt-no-systemd-v2",
        3108,
        "mail",
        QEMU,
        "5e3d9b5c-1a07-4c41-a1c4-6a3a3d1f0c52",
        "/machine/qemu-12-mail.libvirt-qemu",
    ),
    (
        "libvirt-session",
        2350,
        "desk",
        QEMU,
        "c2f3c1de-0f3e-4f0b-8d5e-7a0b2d9e4c10",
        r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-virt\x2dmanager-2290.scope",
    ),
    (
        "libvirt-ch",
        6010,
        "cache",
        Vmm::CloudHypervisor,
        NO,
        r"/machine.slice/machine-ch\x2d4\x2dcache.scope",
    ),
    (
        "proxmox",
        1412,
        "web",
        QEMU,
        "2ea3f676-dfa5-11e9-ae82-c721e12f3fcf",
        "/qemu.slice/100.scope",
    ),
    (
        "proxmox-unnamed",
        1413,
        "101",
        QEMU,
        "2ea3f676-dfa5-11e9-ae82-c721e12f3fcf",
        "/qemu.slice/101.scope",
    ),
    (
        "qemu",
        4711,
        "build, test",
        QEMU,
        NO,
        "/user.slice/user-1000.slice/session-3.scope",
    ),
    (
        "qemu-unnamed",
        4712,
        "qemu-system-aar[4712]",
        QEMU,
        NO,
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal-4.scope",
    ),
    (
        "incus",
        9001,
        "web",
        QEMU,
        "6a5b4c3d-2e1f-4a0b-8c9d-0e1f2a3b4c5d",
        "/system.slice/incus.service",
    ),
    (
        "docker",
        9002,
        "runner-3",
        QEMU,
        NO,
        "/system.slice/docker-7d3c2b1a7d3c2b1a7d3c2b1a7d3c2b1a7d3c2b1a7d3c2b1a7d3c2b1a7d3c2b1a.scope",
    ),
    (
        "firecracker-jailer",
        5120,
        "551e7604-e35c-42b3-b825-416853441234",
        Vmm::Firecracker,
        "551e7604-e35c-42b3-b825-416853441234",
        "/firecracker/551e7604-e35c-42b3-b825-416853441234",
    ),
    // With --parent-cgroup.
    (
        "firecracker-jailer-v1",
        5122,
        "7f0e2b",
        Vmm::Firecracker,
        NO,
        "/fleet/7f0e2b",
    ),
    // The jailer made it in the cpuset hierarchy only, which has no part in CPU time.
    (
        "firecracker-cgroup-only",
        5121,
        "node-7",
        Vmm::Firecracker,
        NO,
        "/",
    ),
    (
        "cloud-hypervisor",
        6001,
        "web",
        Vmm::CloudHypervisor,
        NO,
        "/system.slice/cloud-hypervisor@web.service",
    ),
    (
        "cloud-hypervisor-uuid",
        6003,
        "db",
        Vmm::CloudHypervisor,
        "7c1f4a0e-52a5-4f6c-9e0b-1d2c3b4a5968",
        "/system.slice/vms.service",
    ),
    (
        "crosvm",
        7001,
        "penguin",
        Vmm::Crosvm,
        NO,
        "/vms.slice/termina",
    ),
    ("crosvm-socket", 7002, "arcvm", Vmm::Crosvm, NO, "/"),
    (
        "crosvm-uuid",
        7003,
        "android",
        Vmm::Crosvm,
        "1f0c7d4e-3b2a-4958-8c6d-7e5f4a3b2c1d",
        "/",
    ),
    (
        "kubevirt",
        8123,
        "default/testvm",
        QEMU,
        "5a9fc181-957e-5c32-9e5a-2de5e9673531",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b7d0c55_6f3e_4d0c_9e0e_6a6d1a0c2a51.slice",
    ),
    (
        "kubevirt-cgroupfs",
        8124,
        "my-project/db-0",
        QEMU,
        "9b1d6c5e-0c8b-5d0e-8f57-4b1e0a2f3c4d",
        "/kubepods/burstable/pod3f6b2c8a-91d4-4e57-b0a8-5c2d7e9f1a64",
    ),
    (
        "kubevirt-kind",
        8125,
        "default/vmi-ephemeral",
        QEMU,
        "1c7a9d52-6f02-5be4-8a17-d2c3b4e5f607",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod3f6b2c8a_91d4_4e57_b0a8_5c2d7e9f1a64.slice",
    ),
    (
        "kata",
        6002,
        "3f1c0b7a9d22",
        Vmm::CloudHypervisor,
        NO,
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod77e0.slice",
    ),
    (
        "kata-qemu",
        6004,
        "sandbox-8c2e5f1a",
        QEMU,
        "2d4f6a8c-0b1d-4e3f-95a7-b9c8d7e6f504",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod3f6b2c8a_91d4_4e57_b0a8_5c2d7e9f1a64.slice",
    ),
    (
        "unknown",
        1234,
        "myvmm[1234]",
        Vmm::Other,
        NO,
        "/system.slice/lab.service",
    ),
    (
        "hostile",
        666,
        "\u{fffd}[2J\u{fffd}\u{fffd}web",
        QEMU,
        NO,
        r"/machine.slice/machine-qemu\x2d1\x2d\x1b\x00.scope",
    ),
];

fn trees() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc")
}

#[test]
fn every_layout_is_understood() {
    for &(tree, pid, name, vmm, uuid, cgroup) in LAYOUTS {
        let root = trees().join(tree);
        assert!(root.join(pid.to_string()).is_dir(), "no tree {tree}");
        let vm = identify(&root, pid);
        assert_eq!(vm.name, name, "{tree}");
        assert_eq!(vm.vmm, vmm, "{tree}");
        assert_eq!(vm.uuid.as_deref().unwrap_or(NO), uuid, "{tree}");
        assert_eq!(vm.cgroup.as_deref(), Some(cgroup), "{tree}");
    }
}

#[test]
fn every_tree_has_its_line() {
    let kept: BTreeSet<String> = fs::read_dir(trees())
        .unwrap()
        .map(|tree| tree.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = LAYOUTS.iter().map(|layout| layout.0.into()).collect();
    assert_eq!(kept, listed);
}

#[test]
fn threads_and_the_vm_of_a_qemu() {
    let root = trees().join("libvirt-systemd");
    assert_eq!(holders(&root), [2201]);
    let (vcpus, helpers): (Vec<_>, Vec<_>) = threads(&root, 2201)
        .into_iter()
        .partition(vmland_identity::Thread::is_vcpu_by_name);
    let tids: Vec<i32> = vcpus.iter().map(|thread| thread.tid).collect();
    assert_eq!(tids, [2207, 2208]);
    let names: Vec<&str> = helpers.iter().map(|thread| thread.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "qemu-system-x86",
            "IO mon_iothread",
            "IO iothread1",
            "vhost-2201",
            "kvm-nx-lpage-re"
        ]
    );
}
