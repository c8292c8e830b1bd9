// SPDX-License-Identifier: GPL-2.0-only
//! The scheduling loop: take evidence, plan.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::skel::Skel;
use libbpf_rs::{MapCore, MapFlags, MapHandle, OpenObject};
use log::{debug, error, info, warn};
use nix::sys::signal::{SigSet, Signal};
use scx_vmland::board::Board;
use scx_vmland::event::{self, Record};
use scx_vmland::leftovers::{self, Kept};
use scx_vmland::planner::{Plan, Planner};
use scx_vmland::service::Manager;
use scx_vmland::threads;
use vmland_base::exit;
use vmland_host::preflight;
use vmland_settings::EffectiveSettings;

use crate::bpf::{BpfScheduler, QueuedTask};
use crate::bpf_intf::{
    vmland_event_kind_VMLAND_EVENT_EVIDENCE, vmland_limits_VMLAND_MAX_VMS,
    vmland_mechanism_VMLAND_GANGS, vmland_mechanism_VMLAND_PREEMPTION,
    vmland_mechanism_VMLAND_PROLONG, vmland_mechanism_VMLAND_RECEIVERS,
    vmland_mechanism_VMLAND_SECOND_CHANCE, vmland_mechanism_VMLAND_STICKY,
    vmland_mechanism_VMLAND_TURNS, vmland_mechanism_VMLAND_YIELD_TO, vmland_plan,
};
use crate::clients::Clients;
use crate::group_weight::GroupWeight;
use crate::opts::{Mechanism, Opts};
use crate::trace::Tracer;
use crate::{
    Exit, NAME, kvm, metrics, nice, receiver_time, refusal, settings, standby, verifier, vms,
};

/// A scheduler that has just detached may be as long about ending.
const HANDOVER: Duration = Duration::from_secs(5);

const _: () = assert!(event::EVIDENCE == vmland_event_kind_VMLAND_EVENT_EVIDENCE as u64);

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
    let manager = Manager::of_process().unwrap_or_else(|e| {
        warn!("the service manager cannot be told anything: {e}");
        Manager::default()
    });
    // On a full host every step towards attaching would wait for its turn.
    let nice = nice::get();
    nice::set(-20);
    let kvm = kvm::follow(nice);

    let mut object = MaybeUninit::uninit();
    let bpf = attach(opts, &mut object)?;
    nice::set(nice);
    leave_signals_to_others()?;
    verifier::log_work(bpf.skel.object());
    let scheduler = Scheduler::new(opts, bpf, manager)?;
    let _ = maps.set(scheduler.metrics_maps()?);
    let _ = kvm.send(scheduler.kvm_maps()?);
    if let Some((_, clients)) = clients.get() {
        let _ = clients.settings.send(scheduler.settings_maps()?);
    }
    threads::give_up_capabilities(NAME);
    info!("attached");
    if let Err(e) = scheduler.manager.ready() {
        warn!("the service manager cannot be told that it has attached: {e}");
    }
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
    planner: Planner,
    board: Arc<Board>,
    manager: Manager,
}

impl<'a> Scheduler<'a> {
    fn new(opts: &Opts, mut bpf: BpfScheduler<'a>, manager: Manager) -> Result<Self> {
        let data = bpf.skel.maps.data_data.as_mut().context("no .data map")?;
        data.vmland_slice_min_ns = opts.slice_us_min * 1_000;
        data.vmland_ipi_window_ns = opts.ipi_window_us * 1_000;
        data.vmland_receiver_ns = receiver_time::ns();
        data.vmland_without = opts.without.iter().fold(0, |bits, &it| bits | bit(it));

        let slots = vmland_limits_VMLAND_MAX_VMS as usize;
        let is_left_out = opts.without.contains(&Mechanism::Gangs);
        Ok(Self {
            bpf,
            planner: Planner::new(slots),
            board: Arc::new(Board::new(slots, is_left_out)),
            manager,
        })
    }

    fn metrics_maps(&self) -> Result<metrics::Maps> {
        let maps = &self.bpf.skel.maps;
        Ok(metrics::Maps {
            counters: MapHandle::try_from(&maps.vmland_counters)?,
            vm_slots: MapHandle::try_from(&maps.vmland_vm_slots)?,
            vms: MapHandle::try_from(&maps.vmland_vms)?,
            vcpus: MapHandle::try_from(&maps.vmland_vcpus)?,
            waits: MapHandle::try_from(&maps.vmland_waits)?,
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
            counts: MapHandle::try_from(&maps.vmland_kvm_counts)?,
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
            homes: MapHandle::try_from(&maps.vmland_homes)?,
            group_weight: GroupWeight::new(&self.bpf.skel.progs.vmland_override)?,
            board: self.board.clone(),
            tracer: Tracer::new(
                MapHandle::try_from(&maps.data_trace)?,
                &MapHandle::try_from(&maps.vmland_trace)?,
            )?,
        })
    }

    fn run(mut self) -> Result<Ended> {
        while !self.bpf.exited() {
            self.take_evidence();
            self.bpf.notify_complete(0);
            self.manager.alive();
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

    /// What VMs have done since the last round.
    fn take_evidence(&mut self) {
        loop {
            match self.bpf.dequeue_task() {
                Ok(Some(task)) => match event::decode(&record(&task)) {
                    Some(evidence) => {
                        if let Some(plan) = self.planner.report(&evidence) {
                            self.apply(&plan);
                        }
                        if let Some(vm) = self.planner.vm(evidence.vm_slot) {
                            self.board.post(evidence.vm_slot, vm, evidence.at_ns);
                        }
                    }
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

    fn apply(&mut self, plan: &Plan) {
        debug!("VM {}: gang {}", plan.vm_id, plan.gang);
        let value = vmland_plan {
            vm_id: plan.vm_id,
            gang: plan.gang.into(),
        };
        let key = plan.vm_slot.to_ne_bytes();
        let plans = &self.bpf.skel.maps.vmland_plans;
        // SAFETY: numbers only.
        if let Err(e) = plans.update(&key, unsafe { plain::as_bytes(&value) }, MapFlags::ANY) {
            warn!("cannot write a plan: {e}");
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
        Mechanism::Gangs => vmland_mechanism_VMLAND_GANGS,
    }
}

fn record(task: &QueuedTask) -> Record {
    Record {
        nr_cpus_allowed: task.nr_cpus_allowed,
        flags: task.flags,
        stop_ts: task.stop_ts,
        exec_runtime: task.exec_runtime,
        weight: task.weight,
        vtime: task.vtime,
        enq_cnt: task.enq_cnt,
    }
}
