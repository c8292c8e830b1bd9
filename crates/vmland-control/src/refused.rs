// SPDX-License-Identifier: GPL-2.0-only
//! Why a request was refused.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Refused {
    pub kind: ErrorKind,
    /// For people: one line or several.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Refused {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The line is no request.
    Malformed,
    /// Of another version of the protocol, or of none.
    Version,
    /// There is no such VM.
    UnknownVm,
    /// There are several of that name.
    AmbiguousVm,
    /// A key or a value is wrong.
    Invalid,
    /// The configuration is wrong.
    Configuration,
    /// What is asked for goes on already.
    Busy,
    /// It could not be done.
    Failed,
    /// The client may not ask.
    Forbidden,
}
