// SPDX-License-Identifier: GPL-2.0-only
//! After warm-up the policy allocates nothing.

mod arrivals;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arrivals::{SLICE_NS, arrival};
use scx_vmland::policy::Policy;

const VCPUS: i32 = 10_000;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All vCPUs come, wait at once, and are decided about.
fn round(policy: &mut Policy, number: u64) {
    for pid in 1..=VCPUS {
        policy.enqueue(arrival(pid, number * SLICE_NS));
    }
    assert_eq!(policy.waiting(), VCPUS as usize);
    while policy.take().is_some() {}
}

#[test]
fn no_allocation_after_warm_up() {
    let mut policy = Policy::new(VCPUS as usize);
    round(&mut policy, 0);
    let before = CALLS.get();
    assert_ne!(before, 0, "the allocator counts");
    for number in 1..10 {
        round(&mut policy, number);
    }
    assert_eq!(CALLS.get() - before, 0, "calls of the allocator");
}
