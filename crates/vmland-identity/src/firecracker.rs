// SPDX-License-Identifier: GPL-2.0-only
//! Firecracker: `--id`, which its jailer passes on, and the jailer's cgroup.

use super::arguments::option;
use super::of_vm::{OfVm, last};
use super::told::Told;
use super::vmm::Vmm;

pub fn told(args: &[String]) -> Told {
    let id = option(args, "--id").map(str::to_owned);
    Told {
        name: id.clone(),
        // Many fleets take a UUID; it is dropped if it is none.
        uuid: id,
        otherwise: None,
    }
}

/// The jailer's `/firecracker/ID`, after the name of the executable.
pub fn vm(component: &str, above: &str) -> Option<OfVm> {
    let jailed = Vmm::from_program(last(above)) == Some(Vmm::Firecracker);
    (jailed && !component.is_empty()).then(|| OfVm {
        name: Some(component.to_owned()),
    })
}
