// SPDX-License-Identifier: GPL-2.0-only
//! The trace event format of Chromium, as JSON: ui.perfetto.dev and chrome://tracing open it, and
//! no schema has to be linked ("Trace Event Format", a document of the Catapult project).
//!
//! | in the file | is |
//! | --- | --- |
//! | process [`HOST`], a thread for each CPU | who had the CPU, why, and why it gave it up |
//! | a process for each VM, a thread for each vCPU | when it ran, on which CPU, and when it waited |
//! | an instant | a directed yield, or a hand-off at leaving a CPU |
//! | a flow, which is drawn as an arrow | a hand-off that was taken: from one vCPU to the other |
//!
//! Times are in us, from the first record on.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::model::{Model, Slice, Yielded};

/// The number of the process whose threads are the CPUs. No VM can have it: it is that of init.
const HOST: i32 = 1;

/// Who the tasks are.
pub trait Names {
    /// Of a task: `web-1 vCPU 0`, or the thread's name.
    fn task(&self, pid: i32) -> String;
    /// The process and name of a VM.
    fn vm(&self, vm_id: u32) -> (i32, String);
}

/// What is said of the whole, for those who open the file.
pub struct About {
    pub version: String,
    pub records: usize,
    pub lost: u64,
    /// Whether it ended before its time, for its size.
    pub cut: bool,
}

pub fn write(
    out: &mut impl Write,
    model: &Model,
    names: &impl Names,
    about: &About,
) -> io::Result<()> {
    let about = json!({
        "version": about.version,
        "records": about.records,
        "lost": about.lost,
        "cut": about.cut,
        "clock": "CLOCK_MONOTONIC",
        "start_ns": model.start_ns,
    });
    writeln!(
        out,
        "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":["
    )?;
    let file = File { model, names };
    let mut events = file
        .tracks()
        .into_iter()
        .chain(model.slices.iter().flat_map(|slice| file.slice(slice)))
        .chain(
            (0..)
                .zip(&model.yields)
                .flat_map(|(id, it)| file.yielded(id, it)),
        )
        .peekable();
    while let Some(event) = events.next() {
        let end = if events.peek().is_some() { "," } else { "" };
        writeln!(out, "{event}{end}")?;
    }
    writeln!(out, "]}}")
}

struct File<'a, N> {
    model: &'a Model,
    names: &'a N,
}

impl<N: Names> File<'_, N> {
    /// The names of processes and threads.
    fn tracks(&self) -> Vec<Value> {
        let named = |what: &str, pid: i32, tid: i64, name: String| json!({ "ph": "M", "name": what, "pid": pid, "tid": tid, "args": { "name": name } });
        let cpus: BTreeSet<_> = self.model.slices.iter().filter_map(|it| it.cpu).collect();
        let vms: BTreeSet<_> = self.model.vcpus.values().copied().collect();
        let mut tracks = vec![named("process_name", HOST, 0, "CPUs".into())];
        tracks.extend(
            cpus.iter()
                .map(|cpu| named("thread_name", HOST, cpu_thread(*cpu), format!("CPU {cpu}"))),
        );
        for vm_id in vms {
            let (pid, name) = self.names.vm(vm_id);
            tracks.push(named("process_name", pid, 0, name));
        }
        for (tid, vm_id) in &self.model.vcpus {
            let (pid, _) = self.names.vm(*vm_id);
            tracks.push(named(
                "thread_name",
                pid,
                (*tid).into(),
                self.names.task(*tid),
            ));
        }
        tracks
    }

    /// On the CPU's track, and on the vCPU's.
    fn slice(&self, slice: &Slice) -> Vec<Value> {
        let mut args = json!({ "pid": slice.pid });
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                args[key] = value.into();
            }
        };
        add("begins", slice.why.map(|it| it.as_str().into()));
        add("ends", slice.ended.map(|it| it.as_str().into()));
        add(
            "meanwhile suspended",
            slice.suspended.map(|pid| self.names.task(pid)),
        );
        let drawn = |pid: i32, tid: i64, name: String, category: &str| {
            json!({
                "ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid,
                "ts": self.us(slice.start_ns), "dur": us(slice.end_ns - slice.start_ns), "args": args,
            })
        };
        let of_cpu = slice
            .cpu
            .map(|cpu| drawn(HOST, cpu_thread(cpu), self.names.task(slice.pid), "cpu"));
        let state = slice.cpu.map_or("waits".into(), |cpu| format!("CPU {cpu}"));
        let of_vcpu = self
            .vcpu(slice.pid)
            .map(|(pid, tid)| drawn(pid, tid, state, "vcpu"));
        of_cpu.into_iter().chain(of_vcpu).collect()
    }

    fn yielded(&self, id: usize, it: &Yielded) -> Vec<Value> {
        let name = format!("{} → {}", self.names.task(it.from), self.names.task(it.to));
        let instant = json!({
            "ph": "i", "s": "t", "name": name, "cat": "yield", "pid": HOST, "tid": cpu_thread(it.cpu),
            "ts": self.us(it.at_ns), "args": { "from": it.from, "to": it.to, "what": it.how.as_str() },
        });
        let arrow = |ph: &str, (pid, tid): (i32, i64), at_ns: u64| {
            let mut flow = json!({
                "ph": ph, "name": it.how.as_str(), "cat": "hand-off", "id": id,
                "pid": pid, "tid": tid, "ts": self.us(at_ns),
            });
            if ph == "f" {
                // It ends at the slice that begins there.
                flow["bp"] = "e".into();
            }
            flow
        };
        let ends = self.vcpu(it.from).zip(self.vcpu(it.to)).zip(it.taken_ns);
        let flow = ends
            .map(|((from, to), taken_ns)| [arrow("s", from, it.had_ns), arrow("f", to, taken_ns)]);
        [instant]
            .into_iter()
            .chain(flow.into_iter().flatten())
            .collect()
    }

    /// The track of a vCPU.
    fn vcpu(&self, tid: i32) -> Option<(i32, i64)> {
        let (pid, _) = self.names.vm(*self.model.vcpus.get(&tid)?);
        Some((pid, tid.into()))
    }

    fn us(&self, at_ns: u64) -> f64 {
        us(at_ns - self.model.start_ns)
    }
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn cpu_thread(cpu: u32) -> i64 {
    i64::from(cpu) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::model::tests::a_hand_off;
    use std::collections::BTreeMap;

    struct Test;

    impl Names for Test {
        fn task(&self, pid: i32) -> String {
            format!("\"task\" {pid}")
        }

        fn vm(&self, vm_id: u32) -> (i32, String) {
            (1_000 + vm_id as i32, format!("vm\n{vm_id}"))
        }
    }

    fn written(model: &Model) -> Value {
        let about = About {
            version: "1".into(),
            records: 12,
            lost: 3,
            cut: false,
        };
        let mut out = vec![];
        write(&mut out, model, &Test, &about).expect("written");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn events<'a>(file: &'a Value, ph: &str) -> Vec<&'a Value> {
        let all = file["traceEvents"].as_array().expect("a list").iter();
        all.filter(|event| event["ph"] == ph).collect()
    }

    #[test]
    fn a_file_is_read_back() {
        let model = Model::new(a_hand_off());
        let file = written(&model);
        assert_eq!(
            (&file["otherData"]["lost"], &file["otherData"]["records"]),
            (&3.into(), &12.into())
        );
        let names = events(&file, "M");
        let named = |pid: i32, tid: i32, name: &str| {
            names
                .iter()
                .any(|it| it["pid"] == pid && it["tid"] == tid && it["args"]["name"] == name)
        };
        assert!(
            named(HOST, 2, "CPU 1") && named(1_007, 0, "vm\n7") && named(1_007, 12, "\"task\" 12")
        );

        // On each track slices follow each other: the CPU's, and those of the two vCPUs.
        let mut tracks = BTreeMap::<(i64, i64), Vec<(f64, f64)>>::new();
        for slice in events(&file, "X") {
            let track = ["pid", "tid"].map(|key| slice[key].as_i64().expect("a number"));
            let [start, length] = ["ts", "dur"].map(|key| slice[key].as_f64().expect("a number"));
            assert!(length > 0.0 && start >= 0.0);
            tracks
                .entry(track.into())
                .or_default()
                .push((start, start + length));
        }
        assert_eq!(
            tracks.keys().copied().collect::<Vec<_>>(),
            [(1, 2), (1_007, 11), (1_007, 12)]
        );
        for slices in tracks.values_mut() {
            slices.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                slices.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-6),
                "{slices:?}"
            );
        }
        assert_eq!(tracks[&(1, 2)].len(), 5);

        // An arrow from the yielder to the target, and the instant that says so.
        let (starts, ends) = (events(&file, "s"), events(&file, "f"));
        assert_eq!((starts.len(), ends.len()), (1, 1));
        assert_eq!(
            (&starts[0]["tid"], &ends[0]["tid"]),
            (&11.into(), &12.into())
        );
        assert_eq!(
            (&starts[0]["id"], &ends[0]["bp"]),
            (&ends[0]["id"], &"e".into())
        );
        assert_eq!(
            (&starts[0]["ts"], &ends[0]["ts"]),
            (&4.0.into(), &4.3.into())
        );
        let instants = events(&file, "i");
        assert_eq!(instants[0]["args"]["what"], "hand-off to the target");
        let first = events(&file, "X")
            .into_iter()
            .find(|it| it["args"]["pid"] == 100);
        let first = &first.expect("it ran")["args"];
        assert_eq!(first["meanwhile suspended"], "\"task\" 12");
        assert_eq!(
            (&first["begins"], &first["ends"]),
            (&"it woke, and preempted".into(), &"it sleeps".into())
        );
    }

    #[test]
    fn an_empty_trace_is_a_file() {
        let file = written(&Model::new(vec![]));
        assert!(events(&file, "X").is_empty());
    }
}
