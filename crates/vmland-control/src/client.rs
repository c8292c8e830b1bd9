// SPDX-License-Identifier: GPL-2.0-only
//! The other end: one request, one answer.

use std::io::{self, BufRead, BufReader, ErrorKind as IoError, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refused::{ErrorKind, Refused};
use super::request::Request;
use vmland_base::exit;

/// Where the socket is.
pub const DIRECTORY: &str = "/run/scx_vmland";
/// What it is called there.
pub const NAME: &str = "control";

/// How long the scheduler may take for an answer; it may be about to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no scx_vmland is running here")]
    NotRunning,
    #[error("only root may ask the scheduler, or change what it does")]
    Forbidden,
    #[error("the scheduler does not answer: {0}")]
    Io(#[from] io::Error),
    #[error("the scheduler's answer is none: {0}")]
    Answer(String),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Error {
    /// For a program that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NotRunning => exit::UNAVAILABLE,
            Error::Forbidden => exit::NOPERM,
            Error::Refused(refused) => match refused.kind {
                ErrorKind::Invalid | ErrorKind::Configuration => exit::USAGE,
                ErrorKind::Forbidden => exit::NOPERM,
                _ => exit::FAILURE,
            },
            Error::Io(_) | Error::Answer(_) => exit::FAILURE,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome<T> {
    Ok(T),
    Error(Refused),
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(flatten)]
    outcome: Outcome<T>,
}

/// The process of the scheduler that runs here; None for those who may not ask it.
pub fn server_pid() -> Option<i32> {
    let stream = UnixStream::connect(Path::new(DIRECTORY).join(NAME)).ok()?;
    Some(getsockopt(&stream, PeerCredentials).ok()?.pid())
}

/// Asks the scheduler that runs here.
pub fn ask<T: DeserializeOwned>(request: &Request) -> Result<T, Error> {
    let path = Path::new(DIRECTORY).join(NAME);
    let stream = UnixStream::connect(path).map_err(|e| match e.kind() {
        IoError::NotFound | IoError::ConnectionRefused => Error::NotRunning,
        IoError::PermissionDenied => Error::Forbidden,
        _ => Error::Io(e),
    })?;
    ask_over(stream, request)
}

/// Asks over a connection.
pub fn ask_over<T: DeserializeOwned>(stream: UnixStream, request: &Request) -> Result<T, Error> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(&stream, "{}", request.line())?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut line)?;
    let answer: Answer<T> =
        serde_json::from_str(&line).map_err(|e| Error::Answer(e.to_string()))?;
    match answer.outcome {
        Outcome::Ok(ok) => Ok(ok),
        Outcome::Error(refused) => Err(refused.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_exit_code() {
        let refused = |kind| Error::from(Refused::new(kind, "no"));
        for (error, code) in [
            (Error::NotRunning, exit::UNAVAILABLE),
            (Error::Forbidden, exit::NOPERM),
            (Error::Answer("nothing".into()), exit::FAILURE),
            (io::Error::from(IoError::TimedOut).into(), exit::FAILURE),
            (refused(ErrorKind::Invalid), exit::USAGE),
            (refused(ErrorKind::Configuration), exit::USAGE),
            (refused(ErrorKind::Forbidden), exit::NOPERM),
            (refused(ErrorKind::UnknownVm), exit::FAILURE),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }
}
