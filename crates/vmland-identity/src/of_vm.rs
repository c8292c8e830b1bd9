// SPDX-License-Identifier: GPL-2.0-only
//! What a layout of cgroups tells about the cgroup of a VM.

/// A cgroup that belongs to one VM; with the VM's name, if its own name tells that.
#[derive(Debug, PartialEq, Eq)]
pub struct OfVm {
    pub name: Option<String>,
}

/// The last component of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
