// SPDX-License-Identifier: GPL-2.0-only
//! How much work the kernel's verifier had with each BPF program.
//!
//! The verifier gives up at one million instructions a program, and the number grows
//! with the product of branches and loops. So a change of the BPF part is compared by
//! it: `scx_vmland --verbose` logs it after loading.

use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::Object;
use libbpf_rs::libbpf_sys::{bpf_obj_get_info_by_fd, bpf_prog_info};
use log::debug;

/// Logs the instructions that the verifier has processed, program by program.
pub fn log_insns(object: &Object) {
    for program in object.progs() {
        let name = program.name().to_string_lossy();
        match verified_insns(&program) {
            Some(insns) => debug!("verifier: {name}: {insns} instructions"),
            None => debug!("verifier: {name}: not loaded"),
        }
    }
}

/// None if the program is not loaded.
fn verified_insns(program: &impl AsFd) -> Option<u32> {
    let mut info = bpf_prog_info::default();
    let mut len = size_of::<bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `len` bytes to `info`.
    let status = unsafe {
        bpf_obj_get_info_by_fd(
            program.as_fd().as_raw_fd(),
            (&raw mut info).cast(),
            &mut len,
        )
    };
    (status == 0).then_some(info.verified_insns)
}
