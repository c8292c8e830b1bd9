// SPDX-License-Identifier: GPL-2.0-only
//! One command to a running QEMU over QMP (docs/interop/qmp-spec.rst in QEMU's source).

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long QEMU may take to answer: it serves one client at a time, and has to get to run.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Executes a command without arguments, and gives what it returns.
///
/// # Errors
///
/// Those of the socket, `UnexpectedEof` if QEMU ends meanwhile, and `Other` with QEMU's
/// words if it refuses.
pub fn execute(socket: &Path, command: &str) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    // A client has to agree on capabilities before anything else.
    let mut result = Value::Null;
    for command in ["qmp_capabilities", command] {
        writeln!(stream, "{}", json!({ "execute": command }))?;
        result = answer(&mut answers)?;
    }
    Ok(result)
}

/// The next answer. QEMU also sends a greeting, and events at any time.
fn answer(lines: &mut impl Iterator<Item = io::Result<String>>) -> io::Result<Value> {
    for line in lines {
        let mut line: Value = serde_json::from_str(&line?)?;
        if let Some(result) = line.get_mut("return") {
            return Ok(result.take());
        }
        if let Some(error) = line.get("error") {
            let description = error["desc"].as_str().unwrap_or("no description");
            return Err(io::Error::other(description.to_owned()));
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> io::Result<Value> {
        answer(&mut text.lines().map(|line| Ok(line.to_owned())))
    }

    #[test]
    fn answers_between_other_messages() {
        let greeting = r#"{"QMP": {"version": {}, "capabilities": []}}"#;
        let event = r#"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}"#;
        let returned = r#"{"return": {"running": true}}"#;
        let text = [greeting, event, returned].join("\r\n");
        assert_eq!(answered(&text).unwrap(), json!({ "running": true }));

        let refused = r#"{"error": {"class": "CommandNotFound", "desc": "no such command"}}"#;
        let error = answered(&[event, refused].join("\n")).unwrap_err();
        assert_eq!(error.to_string(), "no such command");
    }

    #[test]
    fn no_answer() {
        let error = answered(r#"{"event": "SHUTDOWN"}"#).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(answered("not JSON").is_err());
    }
}
