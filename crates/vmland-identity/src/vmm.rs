// SPDX-License-Identifier: GPL-2.0-only
//! Which program runs a VM.

use std::fmt;

use serde::Serialize;

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
    pub const ALL: [Vmm; 5] = [
        Vmm::Qemu,
        Vmm::Firecracker,
        Vmm::CloudHypervisor,
        Vmm::Crosvm,
        Vmm::Other,
    ];

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
    pub(super) fn from_program(base: &str) -> Option<Vmm> {
        let base = base.trim_start_matches('.');
        let release_of = |name: &str| base.strip_prefix(name).is_some_and(|s| s.starts_with("-v"));
        if base.starts_with("qemu-system-") || base.starts_with("qemu-kvm") || base == "kvm" {
            Some(Vmm::Qemu)
        } else if base == "firecracker" || release_of("firecracker") {
            Some(Vmm::Firecracker)
        } else if base.starts_with("cloud-hyperviso") {
            Some(Vmm::CloudHypervisor)
        } else if base == "crosvm" || release_of("crosvm") {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn shown_in_lower_case_and_padded() {
        assert_eq!(Vmm::CloudHypervisor.to_string(), "cloud-hypervisor");
        assert_eq!(format!("{:<8}|", Vmm::Qemu), "qemu    |");
        for vmm in Vmm::ALL {
            let json = serde_json::to_string(&vmm).unwrap();
            assert_eq!(json, format!("\"{vmm}\""));
        }
    }
}
