// SPDX-License-Identifier: GPL-2.0-only
//! crosvm: `--name`, and the control socket where that is missing.

use super::arguments::{option, socket_name, value};
use super::told::Told;

pub fn told(args: &[String]) -> Told {
    let socket = option(args, "--socket").or_else(|| option(args, "-s"));
    Told {
        name: option(args, "--name").map(str::to_owned),
        otherwise: socket.and_then(socket_name),
        uuid: option(args, "--smbios")
            .and_then(|text| value(text, "uuid"))
            .map(str::to_owned),
    }
}
