// SPDX-License-Identifier: GPL-2.0-only
//! `vmland doctor`'s lines for hosts as they are: each is a tree of the files that such a host has.

use vmland_host::doctor::{Finding, Verdict, examine, verdict};
use vmland_test_tree::Tree;

use Verdict::{Ok, Refused, Worse};

const BTF: &str = "sys/kernel/btf/vmlinux";

/// A kernel's BTF, as far as its strings go.
fn btf(names: &[&str]) -> Vec<u8> {
    let strings = names.iter().flat_map(|name| [b"\0", name.as_bytes()]);
    [&b"\x9f\xeb\x01\0\x18\0"[..]]
        .into_iter()
        .chain(strings.map(|bytes| -> &[u8] { bytes }))
        .chain([&b"\0"[..]])
        .collect::<Vec<_>>()
        .concat()
}

/// Of a kernel from 6.19 on; the last is not what it begins like.
const NAMES: [&str; 4] = [
    "cgroup_set_weight",
    "cgroup_set_bandwidth",
    "cgroup_set_idle",
    "scx_prio_less_not",
];

/// Debian's 7.3 as it is in the emulated host of tests/host: AMD, no SMT.
fn amd() -> Tree {
    let amd = "sys/module/kvm_amd/parameters";
    let limits = "Max locked memory         8388608              8388608              bytes\n";
    Tree::new()
        .put("proc/sys/kernel/osrelease", "7.3.4+deb13-amd64\n")
        .put("proc/cmdline", "console=ttyS0 panic=-1 mitigations=off\n")
        .put("proc/cpuinfo", "flags\t\t: fpu svm pausefilter\n")
        .put(
            "proc/self/status",
            "NSpid:\t77\nCapEff:\t000001ffffffffff\n",
        )
        .put("proc/self/limits", limits)
        .put("sys/kernel/sched_ext/state", "disabled\n")
        .put("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io\n")
        .put(BTF, btf(&NAMES))
        .put("dev/kvm", "")
        .put("sys/module/kvm/parameters/halt_poll_ns", "200000\n")
        .put(format!("{amd}/pause_filter_count"), "3000\n")
        .put(format!("{amd}/avic"), "N\n")
        .put("sys/devices/system/cpu/smt/active", "0\n")
        .put("sys/devices/system/cpu/nohz_full", "\n")
        .put("sys/devices/system/node/online", "0\n")
}

/// A server with two nodes and SMT.
fn intel() -> Tree {
    let intel = "sys/module/kvm_intel/parameters";
    let cpuinfo = "flags\t\t: fpu vmx\nvmx flags\t: vnmi ept ple ipi_virt\n";
    amd()
        .remove("sys/module/kvm_amd")
        .put("proc/cpuinfo", cpuinfo)
        .put(format!("{intel}/ple_gap"), "128\n")
        .put(format!("{intel}/ple_window"), "4096\n")
        .put(format!("{intel}/enable_apicv"), "Y\n")
        .put(format!("{intel}/enable_ipiv"), "Y\n")
        .put("sys/devices/system/cpu/smt/active", "1\n")
        .put("sys/devices/system/node/online", "0-1\n")
        .put("proc/sys/kernel/numa_balancing", "1\n")
}

fn finding(tree: &Tree, check: &str) -> Option<Finding> {
    let findings = examine(tree.path());
    findings.into_iter().find(|finding| finding.check == check)
}

/// The host has this line, with this in it.
#[track_caller]
fn assert_line(tree: &Tree, check: &str, verdict: Verdict, text: &str) {
    let found = finding(tree, check).unwrap_or_else(|| panic!("no line {check}"));
    assert_eq!(found.verdict, verdict, "{check}: {}", found.text);
    assert!(found.text.contains(text), "{check}: {}", found.text);
}

#[track_caller]
fn assert_no_line(tree: &Tree, check: &str) {
    assert_eq!(finding(tree, check), None);
}

#[test]
fn all_is_well() {
    let findings = examine(amd().path());
    let bad: Vec<_> = findings.iter().filter(|it| it.verdict != Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(verdict(&findings), Ok);
    let checks: Vec<_> = findings.iter().map(|it| it.check).collect();
    let expected = "kernel sched_ext btf isolcpus pid_namespace privileges scheduler cgroups kvm \
                    pause_exits ipis halt_polling smt numa";
    assert_eq!(checks.join(" "), expected);
}

#[test]
fn what_is_worse_says_what_to_do() {
    let findings = examine(intel().path());
    let worse = findings.iter().filter(|it| it.verdict == Worse);
    let checks: Vec<_> = worse.map(|it| it.check).collect();
    assert_eq!(checks, ["ipis", "numa_balancing"]);
    assert_eq!(verdict(&findings), Worse);
    assert_line(&intel(), "ipis", Worse, "enable_ipiv=0");
    assert_line(&intel(), "numa", Ok, "2 nodes");
    assert_line(&intel(), "numa_balancing", Worse, "kernel.numa_balancing=0");
}

#[test]
fn refusals_are_those_of_the_scheduler() {
    let old = amd().put("proc/sys/kernel/osrelease", "6.1.0-37-amd64\n");
    assert_line(&old, "kernel", Refused, "Boot 6.16 or newer");
    // What else is wrong is said all the same.
    let old = old.remove("sys/kernel/sched_ext").remove(BTF);
    assert_line(&old, "sched_ext", Refused, "CONFIG_SCHED_CLASS_EXT=y");
    assert_line(&old, "btf", Refused, "CONFIG_DEBUG_INFO_BTF=y");
    assert_no_line(&old, "scheduler");
    assert_eq!(verdict(&examine(old.path())), Refused);

    let isolated = amd().put("proc/cmdline", "quiet isolcpus=2,3\n");
    assert_line(&isolated, "isolcpus", Refused, "isolcpus=2,3");
    assert_line(
        &isolated,
        "isolcpus",
        Refused,
        "cpuset.cpus.partition = isolated",
    );

    let status = |text| amd().put("proc/self/status", text);
    let user = status("CapEff:\t0000000000000000\n");
    assert_line(&user, "privileges", Refused, "CAP_BPF");
    let container = status("NSpid:\t77\t1\nCapEff:\t000001ffffffffff\n");
    assert_line(&container, "pid_namespace", Refused, "--pid=host");
}

#[test]
fn nothing_is_known_of_a_host_without_proc() {
    let findings = examine(Tree::new().path());
    assert_eq!(verdict(&findings), Refused);
}

#[test]
fn whose_the_place_is() {
    let with = |ops: &str| {
        amd()
            .put("sys/kernel/sched_ext/state", "enabled\n")
            .put("sys/kernel/sched_ext/root/ops", ops)
    };
    assert_line(
        &with("vmland_0.2.0_x86_64_unknown_linux_gnu\n"),
        "scheduler",
        Ok,
        "scx_vmland is attached",
    );
    assert_line(&with("lavd_1.0.20\n"), "scheduler", Refused, "lavd_1.0.20");
}

#[test]
fn other_services() {
    let with = |service| {
        let wants = "etc/systemd/system/graphical.target.wants";
        amd().link(format!("{wants}/{service}"), "/lib/systemd/system/x")
    };
    let scx = with("scx.service");
    assert_line(&scx, "service", Worse, "disable --now scx.service");
    let loader = with("scx_loader.service");
    assert_line(&loader, "service", Worse, "scx_loader.service attaches");
    assert_no_line(&with("scx_vmland.service"), "service");

    let default = |text| with("scx.service").put("etc/default/scx", text);
    let ours = "SCX_SCHEDULER=scx_rusty\n#SCX_FLAGS=\nSCX_SCHEDULER=\"scx_vmland\"\n";
    assert_line(&default(ours), "service", Ok, "starts scx_vmland");
    let theirs = "SCX_SCHEDULER=scx_lavd\n#SCX_SCHEDULER=scx_vmland\n";
    assert_line(&default(theirs), "service", Worse, "disable");
}

#[test]
fn what_the_kernel_tells_of_cgroups() {
    let without = |name| {
        let names: Vec<_> = NAMES.into_iter().filter(|it| *it != name).collect();
        amd().put(BTF, btf(&names))
    };
    for (member, text) in [
        ("cgroup_set_idle", "no scheduler of cpu.idle (Linux 6.19). "),
        ("cgroup_set_bandwidth", "of cpu.max (Linux 6.17). "),
        ("cgroup_set_weight", "CONFIG_EXT_GROUP_SCHED"),
    ] {
        assert_line(&without(member), "cgroups", Worse, text);
    }
    let v1 = amd().remove("sys/fs/cgroup");
    assert_line(&v1, "cgroups", Worse, "cgroup v2");
}

#[test]
fn core_scheduling() {
    let host = |release, names: &[&str], smt| {
        amd()
            .put("proc/sys/kernel/osrelease", release)
            .put(BTF, btf(names))
            .put("sys/devices/system/cpu/smt/active", smt)
    };
    let has_it = ["scx_prio_less"];
    let fixed = ["lock_drop_seq", "scx_prio_less"];
    assert_no_line(&host("7.1.0", &NAMES, "1"), "core_scheduling");
    assert_no_line(&host("7.1.0", &has_it, "0"), "core_scheduling");
    let (broken, newer) = (host("7.1.0", &has_it, "1"), host("7.3.0", &has_it, "1"));
    assert_line(&broken, "core_scheduling", Worse, "dead-lock");
    assert_line(&newer, "core_scheduling", Ok, "by weight");
    let fixed = host("7.1.9", &fixed, "1");
    assert_line(&fixed, "core_scheduling", Ok, "by weight");
}

#[test]
fn kvm() {
    let none = amd().remove("sys/module").remove("dev/kvm");
    assert_line(&none, "kvm", Worse, "modprobe");
    assert_no_line(&none, "pause_exits");
    assert_no_line(&none, "ipis");
    assert_line(&none.put("dev/kvm", ""), "kvm", Ok, "/dev/kvm");
    assert_line(&amd(), "kvm", Ok, "kvm_amd");
    assert_line(&intel(), "kvm", Ok, "kvm_intel");
}

#[test]
fn pause_exits_that_are_off() {
    let off = amd().put("sys/module/kvm_amd/parameters/pause_filter_count", "0\n");
    let todo = "options kvm_amd pause_filter_count=3000";
    assert_line(&off, "pause_exits", Worse, todo);
    let nested = off.put("proc/cpuinfo", "flags\t\t: fpu svm\n");
    assert_line(&nested, "pause_exits", Worse, "This CPU has none");
    let off = intel().put("sys/module/kvm_intel/parameters/ple_gap", "0\n");
    assert_line(&off, "pause_exits", Worse, "options kvm_intel ple_gap=128");
    assert_line(&intel(), "pause_exits", Ok, "ple_window=4096");
}

#[test]
fn ipis_that_the_host_does_not_see() {
    let avic = amd().put("sys/module/kvm_amd/parameters/avic", "Y\n");
    assert_line(&avic, "ipis", Worse, "kvm_amd avic=0");
    let without = |name: &str| {
        let parameters = "sys/module/kvm_intel/parameters";
        intel().put(format!("{parameters}/{name}"), "N\n")
    };
    assert_line(&without("enable_ipiv"), "ipis", Ok, "seen");
    // IPIv needs APICv.
    assert_line(&without("enable_apicv"), "ipis", Ok, "seen");
}

#[test]
fn halt_polling() {
    let with = |ns: &str| amd().put("sys/module/kvm/parameters/halt_poll_ns", ns);
    assert_line(&with("0\n"), "halt_polling", Ok, "Off");
    assert_line(&with("200000\n"), "halt_polling", Ok, "200 µs");
    assert_line(&with("2000000\n"), "halt_polling", Worse, "2000 µs");
}

#[test]
fn cpus_without_a_tick() {
    let full = amd().put("sys/devices/system/cpu/nohz_full", "2-7\n");
    assert_line(&full, "nohz_full", Ok, "CPUs 2-7");
    assert_no_line(&amd(), "nohz_full");
}

#[test]
fn numa_balancing_off() {
    let off = intel().put("proc/sys/kernel/numa_balancing", "0\n");
    assert_line(&off, "numa_balancing", Ok, "Off");
}
