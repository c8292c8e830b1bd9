// SPDX-License-Identifier: GPL-2.0-only
//! Which VMs are on this host, whatever scheduler is in force.

use std::collections::BTreeMap;
use std::path::Path;

use crate::client::PROC;

/// A process that has a VM: its pid, by the VM's name.
pub type Vms = BTreeMap<String, i32>;

/// Two of one name are told apart by their pids.
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
