// SPDX-License-Identifier: GPL-2.0-only
//! Loaded, and waiting for the word to attach (`--standby`).
//!
//! A switch of schedulers takes as long as loading does, for the verifier looks at every
//! program. The framework loads and attaches in one; the build has its connector call
//! [`before_attaching`] in between.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use log::info;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use vmland_base::exit;
use vmland_control::standby::READY;

use crate::Exit;

/// How often it is looked whether it is to end, in ms.
const LOOK_MS: u16 = 250;

type Step = Box<dyn FnOnce() -> Result<()>>;

thread_local! {
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
}

/// Has this thread wait when it has loaded the scheduler, and then do `step` before it
/// attaches.
pub fn then(step: impl FnOnce() -> Result<()> + 'static) {
    STEP.set(Some(Box::new(step)));
}

/// For the connector. It does not attach upon an error.
pub fn before_attaching(stopped: &AtomicBool) -> Result<()> {
    let Some(step) = STEP.take() else {
        return Ok(());
    };
    info!("{READY}");
    if !told_to(stopped).context("cannot read standard input")? {
        return Err(Exit(exit::OK).into());
    }
    step()
}

/// Waits for a line. False: there will be none.
fn told_to(stopped: &AtomicBool) -> io::Result<bool> {
    let input = io::stdin();
    while !stopped.load(Ordering::Relaxed) {
        let mut wanted = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, LOOK_MS) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(input.read_line(&mut String::new())? > 0),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}
