// SPDX-License-Identifier: GPL-2.0-only
//! The VMs that there are, and how the BPF part is told what holds for them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Result;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use log::{debug, warn};
use scx_vmland::limits::Limit;
use vmland_control::Running;
use vmland_identity::identify;
use vmland_settings::{EffectiveSettings, Settings, VmFacts};

use crate::bpf_intf::{VMLAND_VM_PREFERS_CPUS, vmland_vm_ctx};
use crate::group_weight::{self, GroupWeight};
use crate::metrics::{self, lookup};
use crate::params::params;
use crate::prefer::Preferences;

/// What of the scheduler this works with.
pub struct Maps {
    pub counters: MapHandle,
    pub vcpu_events: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub params: MapHandle,
    pub preferred: MapHandle,
    pub group_weight: GroupWeight,
}

pub struct Vms {
    maps: Maps,
    preferences: Preferences,
    /// By id.
    known: BTreeMap<u32, Known>,
    /// cgroups that have a weight of ours in place of their cpu.weight.
    outweighed: HashSet<u64>,
}

struct Known {
    running: Running,
    slot: Vec<u8>,
    /// The kernel's id of its cgroup.
    cgroup: Option<u64>,
    /// Its parameters have been written.
    settled: bool,
}

impl Vms {
    pub fn new(maps: Maps) -> Self {
        Self {
            maps,
            preferences: Preferences::default(),
            known: BTreeMap::new(),
            outweighed: HashSet::new(),
        }
    }

    pub fn times_reached(&self, limit: Limit) -> u64 {
        metrics::times_reached(&self.maps.counters, limit)
    }

    pub fn running(&self) -> Vec<&Running> {
        self.known.values().map(|vm| &vm.running).collect()
    }

    /// Finds out who is new, has more vCPUs than before, or is gone.
    pub fn look(&mut self) {
        if let Err(e) = self.try_look() {
            warn!("cannot see which VMs there are: {e:#}");
        }
    }

    fn try_look(&mut self) -> Result<()> {
        let mut there = BTreeMap::new();
        for key in self.maps.vm_slots.keys() {
            let Some(slot) = self.maps.vm_slots.lookup(&key, MapFlags::ANY)? else {
                continue;
            };
            let vm = lookup::<vmland_vm_ctx>(&self.maps.vms, &slot)?;
            let Some(vm) = vm.filter(|vm| vm.vm_id != 0) else {
                continue;
            };
            let known = match self.known.remove(&vm.vm_id) {
                Some(known) => known.with_vcpus(vm.nr_vcpus),
                None => Known::new(&vm, slot),
            };
            there.insert(vm.vm_id, known);
        }
        self.known = there;
        self.see_whose_cgroups()
    }

    /// A cgroup that is one VM's alone has that VM's weight.
    fn see_whose_cgroups(&mut self) -> Result<()> {
        let mut users: HashMap<u64, u32> = HashMap::new();
        for cgroup in self.known.values().filter_map(|vm| vm.cgroup) {
            *users.entry(cgroup).or_default() += 1;
        }
        for vm in self.known.values_mut() {
            let owns = vm.cgroup.is_some_and(|cgroup| users[&cgroup] == 1);
            vm.settled &= owns == vm.running.owns_cgroup;
            vm.running.owns_cgroup = owns;
        }
        // It may outlive its VM, or have got a second one.
        let over: Vec<_> = { &self.outweighed }
            .iter()
            .filter(|cgroup| users.get(cgroup) != Some(&1))
            .copied()
            .collect();
        for cgroup in over {
            self.maps.group_weight.set(Some(cgroup), None)?;
            self.outweighed.remove(&cgroup);
        }
        Ok(())
    }

    /// Finds out who has another name or cgroup than before.
    pub fn identify_anew(&mut self) {
        for vm in self.known.values_mut() {
            vm.identify();
        }
    }

    /// Effective settings have changed.
    pub fn unsettle(&mut self) {
        for vm in self.known.values_mut() {
            vm.settled = false;
        }
    }

    /// Writes the parameters of VMs that are new or have changed.
    pub fn settle(&mut self, now: &EffectiveSettings) {
        let Vms {
            maps,
            preferences,
            known,
            outweighed,
        } = self;
        for vm in known.values_mut().filter(|vm| !vm.settled) {
            let facts = &vm.running.facts;
            let mut settings = now.settings_for(facts);
            debug!("VM {}: {settings:?}", facts.name);
            // In place of its cgroup's, only if it is configured.
            let configured = now.config().settings_for(facts).weight;
            let written = weigh(maps, outweighed, vm, configured).and_then(|is_in_cgroup| {
                if is_in_cgroup {
                    settings.weight = None;
                }
                write(maps, preferences, vm, &settings)
            });
            match written {
                Ok(()) => vm.settled = true,
                Err(e) => warn!("cannot give VM {} its settings: {e:#}", facts.name),
            }
        }
    }
}

/// Gives the VM's cgroup this weight, or its own again. False: it has none to itself.
fn weigh(
    maps: &Maps,
    outweighed: &mut HashSet<u64>,
    vm: &Known,
    weight: Option<u64>,
) -> Result<bool> {
    let cgroup = vm.cgroup.filter(|_| vm.running.owns_cgroup);
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
    fn new(vm: &vmland_vm_ctx, slot: Vec<u8>) -> Self {
        let facts = facts_of(vm.tgid, vm.nr_vcpus);
        Self {
            slot,
            cgroup: cgroup_of(&facts),
            settled: false,
            running: Running {
                id: vm.vm_id,
                pid: vm.tgid,
                facts,
                owns_cgroup: false,
            },
        }
    }

    /// A VM that gets more vCPUs starts, and may not have been in its cgroup before. One that
    /// gets fewer may end, and its process may be gone.
    fn with_vcpus(mut self, vcpus: u32) -> Self {
        let before = std::mem::replace(&mut self.running.facts.vcpus, vcpus);
        self.settled &= vcpus == before;
        if vcpus > before {
            self.identify();
        }
        self
    }

    fn identify(&mut self) {
        let facts = facts_of(self.running.pid, self.running.facts.vcpus);
        if facts != self.running.facts {
            self.cgroup = cgroup_of(&facts);
            self.running.facts = facts;
            self.settled = false;
        }
    }
}

fn facts_of(pid: i32, vcpus: u32) -> VmFacts {
    VmFacts::new(identify(Path::new("/proc"), pid), vcpus)
}

/// The kernel's id.
fn cgroup_of(facts: &VmFacts) -> Option<u64> {
    facts.cgroup.as_deref().and_then(group_weight::id_of)
}

fn write(maps: &Maps, preferences: &Preferences, vm: &Known, settings: &Settings) -> Result<()> {
    let mut params = params(vm.running.id, settings);
    let slot = u32::from_ne_bytes(vm.slot.as_slice().try_into()?);
    if let Some(cpus) = settings.cpus
        && params.flags & VMLAND_VM_PREFERS_CPUS != 0
        && !preferences.set(&maps.preferred, slot, &cpus)?
    {
        params.flags &= !VMLAND_VM_PREFERS_CPUS;
    }
    // SAFETY: numbers, without padding between them.
    let bytes = unsafe { plain::as_bytes(&params) };
    Ok(maps.params.update(&vm.slot, bytes, MapFlags::ANY)?)
}
