// SPDX-License-Identifier: GPL-2.0-only
//! Names and paths of VMs, made safe for terminals, tables and logs.

use vmland_base::printable::harmless;

/// Length at which a name is cut, in characters. The longest honest ones are KubeVirt's
/// `NAMESPACE/NAME`, of 63 + 1 + 63 characters.
pub const NAME_MAX_CHARS: usize = 256;

pub fn name(name: &str) -> String {
    name.chars().take(NAME_MAX_CHARS).map(harmless).collect()
}

pub fn path(path: &str) -> String {
    path.chars().map(harmless).collect()
}
