// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vms`: which VMs the scheduler knows, and their threads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use vmland_control::stats::VmMetrics;
use vmland_identity::{Thread, VmIdentity, threads};

use crate::client::{Client, PROC, schedstat};

/// Stands where nothing is known.
const NONE: &str = "–";

/// List the VMs that the scheduler knows, and their vCPUs
#[derive(clap::Args)]
pub struct Opts {
    /// With UUID, user and cgroup.
    #[arg(long)]
    wide: bool,

    /// All that is known, the VMMs' other threads among it, as JSON: an array of VMs; times
    /// in nanoseconds.
    #[arg(long, conflicts_with = "wide")]
    json: bool,
}

#[derive(Serialize)]
struct Vm {
    id: u32,
    #[serde(flatten)]
    identity: VmIdentity,
    pid: i32,
    pause_exits: u64,
    yields_asked: u64,
    yields_honoured: u64,
    vcpus: Vec<Vcpu>,
    /// The threads of its process that are nobody's vCPUs.
    helpers: Vec<Thread>,
}

#[derive(Serialize)]
struct Vcpu {
    id: i32,
    tid: i32,
    cpu_ns: u64,
    run_delay_ns: u64,
}

pub fn run(opts: &Opts) -> Result<()> {
    let vms = read()?;
    let mut out = std::io::stdout().lock();
    if opts.json {
        serde_json::to_writer_pretty(&mut out, &vms)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", table(&vms, opts.wide))?;
    }
    Ok(())
}

fn read() -> Result<Vec<Vm>> {
    let mut client = Client::connect()?;
    let known = client.metrics()?.vms;
    let vms = known.iter().map(|(&id, vm)| Vm {
        id,
        identity: client.identity(id, vm.tgid).clone(),
        pid: vm.tgid,
        pause_exits: vm.pause_exits,
        yields_asked: vm.yields_asked,
        yields_honoured: vm.yields_honoured,
        vcpus: vm
            .vcpus
            .iter()
            .map(|(&id, &tid)| vcpu(vm, id, tid))
            .collect(),
        helpers: helpers(threads(Path::new(PROC), vm.tgid), &known),
    });
    Ok(vms.collect())
}

/// Zeros for a thread that is gone.
fn vcpu(vm: &VmMetrics, id: i32, tid: i32) -> Vcpu {
    let stat = schedstat(vm.tgid, tid);
    Vcpu {
        id,
        tid,
        cpu_ns: stat.as_ref().map_or(0, |stat| stat.sum_exec_runtime),
        run_delay_ns: stat.as_ref().map_or(0, |stat| stat.run_delay),
    }
}

/// A process may run several VMs: none of their vCPUs is a helper.
fn helpers(mut threads: Vec<Thread>, known: &BTreeMap<u32, VmMetrics>) -> Vec<Thread> {
    let vcpus: BTreeSet<i32> = known
        .values()
        .flat_map(|vm| vm.vcpus.values().copied())
        .collect();
    threads.retain(|thread| !vcpus.contains(&thread.tid));
    threads
}

/// A line for each vCPU; what is the VM's is in its first.
fn table(vms: &[Vm], wide: bool) -> Table {
    let mut header = vec!["VM", "VMM", "PID", "vCPU", "TID", "CPU s", "WAITED s"];
    if wide {
        header.extend(["UUID", "UID", "CGROUP"]);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for vm in vms {
        let mut of_vcpus: Vec<[String; 4]> = vm.vcpus.iter().map(cells).collect();
        if of_vcpus.is_empty() {
            of_vcpus.push([NONE; 4].map(str::to_owned));
        }
        for (i, of_vcpu) in of_vcpus.into_iter().enumerate() {
            let of_vm = |text: String| if i == 0 { text } else { String::new() };
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.into());
            let identity = &vm.identity;
            let mut row = vec![
                of_vm(identity.name.clone()),
                of_vm(identity.vmm.to_string()),
                of_vm(vm.pid.to_string()),
            ];
            row.extend(of_vcpu);
            if wide {
                row.push(of_vm(or_none(&identity.uuid)));
                row.push(of_vm(or_none(&identity.uid.map(|uid| uid.to_string()))));
                row.push(of_vm(or_none(&identity.cgroup)));
            }
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(2).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(vcpu: &Vcpu) -> [String; 4] {
    [
        vcpu.id.to_string(),
        vcpu.tid.to_string(),
        seconds(vcpu.cpu_ns),
        seconds(vcpu.run_delay_ns),
    ]
}

fn seconds(ns: u64) -> String {
    format!("{:.2}", ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_identity::Vmm;

    fn vms() -> Vec<Vm> {
        let vm = |id, name: &str, uuid: Option<&str>, vcpus| Vm {
            id,
            identity: VmIdentity {
                name: name.into(),
                vmm: Vmm::Qemu,
                uuid: uuid.map(str::to_owned),
                cgroup: Some(format!("/machine/{name}")),
                uid: Some(64055),
            },
            pid: 4711,
            pause_exits: 0,
            yields_asked: 0,
            yields_honoured: 0,
            vcpus,
            helpers: vec![Thread {
                tid: 4711,
                name: "qemu".into(),
            }],
        };
        let vcpu = |id| Vcpu {
            id,
            tid: 4720 + id,
            cpu_ns: 12_345_678_900,
            run_delay_ns: 0,
        };
        let uuid = "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11";
        vec![
            vm(1, "web", Some(uuid), vec![vcpu(0), vcpu(1)]),
            vm(2, "new", None, vec![]),
        ]
    }

    fn words(wide: bool) -> Vec<Vec<String>> {
        let table = table(&vms(), wide).to_string();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        table.lines().map(words).collect()
    }

    #[test]
    fn the_table_is_narrow() {
        let rows = words(false);
        assert_eq!(
            rows[1],
            ["web", "qemu", "4711", "0", "4720", "12.35", "0.00"]
        );
        assert_eq!(rows[2], ["1", "4721", "12.35", "0.00"]);
        assert_eq!(rows[3], ["new", "qemu", "4711", NONE, NONE, NONE, NONE]);
        let widest = table(&vms(), false)
            .lines()
            .map(|l| l.chars().count())
            .max();
        assert!(widest <= Some(80));
    }

    #[test]
    fn unless_it_is_to_be_wide() {
        let rows = words(true);
        assert_eq!(rows[0][9..], ["UUID", "UID", "CGROUP"]);
        let uuid = "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11";
        assert_eq!(rows[1][7..], [uuid, "64055", "/machine/web"]);
        assert_eq!(rows[2].len(), 4);
        assert_eq!(rows[3][7..], [NONE, "64055", "/machine/new"]);
    }

    #[test]
    fn json_has_all() {
        let json = serde_json::to_value(vms()).unwrap();
        assert_eq!(json[0]["vmm"], "qemu");
        assert_eq!(json[0]["cgroup"], "/machine/web");
        assert_eq!(json[0]["uid"], 64055);
        assert_eq!(json[1]["uuid"], serde_json::Value::Null);
        assert_eq!(json[0]["vcpus"][1]["tid"], 4721);
        assert_eq!(json[0]["helpers"][0]["name"], "qemu");
    }

    #[test]
    fn a_vcpu_of_any_vm_is_no_helper() {
        let vm = |tid| VmMetrics {
            tgid: 10,
            vcpus: [(0, tid)].into(),
            ..VmMetrics::default()
        };
        let known = BTreeMap::from([(1, vm(12)), (2, vm(13))]);
        let thread = |tid| Thread {
            tid,
            name: String::new(),
        };
        let left = helpers([10, 11, 12, 13].map(thread).to_vec(), &known);
        assert_eq!(left, [10, 11].map(thread));
    }
}
