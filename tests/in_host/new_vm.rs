// SPDX-License-Identifier: GPL-2.0-only
//! How soon a new VM has parameters after it has been recognised.

use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use vmland_control::{Request, Setting, Shown, client};

use crate::bpf_intf::{vmland_vcpu, vmland_vm_params};
use crate::rig::{BareVm, Hog, Scheduler, Tracefs, ms, read, wait_for};

/// No CPU is idle. Of six VMs, with little else running on the machine: 0.6 to 15 ms in six boots.
/// With five compilers running on its two CPUs: 6 to 77 ms, medians to 26 ms.
const MEDIAN_LIMIT_US: u64 = 40_000;
const LIMIT_US: u64 = 200_000;

/// A read of the process took 0.6 to 14 s.
const ANSWERS: usize = 5;

/// Until a VM whose process can be read has what its name gives it.
const IDENTIFIED_LIMIT: Duration = ms(1_000);

/// Calls `f`. Returns for each VM of which the scheduler recognised a vCPU meanwhile how long it
/// took from then until its parameters were written for the first time, in us.
fn delays_us(f: impl FnOnce()) -> Vec<u64> {
    // The arguments of htab_map_update_elem(map, key, value, flags) on x86-64, and of the
    // same for arrays. A map's name has 15 characters.
    let probes = format!(
        "p:vmland_new/seen htab_map_update_elem map=map->name:string vm=+{seen}(%dx):u32\n\
         p:vmland_new/written array_map_update_elem map=map->name:string vm=+{written}(%dx):u32\n",
        seen = offset_of!(vmland_vcpu, vm_id),
        written = offset_of!(vmland_vm_params, vm_id),
    );
    let tracefs = Tracefs::new(&probes);
    let put = |file: &str, text: &str| tracefs.put(file, text);
    put("events/vmland_new/seen/filter", "map == \"vmland_vcpus\"");
    put(
        "events/vmland_new/written/filter",
        "map == \"vmland_vm_param\"",
    );
    put("events/vmland_new/enable", "1");
    f();
    put("tracing_on", "0");
    let trace = tracefs.trace();
    drop(tracefs);
    let trace = String::from_utf8_lossy(&trace);

    let lines: Vec<Line> = trace.lines().filter_map(Line::parse).collect();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.event == "seen") {
        seen.entry(line.field("vm")).or_insert(line.at_us);
    }
    seen.iter()
        .map(|(vm, &since)| {
            let of_vm = |line: &&Line| line.event == "written" && line.field("vm") == *vm;
            let written = lines.iter().filter(of_vm).find(|line| line.at_us >= since);
            let written = written.unwrap_or_else(|| panic!("VM {vm} has none:\n{trace}"));
            written.at_us - since
        })
        .collect()
}

/// `  scx_vmland-183  [001] d..2.  12.345678: written: (…+0x0/0x1) map="vmland_vm_param" vm=3`
struct Line<'a> {
    at_us: u64,
    event: &'a str,
    fields: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (_, rest) = line.split_once(" [")?;
        let (before, rest) = rest.split_once(": ")?;
        let (event, fields) = rest.split_once(": ")?;
        let (seconds, us) = before.rsplit_once(' ')?.1.split_once('.')?;
        Some(Self {
            at_us: seconds.parse::<u64>().ok()? * 1_000_000 + us.parse::<u64>().ok()?,
            event,
            fields,
        })
    }

    fn field(&self, name: &str) -> &'a str {
        let mut fields = self.fields.split_whitespace();
        fields
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name}: {}", self.fields))
    }
}

fn shown(vm: &str) -> Result<Shown, client::Error> {
    client::ask(&Request::Show { vm: vm.into() })
}

/// A read of the process `pid` that blocks. Now and then one does not.
fn blocked_read(pid: i32) -> JoinHandle<()> {
    for _ in 0..100 {
        let read = spawn(move || drop(fs::read(format!("/proc/{pid}/cmdline"))));
        sleep(ms(50));
        if !read.is_finished() {
            return read;
        }
    }
    panic!("the process can be read");
}

/// No CPU is idle, so the thread that writes parameters has to preempt. The processes of some VMs
/// cannot be read for a long time. They have parameters all the same, clients are answered, and
/// other VMs get what their names give them.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_new_vm_has_parameters_at_once() {
    let _scheduler = Scheduler::start(&["--vm", "*:slice=3ms", "--vm", "new_vm::*:weight=300"]);
    let _hogs = ["1", "2", "4"].map(|mask| Hog::start(mask, 0));
    let mut delays = delays_us(|| {
        let unreadable = [BareVm::unreadable(), BareVm::unreadable()];
        let first = (0..ANSWERS)
            .filter(|_| {
                let blocked = blocked_read(unreadable[0].pid());
                let error = shown("nobody").expect_err("there is no such VM");
                assert!(matches!(error, client::Error::Refused(_)), "{error}");
                !blocked.is_finished()
            })
            .count();
        println!("{first} of {ANSWERS} answers came while a read of the process was blocked");
        assert!(first * 2 > ANSWERS);

        for _ in 0..4 {
            let vm = BareVm::start();
            // After its process, which is a thread of this program.
            let name = format!(
                "{}[{}]",
                read(&format!("/proc/{}/comm", vm.pid())),
                vm.pid()
            );
            let identified = wait_for("its weight", IDENTIFIED_LIMIT, || {
                let is_set = |it: &Setting| it.key == "weight" && it.value == "300";
                shown(&name).is_ok_and(|vm| vm.settings.iter().any(is_set))
            });
            println!("{name} identified after {identified:.1?}");
        }
    });
    println!("us from the first vCPU until its VM had parameters: {delays:?}");
    assert_eq!(delays.len(), 6);
    delays.sort_unstable();
    assert!(delays[2] <= MEDIAN_LIMIT_US && delays[5] <= LIMIT_US);
}
