// SPDX-License-Identifier: GPL-2.0-only
//! The VMs of this host, under any scheduler.

use std::collections::BTreeMap;
use std::path::Path;

use crate::client::PROC;

/// A process that has a VM: its pid, by the VM's name.
pub type Vms = BTreeMap<String, i32>;

/// Two VMs of one name get their pids appended.
pub fn find() -> Vms {
    let mut vms = Vms::new();
    for pid in vmland_identity::holders(Path::new(PROC)) {
        let mut name = vmland_identity::identify(Path::new(PROC), pid).name;
        if vms.contains_key(&name) {
            name = format!("{name} ({pid})");
        }
        vms.insert(name, pid);
    }
    vms
}
