// SPDX-License-Identifier: GPL-2.0-only
//! The scheduling loop: drain events, ask the policy, dispatch.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::skel::Skel;
use libbpf_rs::{MapHandle, OpenObject};
use log::{error, info, warn};
use nix::sys::signal::{SigSet, Signal};
use scx_vmland::event::{self, Record};
use scx_vmland::leftovers::{self, Kept};
use scx_vmland::policy::{self, Decision, Policy};
use scx_vmland::{preflight, threads};
use vmland_base::exit;
use vmland_settings::EffectiveSettings;

use crate::bpf::{BpfScheduler, DispatchedTask, QueuedTask, RL_CPU_ANY};
use crate::bpf_intf::{
    VMLAND_NICE_0, vmland_event_kind_VMLAND_EVENT_SLICE_EXPIRED,
    vmland_mechanism_VMLAND_PREEMPTION, vmland_mechanism_VMLAND_PROLONG,
    vmland_mechanism_VMLAND_RECEIVERS, vmland_mechanism_VMLAND_SECOND_CHANCE,
    vmland_mechanism_VMLAND_STICKY, vmland_mechanism_VMLAND_TURNS,
    vmland_mechanism_VMLAND_YIELD_TO,
};
use crate::clients::Clients;
use crate::group_weight::GroupWeight;
use crate::opts::{Mechanism, Opts};
use crate::{Exit, NAME, kvm, metrics, nice, refusal, settings, standby, verifier, vms};

/// vCPUs that the policy can hold without allocating.
const CAPACITY: usize = 16_384;

/// A scheduler that has just detached may be as long about ending.
const HANDOVER: Duration = Duration::from_secs(5);

const _: () = assert!(policy::DEFAULT_WEIGHT == VMLAND_NICE_0 as u64);
const _: () = assert!(event::SLICE_EXPIRED == vmland_event_kind_VMLAND_EVENT_SLICE_EXPIRED as u64);

/// How a run came to its end.
pub enum Ended {
    /// By a signal.
    Stopped,
    /// The kernel threw it out.
    Ejected,
    /// It has to attach anew: a CPU came or went.
    Restart,
}

pub fn run(opts: &Opts, now: EffectiveSettings) -> Result<Ended> {
    settings::block_hangups()?;
    let maps = metrics::SharedMaps::default();
    let clients = Rc::new(OnceCell::new());
    // Threads before attaching: once attached, this process can start no more.
    let serve = {
        let (clients, maps) = (clients.clone(), maps.clone());
        move |patience| {
            let served = Clients::serve(now, maps, patience)?;
            let _ = clients.set((clean_up_before(), served));
            Ok(())
        }
    };
    if opts.standby {
        standby::then(|| place_free().and_then(|()| serve(HANDOVER)));
    } else {
        serve(Duration::ZERO)?;
    }
    // On a full host every step towards attaching would wait for its turn.
    let nice = nice::get();
    nice::set(-20);
    let kvm = kvm::follow(nice);

    let mut object = MaybeUninit::uninit();
    let bpf = attach(opts, &mut object)?;
    nice::set(nice);
    leave_signals_to_others()?;
    verifier::log_work(bpf.skel.object());
    let scheduler = Scheduler::new(opts, bpf)?;
    let _ = maps.set(scheduler.metrics_maps()?);
    let _ = kvm.send(scheduler.kvm_maps()?);
    if let Some((_, clients)) = clients.get() {
        let _ = clients.settings.send(scheduler.settings_maps()?);
    }
    threads::give_up_capabilities(NAME);
    info!("attached");
    scheduler.run()
}

/// Sets back what another one has left that was killed, and keeps it for the next one should
/// this one be. No other is attached now.
fn clean_up_before() -> Option<Kept> {
    let root = "/".as_ref();
    match leftovers::clean(root) {
        Ok(true) => info!("vm.compact_unevictable_allowed is set back: the last run was killed"),
        Ok(false) => {}
        Err(e) => warn!("what the last run has left cannot be removed: {e}"),
    }
    leftovers::keep(root)
        .inspect_err(|e| {
            warn!("if this run is killed, vm.compact_unevictable_allowed stays 0: {e}")
        })
        .ok()
}

fn place_free() -> Result<()> {
    preflight::place_free("/".as_ref()).map_err(|refusal| {
        error!("{refusal}");
        Exit(refusal.exit_code()).into()
    })
}

/// This thread runs only when there is something to decide, on an idle host once a second. A
/// signal to end that is delivered to it would wait for that, and so it blocks these signals.
/// The other threads, which are there by now, take them.
fn leave_signals_to_others() -> Result<()> {
    let ends: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    Ok(ends.thread_block()?)
}

/// Loads and attaches the BPF part. If the kernel refuses it, says why.
fn attach<'a>(opts: &Opts, object: &'a mut MaybeUninit<OpenObject>) -> Result<BpfScheduler<'a>> {
    BpfScheduler::init(
        object,
        opts.libbpf.clone().into_bpf_open_opts(),
        opts.exit_dump_len,
        opts.partial,
        opts.verbose,
        true,  // idle CPUs are picked by the kernel's own policy
        false, // not within one NUMA node only
        opts.slice_us * 1_000,
        "vmland",
    )
    .map_err(|e| {
        if e.is::<Exit>() {
            return e;
        }
        refusal::explain(&e);
        Exit(exit::SOFTWARE).into()
    })
}

struct Scheduler<'a> {
    bpf: BpfScheduler<'a>,
    policy: Policy,
}

impl<'a> Scheduler<'a> {
    fn new(opts: &Opts, mut bpf: BpfScheduler<'a>) -> Result<Self> {
        let data = bpf.skel.maps.data_data.as_mut().context("no .data map")?;
        data.vmland_slice_min_ns = opts.slice_us_min * 1_000;
        data.vmland_ipi_window_ns = opts.ipi_window_us * 1_000;
        data.vmland_without = opts.without.iter().fold(0, |bits, &it| bits | bit(it));

        Ok(Self {
            bpf,
            policy: Policy::new(CAPACITY),
        })
    }

    fn metrics_maps(&self) -> Result<metrics::Maps> {
        let maps = &self.bpf.skel.maps;
        Ok(metrics::Maps {
            counters: MapHandle::try_from(&maps.vmland_counters)?,
            vm_slots: MapHandle::try_from(&maps.vmland_vm_slots)?,
            vms: MapHandle::try_from(&maps.vmland_vms)?,
            vcpus: MapHandle::try_from(&maps.vmland_vcpus)?,
        })
    }

    fn kvm_maps(&self) -> Result<kvm::Maps> {
        let maps = &self.bpf.skel.maps;
        Ok(kvm::Maps {
            layout: MapHandle::try_from(&maps.vmland_kvm_layout)?,
            vm_slots: MapHandle::try_from(&maps.vmland_vm_slots)?,
            vms: MapHandle::try_from(&maps.vmland_vms)?,
            free_vms: MapHandle::try_from(&maps.vmland_free_vms)?,
            tasks: MapHandle::try_from(&maps.vmland_tasks)?,
            sent: MapHandle::try_from(&maps.vmland_sent)?,
            vcpu_pids: MapHandle::try_from(&maps.vmland_vcpu_pids)?,
            pauses: MapHandle::try_from(&maps.vmland_pauses)?,
        })
    }

    fn settings_maps(&self) -> Result<vms::Maps> {
        let maps = &self.bpf.skel.maps;
        Ok(vms::Maps {
            counters: MapHandle::try_from(&maps.vmland_counters)?,
            vcpu_events: MapHandle::try_from(&maps.vmland_vcpu_events)?,
            vm_slots: MapHandle::try_from(&maps.vmland_vm_slots)?,
            vms: MapHandle::try_from(&maps.vmland_vms)?,
            params: MapHandle::try_from(&maps.vmland_vm_params)?,
            preferred: MapHandle::try_from(&maps.vmland_preferred)?,
            group_weight: GroupWeight::new(&self.bpf.skel.progs.vmland_override)?,
        })
    }

    fn run(mut self) -> Result<Ended> {
        while !self.bpf.exited() {
            self.drain_queued();
            self.dispatch();
            self.bpf.notify_complete(self.policy.waiting() as u64);
        }
        let report = self.bpf.shutdown_and_report();
        Ok(match report {
            Ok(report) if report.should_restart() => Ended::Restart,
            Ok(_) => {
                info!("detached");
                Ended::Stopped
            }
            Err(e) => {
                error!("ejected by the kernel: {e:#}");
                Ended::Ejected
            }
        })
    }

    /// What happened since the last round.
    fn drain_queued(&mut self) {
        loop {
            match self.bpf.dequeue_task() {
                Ok(Some(task)) => match event::decode(&record(&task)) {
                    Some(arrival) => self.policy.enqueue(arrival),
                    None => warn!("no event of ours in the ring: {task:?}"),
                },
                Ok(None) => return,
                Err(e) => {
                    warn!("cannot read the ring of queued tasks: error {e}");
                    return;
                }
            }
        }
    }

    /// As many decisions as the ring takes; the rest waits.
    fn dispatch(&mut self) {
        while let Some(decision) = self.policy.peek() {
            if self.bpf.dispatch_task(&dispatched(decision)).is_err() {
                return;
            }
            self.policy.take();
        }
    }
}

/// As `bpf/intf.h` has it.
fn bit(mechanism: Mechanism) -> u32 {
    match mechanism {
        Mechanism::YieldTo => vmland_mechanism_VMLAND_YIELD_TO,
        Mechanism::Receivers => vmland_mechanism_VMLAND_RECEIVERS,
        Mechanism::SecondChance => vmland_mechanism_VMLAND_SECOND_CHANCE,
        Mechanism::Turns => vmland_mechanism_VMLAND_TURNS,
        Mechanism::Preemption => vmland_mechanism_VMLAND_PREEMPTION,
        Mechanism::Sticky => vmland_mechanism_VMLAND_STICKY,
        Mechanism::Prolong => vmland_mechanism_VMLAND_PROLONG,
    }
}

fn record(task: &QueuedTask) -> Record {
    Record {
        pid: task.pid,
        flags: task.flags,
        stop_ts: task.stop_ts,
        exec_runtime: task.exec_runtime,
        weight: task.weight,
        vtime: task.vtime,
        enq_cnt: task.enq_cnt,
    }
}

fn dispatched(decision: &Decision) -> DispatchedTask {
    DispatchedTask {
        pid: decision.pid,
        cpu: RL_CPU_ANY,
        flags: 0,
        slice_ns: decision.slice_ns,
        vtime: decision.deadline,
        enq_cnt: decision.generation,
    }
}
