// SPDX-License-Identifier: GPL-2.0-only
//! Cloud Hypervisor, whose VMs have no names: its socket mostly has one.

use super::arguments::{option, socket_name, value};
use super::told::Told;

pub fn told(args: &[String]) -> Told {
    let platform = option(args, "--platform");
    Told {
        name: None,
        otherwise: option(args, "--api-socket").and_then(socket_name),
        uuid: platform
            .and_then(|text| value(text, "uuid"))
            .map(str::to_owned),
    }
}
