// SPDX-License-Identifier: GPL-2.0-only
//! tracefs: who ran and who waited, who spun, who sent IPIs and yielded to whom, and
//! what came of it.

use std::collections::HashMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::rig::while_paused;

const ROOT: &str = "/sys/kernel/tracing";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-test";

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// `prev` left its CPU to `next`; it still wants to run if `waits`.
    Switch { prev: i32, waits: bool, next: i32 },
    /// `pid` was woken.
    Wake { pid: i32 },
    /// `from` asks yield_to() for a hand-off to `to`, which was ready to run but not
    /// running if `waiting`; the answer is 1 if the hint was taken.
    Ask {
        from: i32,
        to: i32,
        waiting: bool,
        answer: Option<i64>,
    },
    /// An IPI of `from`, a vCPU, has reached the vCPU `to` of its VM.
    Ipi { from: i32, to: usize },
    /// `pid`, a vCPU, spins: it has left its guest for a PAUSE.
    Spin { pid: i32 },
}

#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Of the host's clock, in µs.
    pub at_us: u64,
    /// Where it happened.
    pub cpu: u32,
    pub event: Event,
}

/// Everything that happened in `span`, in order.
pub fn record(span: Duration) -> Vec<Moment> {
    let _ = fs::create_dir(INSTANCE);
    let put = |file: &str, text: &str| {
        fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|e| panic!("{file}: {e}"))
    };
    fs::write(
        format!("{ROOT}/kprobe_events"),
        "p:vmland/ask yield_to to=p->pid:s32 state=p->__state:u32 on_cpu=p->on_cpu:u8\n\
         r:vmland/answer yield_to value=$retval:s64\n",
    )
    .expect("kprobe events with BTF arguments");
    put("tracing_on", "0");
    put("buffer_size_kb", "32768");
    put("trace", "");
    put("trace_clock", "mono");
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
        let text = fs::read(format!("{INSTANCE}/trace")).expect("a trace");
        put("events/enable", "0");
        fs::remove_dir(INSTANCE).expect("the instance goes");
        fs::write(format!("{ROOT}/kprobe_events"), "").expect("the probes go");
        text
    });

    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("LOST"), "the trace has gaps");
    in_order(text.lines().filter_map(parse))
}

/// A line of the trace.
enum Line {
    Moment(Moment),
    /// What yield_to() told `from`.
    Answer {
        from: i32,
        value: i64,
    },
}

/// yield_to() answers only after it has called schedule(), when the answer is long
/// in force: put it where it was asked for.
fn in_order(lines: impl Iterator<Item = Line>) -> Vec<Moment> {
    let mut moments: Vec<Moment> = vec![];
    let mut asking: HashMap<i32, usize> = HashMap::new();
    for line in lines {
        match line {
            Line::Moment(moment) => {
                if let Event::Ask { from, .. } = moment.event {
                    asking.insert(from, moments.len());
                }
                moments.push(moment);
            }
            Line::Answer { from, value } => {
                if let Some(at) = asking.remove(&from)
                    && let Event::Ask { answer, .. } = &mut moments[at].event
                {
                    *answer = Some(value);
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
    // The last of its name, for a task's name may hold anything.
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
        "ask" => Event::Ask {
            from: pid()?,
            to: number(" to=")? as i32,
            waiting: number(" state=")? == 0 && number(" on_cpu=")? & 1 == 0,
            answer: None,
        },
        "answer" => {
            return Some(Line::Answer {
                from: pid()?,
                value: number(" value=")?,
            });
        }
        "kvm_apic_accept_irq" => Event::Ipi {
            from: pid()?,
            to: usize::from_str_radix(rest.strip_prefix("apicid ")?.split(' ').next()?, 16).ok()?,
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
fn an_answer_belongs_to_its_question() {
    let trace = "\
        # tracer: nop\n\
        \x20      CPU 0/KVM-21      [001] d..2.    12.000007: ask: (yield_to+0x0/0x1) to=22 state=0 on_cpu=0\n\
        \x20      CPU 0/KVM-21      [001] d..2.    12.000010: sched_switch: prev_comm=CPU 0/KVM prev_pid=21 \
         prev_prio=120 prev_state=R+ ==> next_comm=CPU 1/KVM next_pid=22 next_prio=120\n\
        \x20      CPU 1/KVM-22      [001] d..2.    12.000020: kvm_apic_accept_irq: apicid a vec 253 (Fixed|edge)\n\
        \x20      CPU 0/KVM-21      [001] d..2.    13.000000: answer: (kvm_vcpu_yield_to+0x1 <- yield_to) value=1\n";
    let moments = in_order(trace.lines().filter_map(parse));
    assert_eq!(moments.len(), 3);
    assert_eq!((moments[0].at_us, moments[0].cpu), (12_000_007, 1));
    assert!(matches!(
        moments[0].event,
        Event::Ask {
            from: 21,
            to: 22,
            waiting: true,
            answer: Some(1)
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
    assert!(matches!(moments[2].event, Event::Ipi { from: 22, to: 10 }));
}
