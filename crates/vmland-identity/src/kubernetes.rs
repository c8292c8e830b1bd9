// SPDX-License-Identifier: GPL-2.0-only
//! Pods of Kubernetes, one of which KubeVirt makes for each VM, and Kata Containers for each
//! sandbox. What the kubelet calls their cgroups depends on its cgroup driver:
//!
//! - systemd: `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`, UID
//!   with underscores
//! - cgroupfs: `/kubepods/burstable/podUID`
//!
//! each without the middle part for a guaranteed pod, and possibly deeper: in kind, all is below
//! `/kubelet.slice/kubelet-kubepods.slice`.

use super::of_vm::OfVm;

/// The cgroup of a pod, which does not say what its VM is called.
pub fn pod(component: &str, above: &str) -> Option<OfVm> {
    let uid = match component.strip_suffix(".slice") {
        Some(unit) => {
            let (parent, uid) = unit.rsplit_once("-pod")?;
            is_kubepods(parent).then_some(uid)
        }
        None => {
            let uid = component.strip_prefix("pod")?;
            is_within(above).then_some(uid)
        }
    };
    uid.is_some_and(|uid| !uid.is_empty())
        .then_some(OfVm { name: None })
}

/// Whether a cgroup is one of the kubelet's.
pub fn is_within(path: &str) -> bool {
    path.split('/').any(is_kubepods)
}

/// `kubepods`, `kubepods.slice`, `kubelet-kubepods.slice`, `kubepods-burstable`.
fn is_kubepods(component: &str) -> bool {
    component.split(['-', '.']).any(|part| part == "kubepods")
}

/// KubeVirt calls libvirt's domain `NAMESPACE_NAME` (`VMINamespaceKeyFunc()`); people say
/// `NAMESPACE/NAME`. Neither may contain an underscore (RFC 1123), so that it is clear.
pub fn namespaced(name: String) -> String {
    match name.split_once('_') {
        Some((namespace, vmi)) if is_object(namespace) && is_object(vmi) => {
            format!("{namespace}/{vmi}")
        }
        _ => name,
    }
}

/// Whether an object of Kubernetes could be called so.
fn is_object(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    !name.is_empty() && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods() {
        for (above, component) in [
            (
                "/kubepods.slice/kubepods-burstable.slice",
                "kubepods-burstable-pod1b7d_2a51.slice",
            ),
            ("/kubepods.slice", "kubepods-pod1b7d_2a51.slice"),
            (
                "/kubelet.slice/kubelet-kubepods.slice",
                "kubelet-kubepods-besteffort-pod77e0.slice",
            ),
            ("/kubepods/burstable", "pod1b7d-2a51"),
            ("/kubepods", "pod1b7d-2a51"),
            ("/kubelet/kubepods/besteffort", "pod77e0"),
        ] {
            assert!(pod(component, above).is_some(), "{above}/{component}");
        }
        for (above, component) in [
            ("/kubepods.slice", "kubepods-burstable.slice"),
            ("/kubepods.slice", "kubepods-pod.slice"),
            ("/kubepods", "pod"),
            ("/kubepods", "burstable"),
            ("/machine.slice", "podman-pod12.slice"),
            ("/user.slice", "pod12"),
            ("/kubepods.slice/x", "cri-containerd-pod1.scope"),
        ] {
            assert_eq!(pod(component, above), None, "{above}/{component}");
        }
    }

    #[test]
    fn names_of_vms() {
        for (domain, name) in [
            ("default_testvm", "default/testvm"),
            ("my-project_db-0.example", "my-project/db-0.example"),
            ("sandbox-0a1b", "sandbox-0a1b"),
            ("a_b_c", "a_b_c"),
            ("_b", "_b"),
            ("A_b", "A_b"),
            ("a_b c", "a_b c"),
        ] {
            assert_eq!(namespaced(domain.to_owned()), name);
        }
    }
}
