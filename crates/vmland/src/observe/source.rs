// SPDX-License-Identifier: GPL-2.0-only
//! Where totals are read.
//!
//! | what | where |
//! | --- | --- |
//! | which VMs there are | scx_vmland, KVM's debugfs; else who holds a VM open |
//! | their vCPU threads | the same; else by the threads' names |
//! | CPU time, time ready, runs | `/proc/PID/task/TID/schedstat`, under any scheduler |
//! | a process's CPU time | `/proc/PID/stat` |
//! | exits, halt polling | KVM's debugfs |
//! | yields, IPIs, throttling, weight | scx_vmland |
//!
//! The kernel keeps schedstat outside its scheduling classes (`sched_info_arrive()`), so it means
//! the same for a task of sched_ext.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use procfs::process::{Schedstat, Stat};
use procfs::{CpuPressure, FromRead};
use vmland_base::cpus;
use vmland_control::client::server_pid;
use vmland_control::stats::Metrics;
use vmland_identity::{Thread, VmIdentity, holders, identify, threads};

use super::kvm::{self, KvmVm};
use super::reading::{Counters, Host, Reading, Vcpu, Vm, VmKey};
use crate::client::{Client, PROC};
use crate::sched_ext::attached_below;

const SYS: &str = "/sys";

/// The name of scx_vmland's ops.
const VMLAND: &str = "vmland";

pub struct Source {
    proc: PathBuf,
    sys: PathBuf,
    began: Instant,
    /// While scx_vmland is attached, and answers.
    scheduler: Option<(Client, Option<i32>)>,
    /// By PID and time of start.
    identities: HashMap<(i32, u64), VmIdentity>,
}

impl Default for Source {
    fn default() -> Self {
        Self::of(PROC.into(), SYS.into())
    }
}

impl Source {
    fn of(proc: PathBuf, sys: PathBuf) -> Self {
        Self {
            proc,
            sys,
            began: Instant::now(),
            scheduler: None,
            identities: HashMap::new(),
        }
    }

    pub fn read(&mut self) -> Reading {
        let scheduler = attached(&self.sys);
        let is_vmland = scheduler.as_deref() == Some(VMLAND);
        let counters = is_vmland.then(|| self.ask()).flatten();
        if counters.is_none() {
            self.scheduler = None;
        }
        self.compose(scheduler, counters)
    }

    /// What scx_vmland counts. None if it does not answer, or this user may not ask.
    fn ask(&mut self) -> Option<Metrics> {
        if self.scheduler.is_none() {
            self.scheduler = Some((Client::connect().ok()?, server_pid()));
        }
        self.scheduler.as_mut()?.0.metrics().ok()
    }

    fn compose(&mut self, scheduler: Option<String>, mut counters: Option<Metrics>) -> Reading {
        let at_ns = self.now_ns();
        let known = counters
            .as_mut()
            .map_or_else(BTreeMap::new, |it| std::mem::take(&mut it.vms));
        let known = known
            .into_iter()
            .map(|(vm_id, of_vm)| Counters { vm_id, of_vm });
        let vms = self.vms(known.collect());
        let scheduler_pid = self.scheduler.as_ref().and_then(|(_, pid)| *pid);
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Reading {
            unix_ms: since_1970.as_millis() as u64,
            at_ns,
            host: Host {
                cpus: online(&self.sys),
                scheduler,
                scheduler_cpu_ns: scheduler_pid.and_then(|pid| Some(cpu_ns(&self.stat(pid)?))),
                pressure_ns: CpuPressure::from_file(self.proc.join("pressure/cpu"))
                    .ok()
                    .map(|it| it.some.total * 1_000),
                counters,
            },
            vms,
        }
    }

    fn vms(&mut self, known: Vec<Counters>) -> BTreeMap<VmKey, Vm> {
        let of_kvm = kvm::vms(&self.sys).unwrap_or_else(|| self.held());
        let mut vms = BTreeMap::new();
        let mut seen = vec![];
        for (vm, counters) in merged(of_kvm, known) {
            let Some(stat) = self.stat(vm.pid) else {
                continue;
            };
            let start = (vm.pid, stat.starttime);
            seen.push(start);
            let nth = vms.range(key(vm.pid, 0)..=key(vm.pid, u32::MAX)).count() as u32;
            let vm = self.vm(vm, counters, &stat);
            vms.insert(key(start.0, nth), vm);
        }
        self.identities.retain(|start, _| seen.contains(start));
        make_names_unique(&mut vms);
        vms
    }

    fn vm(&mut self, vm: KvmVm, counters: Option<Counters>, stat: &Stat) -> Vm {
        let tids = if vm.vcpus.is_empty() && counters.is_none() {
            self.vcpus_by_name(vm.pid)
        } else {
            vm.vcpus
        };
        let vcpu = |(id, tid): (i32, i32)| Some((id, vcpu(&self.proc, vm.pid, tid)?));
        let at_ns = self.now_ns();
        let identity = self.identities.entry((vm.pid, stat.starttime));
        Vm {
            identity: identity
                .or_insert_with(|| identify(&self.proc, vm.pid))
                .clone(),
            at_ns,
            vcpus: tids.into_iter().filter_map(vcpu).collect(),
            process_cpu_ns: Some(cpu_ns(stat)),
            counters,
            exits: vm.exits,
            poll_wasted_ns: vm.poll_wasted_ns,
        }
    }

    /// Without KVM's debugfs.
    fn held(&self) -> Vec<KvmVm> {
        let vm = |pid| KvmVm {
            pid,
            ..KvmVm::default()
        };
        holders(&self.proc).into_iter().map(vm).collect()
    }

    fn vcpus_by_name(&self, pid: i32) -> BTreeMap<i32, i32> {
        let vcpus = threads(&self.proc, pid).into_iter();
        let vcpus = vcpus.filter(Thread::is_vcpu_by_name);
        (0..).zip(vcpus.map(|thread| thread.tid)).collect()
    }

    fn stat(&self, pid: i32) -> Option<Stat> {
        Stat::from_file(self.proc.join(pid.to_string()).join("stat")).ok()
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

/// Each VM once, with what scx_vmland counts for it. It is the same VM if they have a vCPU thread
/// in common. KVM knows all vCPUs; scx_vmland those that have run since it attached.
fn merged(of_kvm: Vec<KvmVm>, mut known: Vec<Counters>) -> Vec<(KvmVm, Option<Counters>)> {
    let mut merged: Vec<_> = { of_kvm.into_iter() }
        .map(|vm| {
            let is_same = |it: &Counters| {
                let mut tids = it.of_vm.vcpus.values();
                it.of_vm.tgid == vm.pid
                    && (vm.vcpus.is_empty() || tids.any(|tid| vm.vcpus.values().any(|t| t == tid)))
            };
            let counters = known.iter().position(is_same).map(|at| known.remove(at));
            let mut vm = vm;
            for (id, tid) in counters.iter().flat_map(|it| &it.of_vm.vcpus) {
                vm.vcpus.entry(*id).or_insert(*tid);
            }
            (vm, counters)
        })
        .collect();
    // Of a VM whose process has just made it.
    merged.extend(known.into_iter().map(|it| {
        let vm = KvmVm {
            pid: it.of_vm.tgid,
            vcpus: it.of_vm.vcpus.clone(),
            ..KvmVm::default()
        };
        (vm, Some(it))
    }));
    merged
}

/// Adds its PID to a name that an earlier VM has.
fn make_names_unique(vms: &mut BTreeMap<VmKey, Vm>) {
    let mut names = HashSet::new();
    for (key, vm) in vms {
        if !names.insert(vm.identity.name.clone()) {
            let nth = if key.nth == 0 {
                String::new()
            } else {
                format!(".{}", key.nth)
            };
            vm.identity.name = format!("{} ({}{nth})", vm.identity.name, key.pid);
            names.insert(vm.identity.name.clone());
        }
    }
}

fn key(pid: i32, nth: u32) -> VmKey {
    VmKey { pid, nth }
}

/// None if the thread is gone.
fn vcpu(proc: &Path, pid: i32, tid: i32) -> Option<Vcpu> {
    let stat = Schedstat::from_file(proc.join(format!("{pid}/task/{tid}/schedstat"))).ok()?;
    Some(Vcpu {
        tid,
        cpu_ns: stat.sum_exec_runtime,
        ready_ns: stat.run_delay,
        runs: stat.pcount,
    })
}

fn cpu_ns(stat: &Stat) -> u64 {
    (stat.utime + stat.stime) * (1_000_000_000 / procfs::ticks_per_second())
}

/// The name of the attached sched_ext scheduler, without the version and target that schedulers
/// in Rust append: `vmland_0.2.0_x86_64_unknown_linux_gnu`.
fn attached(sys: &Path) -> Option<String> {
    // Its name goes before its state changes.
    let ops = attached_below(sys).filter(|ops| !ops.is_empty())?;
    let is_version = |at: &usize| ops[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let end = ops.match_indices('_').map(|(at, _)| at).find(is_version);
    Some(ops[..end.unwrap_or(ops.len())].to_owned())
}

fn online(sys: &Path) -> usize {
    let online = read_to_string(sys.join("devices/system/cpu/online")).unwrap_or_default();
    cpus::parse(&online).map_or(0, |cpus| cpus.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_control::stats::VmMetrics;
    use vmland_test_tree::Tree;

    fn stat(pid: i32, utime: u64, stime: u64) -> String {
        let zeros = "0 ".repeat(30);
        format!(
            "{pid} (qemu) S 1 1 1 0 -1 4194560 0 0 0 0 {utime} {stime} 0 0 20 0 3 0 77 0 0 0 {zeros}\n"
        )
    }

    fn proc() -> Tree {
        let process = |tree: Tree, pid: i32, name: &str| {
            tree.put(format!("{pid}/comm"), "qemu-kvm\n")
                .put(
                    format!("{pid}/cmdline"),
                    format!("qemu-kvm\0-name\0{name}\0"),
                )
                .put(format!("{pid}/stat"), stat(pid, 150, 50))
                .link(format!("{pid}/fd/9"), "anon_inode:kvm-vm")
        };
        let thread = |tree: Tree, tid: i32, name: &str| {
            tree.put(format!("10/task/{tid}/comm"), name).put(
                format!("10/task/{tid}/schedstat"),
                format!("{tid}000 {tid} 3\n"),
            )
        };
        let tree = process(Tree::new(), 10, "web");
        let tree = thread(tree, 10, "qemu-kvm");
        let tree = thread(tree, 12, "CPU 0/KVM");
        let tree = thread(tree, 13, "CPU 1/KVM");
        process(tree, 20, "web").put(
            "pressure/cpu",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        )
    }

    fn sys() -> Tree {
        Tree::new()
            .put("devices/system/cpu/online", "0-2,5\n")
            .put("kernel/sched_ext/state", "enabled\n")
            .put(
                "kernel/sched_ext/root/ops",
                "vmland_0.2.0_x86_64_unknown_linux_gnu\n",
            )
    }

    fn of(proc: &Tree, sys: &Tree) -> Source {
        Source::of(proc.path().into(), sys.path().into())
    }

    #[test]
    fn under_the_kernels_own_scheduler_without_root() {
        let (proc, sys) = (proc(), sys().put("kernel/sched_ext/state", "disabled\n"));
        assert_eq!(attached(sys.path()), None);
        let reading = of(&proc, &sys).read();
        assert_eq!(reading.host.cpus, 4);
        assert_eq!(reading.host.scheduler, None);
        assert_eq!(reading.host.pressure_ns, Some(1_500_000));
        let names: Vec<_> = reading
            .vms
            .values()
            .map(|vm| vm.identity.name.as_str())
            .collect();
        assert_eq!(names, ["web", "web (20)"]);
        let web = &reading.vms[&key(10, 0)];
        let vcpu = |tid: i32| Vcpu {
            tid,
            cpu_ns: tid as u64 * 1_000,
            ready_ns: tid as u64,
            runs: 3,
        };
        assert_eq!(web.vcpus, [(0, vcpu(12)), (1, vcpu(13))].into());
        assert_eq!(
            web.process_cpu_ns,
            Some(200 * 1_000_000_000 / procfs::ticks_per_second())
        );
        assert!(web.counters.is_none() && web.exits.is_none());
    }

    #[test]
    fn kvm_and_the_scheduler_know_threads_whatever_their_names() {
        let sys = sys()
            .put("kernel/debug/kvm/10-9/vcpu0/pid", "10\n")
            .put("kernel/debug/kvm/10-9/vcpu4/pid", "13\n")
            .put("kernel/debug/kvm/10-9/exits", "5\n");
        let proc = proc();
        assert_eq!(attached(sys.path()).as_deref(), Some("vmland"));
        let of_vm = |tgid, tid| VmMetrics {
            tgid,
            vcpus: [(4, tid)].into(),
            weight: 300,
            ..VmMetrics::default()
        };
        let metrics = Metrics {
            preempt: 8,
            // The process of the last has ended.
            vms: [(1, of_vm(10, 13)), (2, of_vm(20, 20)), (3, of_vm(30, 30))].into(),
            ..Metrics::default()
        };
        let reading = of(&proc, &sys).compose(Some("vmland".into()), Some(metrics));
        let host = reading.host.counters.expect("it is asked");
        assert!(host.preempt == 8 && host.vms.is_empty());
        let web = &reading.vms[&key(10, 0)];
        let tids: Vec<_> = web.vcpus.iter().map(|(id, it)| (*id, it.tid)).collect();
        assert_eq!(tids, [(0, 10), (4, 13)]);
        let counters = web.counters.as_ref().expect("it is known");
        assert_eq!(
            (counters.vm_id, counters.of_vm.weight, web.exits),
            (1, 300, Some(5))
        );
        let other = &reading.vms[&key(20, 0)];
        assert!(other.vcpus.is_empty() && other.counters.is_some());
        assert_eq!(reading.vms.len(), 2);
    }

    #[test]
    fn two_vms_of_one_process() {
        let vm = |tid| KvmVm {
            pid: 10,
            vcpus: [(0, tid)].into(),
            ..KvmVm::default()
        };
        let known = |vm_id, tid| Counters {
            vm_id,
            of_vm: VmMetrics {
                tgid: 10,
                vcpus: [(0, tid)].into(),
                ..VmMetrics::default()
            },
        };
        let merged = merged(vec![vm(12), vm(13)], vec![known(7, 13), known(8, 12)]);
        let ids: Vec<_> = merged
            .iter()
            .map(|(_, it)| it.as_ref().map(|it| it.vm_id))
            .collect();
        assert_eq!(ids, [Some(8), Some(7)]);
    }
}
