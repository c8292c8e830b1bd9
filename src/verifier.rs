// SPDX-License-Identifier: GPL-2.0-only
//! How much work the kernel's verifier had with each BPF program.
//!
//! The verifier gives up at one million instructions a program, and the number grows
//! with the product of branches and loops. So a change of the BPF part is compared by
//! it: `scx_vmland --verbose` logs it after loading, and docs/verifier.csv has it for
//! each kernel (tests/in_host/kernels).

use std::ffi::{CStr, c_char};
use std::fmt;

use libbpf_rs::libbpf_sys::{
    bpf_program__log_buf, bpf_program__set_log_buf, bpf_program__set_log_level,
};
use libbpf_rs::{AsRawLibbpf, Object, OpenObject, Program};
use log::{Level, debug, log_enabled};

/// The verifier's summary and nothing else (`BPF_LOG_STATS` of the kernel).
const STATS: u32 = 4;

/// Room for the summary, in bytes. What the verifier writes and takes back before it counts, too:
/// Linux 6.17 needs between 64 and 256 KiB, and Linux 6.18 between 32 and 64. Would it not fit, the
/// kernel would refuse the program.
const SUMMARY_MAX: usize = 256 << 10;

/// What the summary says.
struct Work {
    instructions: u32,
    states: u32,
}

impl Work {
    fn of(summary: &str) -> Option<Self> {
        let mut words = summary.split_whitespace();
        let mut after = |word: &str| {
            words.find(|next| *next == word)?;
            words.next()?.parse().ok()
        };
        Some(Self {
            instructions: after("processed")?,
            states: after("total_states")?,
        })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instructions,
            states,
        } = self;
        write!(f, "{instructions} instructions, {states} states")
    }
}

/// Has the verifier sum up its work, if it is to be logged. To be called before loading.
pub fn ask(object: &mut OpenObject) {
    if !log_enabled!(Level::Debug) {
        return;
    }
    for program in object.progs_mut() {
        let program = program.as_libbpf_object().as_ptr();
        // For as long as the process: libbpf keeps the pointer.
        let summary = Box::leak(vec![0 as c_char; SUMMARY_MAX].into_boxed_slice());
        // SAFETY: the program is open, and not loaded yet.
        unsafe {
            bpf_program__set_log_buf(program, summary.as_mut_ptr(), SUMMARY_MAX as u64);
            bpf_program__set_log_level(program, STATS);
        }
    }
}

/// Logs the work program by program, of an object that [`ask`] has had before.
pub fn log_work(object: &Object) {
    if !log_enabled!(Level::Debug) {
        return;
    }
    for program in object.progs() {
        let name = program.name().to_string_lossy();
        match summary(&program).as_deref().and_then(Work::of) {
            Some(work) => debug!("verifier: {name}: {work}"),
            None => debug!("verifier: {name}: not loaded"),
        }
    }
}

fn summary(program: &Program<'_>) -> Option<String> {
    let mut size = 0;
    // SAFETY: the program is one of libbpf's. Its buffer is that of ask(), where the kernel has
    // written a string that ends with 0, or there is none.
    let text = unsafe {
        let text = bpf_program__log_buf(program.as_libbpf_object().as_ptr(), &mut size);
        (!text.is_null()).then(|| CStr::from_ptr(text))
    };
    Some(text?.to_string_lossy().into_owned())
}
