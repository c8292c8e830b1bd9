// SPDX-License-Identifier: GPL-2.0-only
//! READY% of `vmland top` is what the kernel's tracepoints and the guest itself count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control::done;
use crate::rig::{Guest, Scheduler, ms, read};
use crate::trace::{Event, Moment, record};

const SPAN: Duration = ms(8_000);

/// The whole of `vmland top` over [`SPAN`].
fn top() -> Value {
    let seconds = SPAN.as_secs().to_string();
    let json = done(&["top", "--once", "--json", "--interval", &seconds]);
    serde_json::from_str(&json).expect("JSON")
}

fn of<'a>(top: &'a Value, vm: &str) -> &'a Value {
    let mut vms = top["vms"].as_array().expect("a list").iter();
    vms.find(|it| it["name"] == vm).expect("it is there")
}

fn number(vm: &Value, key: &str) -> f64 {
    vm[key].as_f64().unwrap_or_else(|| panic!("{key}: {vm}"))
}

/// How long the kernel says that these threads have waited for a CPU, in ns.
fn run_delay_ns(tids: &[i32]) -> u64 {
    let one = |tid| -> u64 {
        let stat = read(&format!("/proc/{tid}/schedstat"));
        stat.split(' ')
            .nth(1)
            .expect("a field")
            .parse()
            .expect("a number")
    };
    tids.iter().map(|tid| one(*tid)).sum()
}

fn since_boot_us() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    Duration::from(now).as_micros() as u64
}

/// The waits that ended between two times, summed, in us. A thread waits from when it is woken or
/// preempted until it is switched to.
fn waited_us(moments: &[Moment], tids: &[i32], from_us: u64, to_us: u64) -> u64 {
    let tids: BTreeSet<_> = tids.iter().copied().collect();
    let mut since = HashMap::new();
    let mut sum = 0;
    for Moment { at_us, event, .. } in moments {
        match event {
            Event::Wake { pid } if tids.contains(pid) => {
                since.entry(*pid).or_insert(*at_us);
            }
            Event::Switch { prev, waits, next } => {
                if let Some(since) = since.remove(next)
                    && (from_us..to_us).contains(at_us)
                {
                    sum += at_us - since;
                }
                if *waits && tids.contains(prev) {
                    since.insert(*prev, *at_us);
                }
            }
            _ => {}
        }
    }
    sum
}

#[test]
fn waits_end_when_the_thread_is_switched_to() {
    let moment = |at_us, event| Moment {
        at_us,
        cpu: 1,
        event,
    };
    let switch = |prev, waits, next| Event::Switch { prev, waits, next };
    let moments = [
        moment(10, switch(7, true, 8)),
        moment(15, Event::Wake { pid: 9 }),
        moment(20, switch(8, false, 7)),
        moment(30, switch(7, true, 8)),
        moment(36, switch(8, true, 7)),
    ];
    assert_eq!(waited_us(&moments, &[7], 0, 100), 16);
    assert_eq!(waited_us(&moments, &[7, 8], 25, 100), 6);
    assert_eq!(waited_us(&moments, &[9], 0, 100), 0);
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn ready_is_what_the_kernel_and_the_guest_count() {
    let [one, other] = Guest::take_all(["cpu-a", "cpu-b"]);
    let scheduler = Scheduler::start(&[]);
    sleep(ms(2_000));
    let tids = one.vcpu_threads();

    // schedstat, which top reads, against the tracepoints.
    let is_recorded = AtomicBool::new(false);
    let (moments, reads) = scope(|scope| {
        let reads = scope.spawn(|| {
            let mut reads = vec![];
            while !is_recorded.load(Ordering::Relaxed) {
                reads.push((since_boot_us(), run_delay_ns(&tids)));
                sleep(ms(50));
            }
            reads
        });
        let moments = record(ms(3_000));
        is_recorded.store(true, Ordering::Relaxed);
        (moments, reads.join().expect("it reads"))
    });
    // Those that fall into the trace: it begins later than record(), and ends earlier.
    let (first, last) = (moments[0].at_us, moments[moments.len() - 1].at_us);
    let within: Vec<_> = { reads.into_iter() }
        .filter(|(at_us, _)| (first..last).contains(at_us))
        .collect();
    let ((from_us, before), (to_us, after)) = (within[0], within[within.len() - 1]);
    assert!(to_us - from_us > 2_000_000, "a short trace");
    let traced = waited_us(&moments, &tids, from_us, to_us) as f64;
    let span = (to_us - from_us) as f64;
    let percent = |us: f64| 100.0 * us / span / tids.len() as f64;
    let (counted, traced) = (percent((after - before) as f64 / 1e3), percent(traced));
    println!("ready: schedstat {counted:.2} %, tracepoints {traced:.2} %");
    // They differ by 0.08 and 0.01 in two boots.
    assert!((counted - traced).abs() < 1.0 && traced > 20.0);

    // top against schedstat, and against what the guest counts as stolen.
    let (start, before, steal_before) = (Instant::now(), run_delay_ns(&tids), one.steal());
    let top_vmland = top();
    let (span, after, steal_after) = (start.elapsed(), run_delay_ns(&tids), one.steal());
    let vm = of(&top_vmland, "cpu-a");
    let ready = number(vm, "ready_percent");
    let of_vcpus = |part: Duration, span: Duration| {
        100.0 * part.as_secs_f64() / span.as_secs_f64() / tids.len() as f64
    };
    let counted = of_vcpus(Duration::from_nanos(after - before), span);
    let guest = steal_after.0 - steal_before.0;
    let stolen = of_vcpus(steal_after.1 - steal_before.1, guest);
    println!(
        "ready: top {ready:.2} %, schedstat {counted:.2} %, stolen in the guest {stolen:.2} %"
    );
    println!("{top_vmland}");
    // By 0.3 and 0.7 in two boots: the tool takes a moment to start. From the guest, by 0.4 and 0.2.
    assert!((ready - counted).abs() < 1.0);
    assert!((ready - stolen).abs() < 2.0);
    // Two VMs of one weight have a CPU each.
    assert!((85.0..115.0).contains(&number(vm, "due_percent")));
    assert!(number(vm, "process_percent") > number(vm, "cpu_percent") - 2.0);
    assert_eq!(top_vmland["host"]["scheduler"], "vmland");
    assert!(number(&top_vmland["host"], "scheduler_cpu_percent") < 50.0);
    assert!(number(&top_vmland["host"], "runnable_vcpus") > 3.0);

    // What can be known without scx_vmland.
    assert!(scheduler.stop().success());
    let top_stock = top();
    let vm = of(&top_stock, "cpu-a");
    println!("{top_stock}");
    assert!(top_stock["host"]["scheduler"].is_null() && vm["due_percent"].is_null());
    let known = |vm: &Value| -> BTreeMap<i64, i64> {
        let vcpus = vm["vcpus"].as_array().expect("a list").iter();
        let number = |vcpu: &Value, key: &str| vcpu[key].as_i64().expect("a number");
        vcpus
            .map(|it| (number(it, "id"), number(it, "tid")))
            .collect()
    };
    let expected: BTreeMap<_, _> = (0..).zip(tids.iter().map(|tid| i64::from(*tid))).collect();
    assert_eq!(known(vm), expected);
    assert_eq!(known(of(&top_vmland, "cpu-a")), expected);
    assert!(number(vm, "ready_percent") > 20.0 && number(vm, "exits_per_s") > 0.0);
    assert!(number(of(&top_stock, "cpu-b"), "cpu_percent") > 50.0);
    drop(other);
}
