// SPDX-License-Identifier: GPL-2.0-only
//! Why the kernel did not take the BPF part.
//!
//! The framework switches libbpf's messages off while it loads, so the verifier's
//! log is had by loading the object once more, alone and without attaching it.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::Mutex;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{PrintLevel, set_print};
use log::error;

use crate::bpf_skel::BpfSkelBuilder;

/// How much of the end of libbpf's messages is shown.
const LINES: usize = 40;

static TAIL: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

pub fn explain(why: &anyhow::Error) {
    set_print(Some((PrintLevel::Info, keep)));
    let mut object = MaybeUninit::uninit();
    if let Ok(open) = BpfSkelBuilder::default().open(&mut object) {
        let _ = open.load();
    }
    for line in TAIL.lock().unwrap().iter() {
        error!("{line}");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    error!(
        "Linux {} did not take the scheduler: {why:#}",
        release.as_deref().unwrap_or("(unknown)").trim()
    );
}

fn keep(_: PrintLevel, message: String) {
    let mut tail = TAIL.lock().unwrap();
    for line in message.lines() {
        if tail.len() == LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_string());
    }
}
