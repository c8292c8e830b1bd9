// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's machine protocol: one command a connection.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// QEMU's answer to `command` for the guest `name`.
///
/// # Errors
///
/// If QEMU has ended, or does not know the command.
pub fn qmp(name: &str, command: &str) -> io::Result<Value> {
    qmp_with(name, command, &json!({}))
}

/// The same, for a command that takes arguments.
pub fn qmp_with(name: &str, command: &str, arguments: &Value) -> io::Result<Value> {
    let mut socket = UnixStream::connect(format!("/run/guests/{name}.qmp"))?;
    let reader = BufReader::new(socket.try_clone()?);
    for (execute, arguments) in [("qmp_capabilities", &json!({})), (command, arguments)] {
        let line = json!({ "execute": execute, "arguments": arguments, "id": execute });
        writeln!(socket, "{line}")?;
    }
    for line in reader.lines() {
        let answer: Value = serde_json::from_str(&line?)?;
        if answer["id"] == command && !answer["return"].is_null() {
            return Ok(answer);
        }
        if answer["id"] == command {
            return Err(io::Error::other(answer.to_string()));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
