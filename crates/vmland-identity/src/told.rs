// SPDX-License-Identifier: GPL-2.0-only
//! What a VMM's command line tells.

/// What a VMM's command line tells about its VM.
#[derive(Default)]
pub struct Told {
    /// What the user calls it.
    pub name: Option<String>,
    /// What tells it apart if nothing better does.
    pub otherwise: Option<String>,
    pub uuid: Option<String>,
}
