// SPDX-License-Identifier: GPL-2.0-only
//! What KVM tells the host of its guests. Parameters of modules are as the modules have set them
//! after a look at the hardware.

use std::path::Path;

use super::{Answer, number, ok, switch, word, worse};

const INTEL: &str = "sys/module/kvm_intel/parameters";
const AMD: &str = "sys/module/kvm_amd/parameters";

/// KVM's default of `halt_poll_ns` (x86: `KVM_HALT_POLL_NS_DEFAULT`).
const HALT_POLL_NS: u64 = 200_000;

fn is_loaded(root: &Path, parameters: &str) -> bool {
    root.join(parameters).is_dir()
}

pub fn present(root: &Path) -> Answer {
    match (is_loaded(root, INTEL), is_loaded(root, AMD)) {
        (true, _) => ok("kvm_intel is loaded."),
        (_, true) => ok("kvm_amd is loaded."),
        _ if root.join("dev/kvm").exists() => ok("/dev/kvm is there."),
        _ => worse(
            "KVM is not loaded: no VM runs here. Load it (modprobe kvm_intel, or kvm_amd); if that fails, switch virtualisation on in the firmware.",
        ),
    }
}

pub fn pause_exits(root: &Path) -> Answer {
    let of = |dir: &str, name: &str| number(root, &format!("{dir}/{name}"));
    let has = |flag: &str| {
        let cpuinfo = word(root, "proc/cpuinfo").unwrap_or_default();
        let mut flags = cpuinfo.lines().filter(|line| line.contains("flags"));
        flags.any(|line| line.split_whitespace().any(|word| word == flag))
    };
    if let Some(gap) = of(INTEL, "ple_gap") {
        let window = of(INTEL, "ple_window").unwrap_or_default();
        return match gap {
            0 => off("kvm_intel ple_gap=128", has("ple")),
            _ => ok(format!(
                "ple_gap={gap}, ple_window={window}: a vCPU that spins for that many cycles exits."
            )),
        };
    }
    match of(AMD, "pause_filter_count")? {
        0 => off("kvm_amd pause_filter_count=3000", has("pausefilter")),
        count => ok(format!(
            "pause_filter_count={count}: a vCPU that spins for that many rounds exits."
        )),
    }
}

fn off(option: &str, hardware_has_them: bool) -> Answer {
    let todo = if hardware_has_them {
        format!("Set \"options {option}\" in /etc/modprobe.d and load the module anew.")
    } else {
        "This CPU has none, or a hypervisor below this host hides them: use another host.".into()
    };
    worse(format!(
        "Pause exits are off: the host does not learn that a vCPU spins, and KVM asks for no directed yield. {todo}"
    ))
}

/// Are the IPIs between vCPUs seen by the host?
pub fn ipis(root: &Path) -> Answer {
    let of = |dir: &str, name: &str| switch(root, &format!("{dir}/{name}"));
    let hidden = |by: &str, option: &str| {
        worse(format!(
            "{by} delivers IPIs past the host, so the receiver of an IPI is not put first; directed yields are still honoured. Compare with \"options {option}\" by vmland ab, on your own VMs."
        ))
    };
    if let Some(has_apicv) = of(INTEL, "enable_apicv") {
        return match has_apicv && of(INTEL, "enable_ipiv") == Some(true) {
            true => hidden("IPI virtualisation (IPIv)", "kvm_intel enable_ipiv=0"),
            false => ok("IPIs of guests are seen."),
        };
    }
    match of(AMD, "avic")? {
        true => hidden("AVIC", "kvm_amd avic=0"),
        false => ok("IPIs of guests are seen."),
    }
}

pub fn halt_polling(root: &Path) -> Answer {
    let ns = number(root, "sys/module/kvm/parameters/halt_poll_ns")?;
    match ns {
        0 => ok("Off."),
        1..=HALT_POLL_NS => ok(format!("At most {} µs.", ns / 1_000)),
        _ => worse(format!(
            "A vCPU that halts polls for up to {} µs, on CPU time that others may wait for. Set it to KVM's default: echo {HALT_POLL_NS} > /sys/module/kvm/parameters/halt_poll_ns.",
            ns / 1_000
        )),
    }
}
