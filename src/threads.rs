// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's own threads. Each has a name, the capabilities that it needs
//! ([`capabilities::OF_THREADS`]), and ends the scheduler if it fails.
//!
//! A scheduler without the thread that gives VMs their settings would look as if it were well.
//! So a panic in one of these threads is the end of the process: the kernel's own scheduler
//! takes over at once, and the service manager starts anew. Threads of libraries, which serve
//! one client each, may fail alone.

use std::panic;
use std::process::abort;
use std::thread::{self, Builder};

use log::warn;

use crate::capabilities;

/// In bytes. The process locks its memory, and so pays for all of a stack.
const SMALL_STACK: usize = 256 << 10;

/// Starts the thread of this name.
///
/// # Panics
///
/// If there can be no thread.
pub fn start(name: &'static str, run: impl FnOnce() + Send + 'static) {
    start_by(Builder::new(), name, run);
}

/// [`start`], for threads of which there are several.
pub fn start_small(name: &'static str, run: impl FnOnce() + Send + 'static) {
    start_by(Builder::new().stack_size(SMALL_STACK), name, run);
}

fn start_by(builder: Builder, name: &'static str, run: impl FnOnce() + Send + 'static) {
    let thread = move || {
        give_up_capabilities(name);
        run();
    };
    let started = builder.name(name.into()).spawn(thread);
    started.expect("a thread can be started");
}

/// What a thread of this name does not need.
pub fn give_up_capabilities(name: &str) {
    let of = capabilities::OF_THREADS.iter().find(|of| of.0 == name);
    let kept = of.map_or(&[][..], |of| of.1);
    if let Err(e) = capabilities::keep(kept) {
        warn!("capabilities that are not needed cannot be given up: {e}");
    }
}

/// From now on a panic in a named thread aborts. In the main one it does not: that detaches and
/// ends by itself.
pub fn end_with_any() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        say(info);
        if thread::current().name().is_some_and(|name| name != "main") {
            abort();
        }
    }));
}
