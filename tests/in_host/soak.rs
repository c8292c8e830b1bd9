// SPDX-License-Identifier: GPL-2.0-only
//! Random faults, one after the other. The seed tells which: a run that found something is
//! repeated by its seed, as far as the host's timing repeats.

use std::env;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::faults::{FAULTS, SYSCTL, World};
use crate::rig::read;

/// `make soak` sets them.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Each once, and again until the time is over.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn every_fault_in_random_order() {
    let span = Duration::from_secs(number("SOAK_SECONDS", 0));
    let seed = number("SOAK_SEED", 16);
    let mut rng = Rng::with_seed(seed);
    let before = read(SYSCTL);
    let mut world = World::new();
    let mut faults = FAULTS;
    let start = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || start.elapsed() < span {
        rng.shuffle(&mut faults);
        for (name, fault) in faults {
            println!("{:6.1} s: {name}", start.elapsed().as_secs_f64());
            world.suffer(&mut rng, fault);
        }
        rounds += 1;
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "seed {seed}: {} faults {rounds} times in {took:.0} s",
        faults.len()
    );
    assert!(world.scheduler.stop().success());
    assert_eq!(read(SYSCTL), before, "the host's value");
}
