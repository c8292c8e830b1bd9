// SPDX-License-Identifier: GPL-2.0-only
//! The VMs that there are, and how the BPF part is told what holds for them.
//!
//! A VM that is new has at once what holds for every VM. When it has been identified, it has
//! what its name, VMM, UUID, cgroup and user give it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use log::{debug, warn};
use scx_vmland::board::Board;
use scx_vmland::cgroup_users::CgroupUsers;
use scx_vmland::homes::Seen;
use scx_vmland::limits::Limit;
use vmland_control::trace::Tracing;
use vmland_control::{Planned, Running, Scheduler};
use vmland_settings::{EffectiveSettings, Settings, VmFacts};

use crate::bpf_intf::{VMLAND_VM_PREFERS_CPUS, vmland_vm_ctx};
use crate::group_weight::GroupWeight;
use crate::host::{self, HomeKeeper};
use crate::identify::{Identified, Identifier, Question};
use crate::metrics::{self, lookup};
use crate::params::params;
use crate::prefer::Preferences;
use crate::trace::Tracer;
use crate::vcpu_events::Changed;

/// What of the scheduler this works with.
pub struct Maps {
    pub counters: MapHandle,
    pub vcpu_events: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub params: MapHandle,
    pub preferred: MapHandle,
    pub homes: MapHandle,
    pub group_weight: GroupWeight,
    pub board: Arc<Board>,
    pub tracer: Tracer,
}

/// After that it is asked again where a VM's memory is: a guest uses more and more of it.
const MEMORY_AGE: Duration = Duration::from_secs(60);

pub struct Vms<'a> {
    maps: Maps,
    identifier: &'a Identifier,
    preferences: Preferences,
    /// None: the host has one domain.
    home_keeper: Option<HomeKeeper>,
    /// By slot.
    known: BTreeMap<u32, Known>,
    /// Slots of VMs whose parameters are to be written.
    to_write: BTreeSet<u32>,
    /// Slots of VMs to be identified, for the first time or anew.
    to_identify: BTreeSet<u32>,
    users: CgroupUsers,
    /// cgroups that have a weight of ours in place of their cpu.weight.
    outweighed: HashSet<u64>,
}

struct Known {
    id: u32,
    pid: i32,
    vcpus: u32,
    /// None: it has not been identified yet.
    running: Option<Running>,
    /// The kernel's id.
    cgroup: Option<u64>,
    asked: Asked,
    /// Domains that its settings let it be at home in, by bit.
    domains: u64,
    /// The node of most of its memory, if that is known, and when that was asked for.
    memory: Option<usize>,
    memory_asked: Option<Instant>,
}

/// Whether an answer of the identifier is due.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    No,
    Yes,
    /// Yes, and the VM has changed since.
    Outdated,
}

impl Scheduler for Vms<'_> {
    fn planned(&self, id: u32) -> Planned {
        let slot = { self.known.iter() }.find(|(_, known)| known.id == id);
        // A slot that there is not is of no VM.
        let slot = slot.map_or(u32::MAX, |(slot, _)| *slot);
        self.maps.board.read(slot, id)
    }

    fn trace(&self, ns: u64) -> Result<Option<Tracing>, String> {
        let traced = self.maps.tracer.trace(ns, &self.maps.counters);
        traced.map_err(|e| format!("{e:#}"))
    }
}

impl<'a> Vms<'a> {
    pub fn new(maps: Maps, identifier: &'a Identifier) -> Result<Self> {
        let homes = MapHandle::try_from(&maps.homes)?;
        Ok(Self {
            home_keeper: HomeKeeper::new(homes),
            maps,
            identifier,
            preferences: Preferences::default(),
            known: BTreeMap::new(),
            to_write: BTreeSet::new(),
            to_identify: BTreeSet::new(),
            users: CgroupUsers::default(),
            outweighed: HashSet::new(),
        })
    }

    /// How often [`Self::plan_homes`] is to be called; None: never.
    pub fn home_period(&self) -> Option<Duration> {
        self.home_keeper.is_some().then_some(HomeKeeper::PERIOD)
    }

    /// Gives each VM a home.
    pub fn plan_homes(&mut self) {
        let Some(keeper) = &mut self.home_keeper else {
            return;
        };
        let seen = self.known.iter().filter_map(|(&slot, known)| {
            let vm = lookup::<vmland_vm_ctx>(&self.maps.vms, &slot.to_ne_bytes());
            let vm = vm.ok().flatten().filter(|vm| vm.vm_id == known.id)?;
            let seen = Seen {
                vm_id: vm.vm_id,
                vcpus: vm.nr_vcpus,
                cpu_ns: vm.cpu_ns,
                memory: known.memory,
                allowed: known.domains,
            };
            Some((slot, seen))
        });
        keeper.plan(&seen.collect());
    }

    pub fn times_reached(&self, limit: Limit) -> u64 {
        metrics::times_reached(&self.maps.counters, limit)
    }

    /// Those that have been identified.
    pub fn running(&self) -> Vec<&Running> {
        let known = self.known.values();
        known.filter_map(|vm| vm.running.as_ref()).collect()
    }

    /// Finds out who is new, has another number of vCPUs, has been identified, or is gone.
    pub fn update(&mut self, changed: Changed) {
        if let Err(e) = self.try_update(changed) {
            warn!("cannot see which VMs there are: {e:#}");
        }
    }

    fn try_update(&mut self, changed: Changed) -> Result<()> {
        let slots = match changed {
            Changed::Slots(slots) => slots,
            Changed::Any => self.all_slots()?,
        };
        for slot in slots {
            self.update_slot(slot)?;
        }
        for identified in self.identifier.take() {
            self.identified(identified)?;
        }
        Ok(())
    }

    /// Of VMs that there are, or were.
    fn all_slots(&self) -> Result<BTreeSet<u32>> {
        let mut slots: BTreeSet<u32> = self.known.keys().copied().collect();
        for key in self.maps.vm_slots.keys() {
            if let Some(slot) = self.maps.vm_slots.lookup(&key, MapFlags::ANY)? {
                slots.insert(u32::from_ne_bytes(slot.as_slice().try_into()?));
            }
        }
        Ok(slots)
    }

    fn update_slot(&mut self, slot: u32) -> Result<()> {
        let vm = lookup::<vmland_vm_ctx>(&self.maps.vms, &slot.to_ne_bytes())?;
        let id = vm.map_or(0, |vm| vm.vm_id);
        if self.known.get(&slot).is_some_and(|known| known.id != id) {
            self.forget(slot)?;
        }
        let Some(vm) = vm.filter(|_| id != 0) else {
            return Ok(());
        };
        let known = self.known.entry(slot).or_insert_with(|| Known::new(&vm));
        let before = mem::replace(&mut known.vcpus, vm.nr_vcpus);
        if vm.nr_vcpus != before {
            if let Some(running) = &mut known.running {
                running.facts.vcpus = vm.nr_vcpus;
            }
            self.to_write.insert(slot);
        }
        // A VM that gets more vCPUs starts, and may not have been in its cgroup before. One that
        // gets fewer may end, and its process may be gone.
        if vm.nr_vcpus > before {
            self.to_identify.insert(slot);
        }
        Ok(())
    }

    fn forget(&mut self, slot: u32) -> Result<()> {
        let cgroup = self.known.remove(&slot).and_then(|vm| vm.cgroup);
        self.to_write.remove(&slot);
        self.moved(slot, cgroup, None)
    }

    fn identified(&mut self, it: Identified) -> Result<()> {
        let slot = it.vm_slot;
        let known = self.known.get_mut(&slot);
        let Some(known) = known.filter(|vm| vm.id == it.vm_id) else {
            return Ok(());
        };
        let asked = mem::replace(&mut known.asked, Asked::No);
        if asked == Asked::Outdated {
            self.to_identify.insert(slot);
        }
        known.memory = it.memory.or(known.memory);
        let facts = VmFacts::new(it.identity, known.vcpus);
        if known.running.as_ref().map(|vm| &vm.facts) != Some(&facts) {
            known.running = Some(Running {
                id: known.id,
                pid: known.pid,
                facts,
                owns_cgroup: false,
            });
            self.to_write.insert(slot);
        }
        let from = mem::replace(&mut known.cgroup, it.cgroup);
        self.moved(slot, from, it.cgroup)
    }

    /// A cgroup that is one VM's alone has that VM's weight.
    fn moved(&mut self, slot: u32, from: Option<u64>, to: Option<u64>) -> Result<()> {
        let left_to = from.and_then(|cgroup| self.users.leave(cgroup, slot));
        let taken_from = to.and_then(|cgroup| self.users.enter(cgroup, slot));
        for vm in [Some(slot), left_to, taken_from].into_iter().flatten() {
            self.update_ownership(vm);
        }
        for cgroup in [from, to].into_iter().flatten() {
            if !self.users.is_owned(cgroup) && self.outweighed.remove(&cgroup) {
                self.maps.group_weight.set(Some(cgroup), None)?;
            }
        }
        Ok(())
    }

    fn update_ownership(&mut self, slot: u32) {
        let Some(vm) = self.known.get_mut(&slot) else {
            return;
        };
        let owns = vm.cgroup.is_some_and(|it| self.users.owns(it, slot));
        if let Some(running) = &mut vm.running
            && running.owns_cgroup != owns
        {
            running.owns_cgroup = owns;
            self.to_write.insert(slot);
        }
    }

    /// Has all VMs identified anew: they may have another name or cgroup than before.
    pub fn identify_anew(&mut self) {
        self.to_identify.extend(self.known.keys());
    }

    /// Effective settings have changed.
    pub fn write_all_anew(&mut self) {
        self.to_write.extend(self.known.keys());
    }

    /// Writes the parameters of VMs that are new or have changed. Has them identified after that,
    /// so that the identifier's threads do not preempt this one before.
    pub fn write_params(&mut self, now: &EffectiveSettings) {
        for slot in mem::take(&mut self.to_write) {
            if let Err(e) = self.write_params_of(slot, now) {
                warn!("cannot give the VM in slot {slot} its settings: {e:#}");
                self.to_write.insert(slot);
            }
        }
        for slot in mem::take(&mut self.to_identify) {
            if let Some(vm) = self.known.get_mut(&slot) {
                vm.ask(slot, self.identifier);
            }
        }
    }

    fn write_params_of(&mut self, slot: u32, now: &EffectiveSettings) -> Result<()> {
        let Some(vm) = self.known.get_mut(&slot) else {
            return Ok(());
        };
        let of_vm = |facts| now.settings_for(facts);
        let settings = vm.running.as_ref().map(|vm| of_vm(&vm.facts));
        vm.domains = host::domains_of(settings.and_then(|it| it.cpus).as_ref());
        let vm = &*vm;
        let write = |settings: &Settings| {
            debug!("VM {} ({:?}): {settings:?}", vm.id, vm.name());
            write(&self.maps, &self.preferences, slot, vm.id, settings)
        };
        let Some(Running { facts, .. }) = &vm.running else {
            write(&now.settings_for_any(vm.vcpus))?;
            return self.maps.group_weight.requeue();
        };
        let mut settings = now.settings_for(facts);
        // In place of its cgroup's, only if it is configured.
        let configured = now.config().settings_for(facts).weight;
        if weigh(&self.maps, &mut self.outweighed, vm, configured)? {
            settings.weight = None;
        }
        write(&settings)
    }
}

/// Gives the VM's cgroup this weight, or its own again. False: it has none to itself.
fn weigh(
    maps: &Maps,
    outweighed: &mut HashSet<u64>,
    vm: &Known,
    weight: Option<u64>,
) -> Result<bool> {
    let owns = vm.running.as_ref().is_some_and(|vm| vm.owns_cgroup);
    let cgroup = vm.cgroup.filter(|_| owns);
    let is_there = maps.group_weight.set(cgroup, weight)?;
    if let Some(cgroup) = cgroup {
        if is_there && weight.is_some() {
            outweighed.insert(cgroup);
        } else {
            outweighed.remove(&cgroup);
        }
    }
    Ok(is_there)
}

impl Known {
    fn new(vm: &vmland_vm_ctx) -> Self {
        Self {
            id: vm.vm_id,
            pid: vm.tgid,
            vcpus: 0,
            running: None,
            cgroup: None,
            asked: Asked::No,
            domains: u64::MAX,
            memory: None,
            memory_asked: None,
        }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.running.as_ref()?.facts.name)
    }

    /// At most one question about a VM is open: one whose process blocks takes one thread.
    fn ask(&mut self, vm_slot: u32, identifier: &Identifier) {
        if self.asked != Asked::No {
            self.asked = Asked::Outdated;
            return;
        }
        self.asked = Asked::Yes;
        let age = self.memory_asked.map(|at| at.elapsed());
        let is_known = age.is_some_and(|age| self.memory.is_some() && age < MEMORY_AGE);
        let memory = host::has_nodes() && !is_known;
        if memory {
            self.memory_asked = Some(Instant::now());
        }
        identifier.ask(Question {
            vm_slot,
            vm_id: self.id,
            pid: self.pid,
            memory,
        });
    }
}

fn write(
    maps: &Maps,
    preferences: &Preferences,
    slot: u32,
    id: u32,
    settings: &Settings,
) -> Result<()> {
    let mut params = params(id, settings);
    if let Some(cpus) = settings.cpus
        && params.flags & VMLAND_VM_PREFERS_CPUS != 0
        && !preferences.set(&maps.preferred, slot, &cpus)?
    {
        params.flags &= !VMLAND_VM_PREFERS_CPUS;
    }
    // SAFETY: numbers, without padding between them.
    let bytes = unsafe { plain::as_bytes(&params) };
    Ok(maps
        .params
        .update(&slot.to_ne_bytes(), bytes, MapFlags::ANY)?)
}
