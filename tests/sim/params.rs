// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF part has until user space has set it follows from the table of settings.

use vmland_settings::Settings;
use vmland_sim::native::Native;

use crate::source;

#[test]
fn tunables_begin_with_the_options_defaults() {
    let native = Native::load(&source("vmland.c"));
    // SAFETY: variables of that type (bpf/params/params.bpf.h).
    let begins = |name| unsafe { *native.global::<u64>(name) };
    let defaults = Settings::DEFAULTS;
    assert_eq!(Some(begins("vmland_slice_min_ns")), defaults.slice_min_ns);
    assert_eq!(Some(begins("vmland_ipi_window_ns")), defaults.ipi_window_ns);
}
