// SPDX-License-Identifier: GPL-2.0-only
//! tracefs: context switches, wake-ups, and of vCPUs: pause exits, IPIs and directed yields.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use crate::rig::{Tracefs, while_paused};

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The CPU switched from `prev`, which stays runnable if `waits`, to `next`.
    Switch { prev: i32, waits: bool, next: i32 },
    /// `pid` was woken.
    Wake { pid: i32 },
    /// `yielder` called yield_to(). `waiting`: `target` was runnable and not running.
    /// `result`: what yield_to() returned, 1 if the hint was taken.
    Yield {
        yielder: i32,
        target: i32,
        waiting: bool,
        result: Option<i64>,
    },
    /// An IPI of the vCPU thread `sender` was delivered to the vCPU of this id, of its VM.
    Ipi { sender: i32, receiver_id: usize },
    /// A pause exit of the vCPU thread `pid`.
    Spin { pid: i32 },
}

#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// CLOCK_MONOTONIC.
    pub at_us: u64,
    pub cpu: u32,
    pub event: Event,
}

/// The events of `span`, in order.
pub fn record(span: Duration) -> Vec<Moment> {
    let tracefs = Tracefs::new(
        "p:vmland/yield yield_to target=p->pid:s32 state=p->__state:u32 on_cpu=p->on_cpu:u8\n\
         r:vmland/result yield_to value=$retval:s64\n",
    );
    let put = |file: &str, text: &str| tracefs.put(file, text);
    put("tracing_on", "0");
    put("buffer_size_kb", "32768");
    put("events/vmland/enable", "1");
    // The IPIs of a Linux guest: arch/x86/include/asm/irq_vectors.h.
    put(
        "events/kvm/kvm_apic_accept_irq/filter",
        "vec >= 0xfb && vec <= 0xfd",
    );
    // SVM_EXIT_PAUSE, for the emulated CPU is an AMD.
    put("events/kvm/kvm_exit/filter", "exit_reason == 0x77");
    for event in [
        "sched/sched_switch",
        "sched/sched_wakeup",
        "kvm/kvm_apic_accept_irq",
        "kvm/kvm_exit",
    ] {
        put(&format!("events/{event}/enable"), "1");
    }
    put("tracing_on", "1");
    sleep(span);
    put("tracing_on", "0");
    // Beside guests that work it takes several times as long.
    let text = while_paused(|| {
        let text = tracefs.trace();
        drop(tracefs);
        text
    });

    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("LOST"), "the trace has gaps");
    in_order(text.lines().filter_map(parse))
}

/// A line of the trace.
enum Line {
    Moment(Moment),
    /// What yield_to() returned to `yielder`.
    Result {
        yielder: i32,
        value: i64,
    },
}

/// yield_to() returns after it has called schedule(), when its result has taken effect already.
/// So the result goes to the event of the call.
fn in_order(lines: impl Iterator<Item = Line>) -> Vec<Moment> {
    let mut moments: Vec<Moment> = vec![];
    let mut calls: HashMap<i32, usize> = HashMap::new();
    for line in lines {
        match line {
            Line::Moment(moment) => {
                if let Event::Yield { yielder, .. } = moment.event {
                    calls.insert(yielder, moments.len());
                }
                moments.push(moment);
            }
            Line::Result { yielder, value } => {
                if let Some(at) = calls.remove(&yielder)
                    && let Event::Yield { result, .. } = &mut moments[at].event
                {
                    *result = Some(value);
                }
            }
        }
    }
    moments
}

/// `  CPU 1/KVM-183  [001] d..2.  12.345678: sched_switch: prev_comm=… prev_pid=183 …`
fn parse(line: &str) -> Option<Line> {
    if line.starts_with('#') {
        return None;
    }
    let (task, rest) = line.split_once(" [")?;
    let (cpu, rest) = rest.split_once(']')?;
    let (before, rest) = rest.split_once(": ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (seconds, us) = before.rsplit_once(' ')?.1.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + us.parse::<u64>().ok()?;
    let pid = || task.trim_end().rsplit_once('-')?.1.parse().ok();
    // The last of this name: a task's name may hold the same text.
    let field = |name: &str| {
        let (_, value) = rest.rsplit_once(name)?;
        value.split([' ', ')']).next()
    };
    let number = |name: &str| field(name)?.parse::<i64>().ok();
    let event = match name {
        "sched_switch" => Event::Switch {
            prev: number(" prev_pid=")? as i32,
            waits: field(" prev_state=")?.starts_with('R'),
            next: number(" next_pid=")? as i32,
        },
        "sched_wakeup" => Event::Wake {
            pid: number(" pid=")? as i32,
        },
        "yield" => Event::Yield {
            yielder: pid()?,
            target: number(" target=")? as i32,
            waiting: number(" state=")? == 0 && number(" on_cpu=")? & 1 == 0,
            result: None,
        },
        "result" => {
            return Some(Line::Result {
                yielder: pid()?,
                value: number(" value=")?,
            });
        }
        "kvm_apic_accept_irq" => Event::Ipi {
            sender: pid()?,
            receiver_id: usize::from_str_radix(
                rest.strip_prefix("apicid ")?.split(' ').next()?,
                16,
            )
            .ok()?,
        },
        "kvm_exit" => Event::Spin { pid: pid()? },
        _ => return None,
    };
    Some(Line::Moment(Moment {
        at_us,
        cpu: cpu.parse().ok()?,
        event,
    }))
}

#[test]
fn a_result_belongs_to_its_call() {
    let trace = "\
        # tracer: nop\n\
        \x20      CPU 0/KVM-21      [001] d..2.    12.000007: yield: (yield_to+0x0/0x1) target=22 state=0 on_cpu=0\n\
        \x20      CPU 0/KVM-21      [001] d..2.    12.000010: sched_switch: prev_comm=CPU 0/KVM prev_pid=21 \
         prev_prio=120 prev_state=R+ ==> next_comm=CPU 1/KVM next_pid=22 next_prio=120\n\
        \x20      CPU 1/KVM-22      [001] d..2.    12.000020: kvm_apic_accept_irq: apicid a vec 253 (Fixed|edge)\n\
        \x20      CPU 0/KVM-21      [001] d..2.    13.000000: result: (kvm_vcpu_yield_to+0x1 <- yield_to) value=1\n";
    let moments = in_order(trace.lines().filter_map(parse));
    assert_eq!(moments.len(), 3);
    assert_eq!((moments[0].at_us, moments[0].cpu), (12_000_007, 1));
    assert!(matches!(
        moments[0].event,
        Event::Yield {
            yielder: 21,
            target: 22,
            waiting: true,
            result: Some(1)
        }
    ));
    assert!(matches!(
        moments[1].event,
        Event::Switch {
            prev: 21,
            waits: true,
            next: 22
        }
    ));
    assert!(matches!(
        moments[2].event,
        Event::Ipi {
            sender: 22,
            receiver_id: 10
        }
    ));
}
