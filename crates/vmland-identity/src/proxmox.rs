// SPDX-License-Identifier: GPL-2.0-only
//! Proxmox VE's cgroups: `/qemu.slice/VMID.scope`.

use super::of_vm::{OfVm, last};

pub fn vm(component: &str, above: &str) -> Option<OfVm> {
    let id = component.strip_suffix(".scope")?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    (last(above) == "qemu.slice" && is_id).then(|| OfVm {
        name: Some(id.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups() {
        let id = |component, above| vm(component, above).and_then(|of_vm| of_vm.name);
        assert_eq!(id("100.scope", "/qemu.slice").as_deref(), Some("100"));
        for (component, above) in [
            (".scope", "/qemu.slice"),
            ("x.scope", "/qemu.slice"),
            ("100.scope", "/user.slice"),
            ("100", "/qemu.slice"),
        ] {
            assert_eq!(id(component, above), None, "{above}/{component}");
        }
    }
}
