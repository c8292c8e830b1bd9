// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vms`: which VMs the scheduler knows, and their vCPUs.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use scx_vmland::vm_name::VmIdentity;
use serde::Serialize;

use crate::client::{Client, schedstat};

/// List the VMs that the scheduler knows, and their vCPUs
#[derive(clap::Args)]
pub struct Opts {
    /// As JSON: an array of VMs; times in nanoseconds.
    #[arg(long)]
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
        writeln!(out, "{}", table(&vms))?;
    }
    Ok(())
}

fn read() -> Result<Vec<Vm>> {
    let mut client = Client::connect()?;
    let metrics = client.metrics()?;
    Ok(metrics
        .vms
        .iter()
        .map(|(&id, vm)| Vm {
            id,
            identity: client.identity(id, vm.tgid).clone(),
            pid: vm.tgid,
            pause_exits: vm.pause_exits,
            yields_asked: vm.yields_asked,
            yields_honoured: vm.yields_honoured,
            vcpus: vm
                .vcpus
                .iter()
                .map(|(&id, &tid)| {
                    let stat = schedstat(vm.tgid, tid);
                    Vcpu {
                        id,
                        tid,
                        cpu_ns: stat.as_ref().map_or(0, |stat| stat.sum_exec_runtime),
                        run_delay_ns: stat.as_ref().map_or(0, |stat| stat.run_delay),
                    }
                })
                .collect(),
        })
        .collect())
}

fn table(vms: &[Vm]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["VM", "VMM", "PID", "vCPU", "TID", "CPU s", "WAITED s"]);
    for vm in vms {
        for (i, vcpu) in vm.vcpus.iter().enumerate() {
            let (name, vmm, pid) = if i == 0 {
                (
                    vm.identity.name.as_str(),
                    vm.identity.vmm.as_str(),
                    vm.pid.to_string(),
                )
            } else {
                ("", "", String::new())
            };
            table.add_row([
                name,
                vmm,
                &pid,
                &vcpu.id.to_string(),
                &vcpu.tid.to_string(),
                &seconds(vcpu.cpu_ns),
                &seconds(vcpu.run_delay_ns),
            ]);
        }
    }
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn seconds(ns: u64) -> String {
    format!("{:.2}", ns as f64 / 1e9)
}
