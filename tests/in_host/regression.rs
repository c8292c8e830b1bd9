// SPDX-License-Identifier: GPL-2.0-only
//! The regression check: two guests whose load is TLB shootdowns, compared with the stock
//! scheduler. A mechanism that no longer works shows in the pause exits that a munmap takes.

use crate::compare::{run, text};

/// As a part of the stock scheduler's. Medians of 5 windows: 0.13 to 0.29 with all mechanisms,
/// in eight boots, and 0.69 without yield_to().
const PAUSE_EXITS_AT_MOST: f64 = 0.5;

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn fewer_pause_exits_than_under_the_stock_scheduler() {
    let (output, record) = run(
        "bench --guests tlb,tlb --pv off --settle 500ms --window 2s --rounds 3 --schedulers eevdf,scx_vmland",
    );
    assert!(output.status.success(), "{}", text(&output));
    let comparisons = record["comparisons"].as_array().expect("comparisons");
    let pauses = comparisons
        .iter()
        .find(|it| it["metric"] == "pause_exits_per_1000_units_tlb")
        .expect("pause exits");
    let [stock, ours] = [0, 1].map(|arm| {
        let summary = &pauses["arms"][arm]["summary"];
        assert_eq!(summary["windows"], 3, "{}", text(&output));
        summary["median"].as_f64().expect("a median")
    });
    println!("pause exits for 1000 munmaps: {stock:.0}, here {ours:.0}");
    assert!(ours < PAUSE_EXITS_AT_MOST * stock, "{}", text(&output));
}
