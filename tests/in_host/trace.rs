// SPDX-License-Identifier: GPL-2.0-only
//! tracefs: who was switched in, who yielded to whom, and what came of it.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

const ROOT: &str = "/sys/kernel/tracing";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-test";

#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// `next` got a CPU.
    Switch { next: i32 },
    /// `from` asks for a hand-off to `to`, which was ready to run but not running
    /// if `waiting`.
    Ask { from: i32, to: i32, waiting: bool },
    /// What yield_to() told `from`: 1 if the hint was taken.
    Answer { from: i32, value: i64 },
}

/// Everything that happened in `span`, in order.
pub fn record(span: Duration) -> Vec<Event> {
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
    put("events/sched/sched_switch/enable", "1");
    put("tracing_on", "1");
    sleep(span);
    put("tracing_on", "0");
    let text = fs::read(format!("{INSTANCE}/trace")).expect("a trace");
    put("events/enable", "0");
    fs::remove_dir(INSTANCE).expect("the instance goes");
    fs::write(format!("{ROOT}/kprobe_events"), "").expect("the probes go");

    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("LOST"), "the trace has gaps");
    text.lines().filter_map(parse).collect()
}

/// `  CPU 1/KVM-183  [001] d..2.  12.345678: sched_switch: prev_comm=… prev_pid=183 …`
fn parse(line: &str) -> Option<Event> {
    if line.starts_with('#') {
        return None;
    }
    let (task, rest) = line.split_once(" [")?;
    let pid = || task.trim_end().rsplit_once('-')?.1.parse().ok();
    let field = |name: &str| {
        let (_, value) = rest.rsplit_once(name)?;
        value.split([' ', ')']).next()
    };
    let number = |name: &str| field(name)?.parse::<i64>().ok();
    if rest.contains(": sched_switch: ") {
        Some(Event::Switch {
            next: number(" next_pid=")? as i32,
        })
    } else if rest.contains(": ask: ") {
        Some(Event::Ask {
            from: pid()?,
            to: number(" to=")? as i32,
            waiting: number(" state=")? == 0 && number(" on_cpu=")? & 1 == 0,
        })
    } else if rest.contains(": answer: ") {
        Some(Event::Answer {
            from: pid()?,
            value: number(" value=")?,
        })
    } else {
        None
    }
}
