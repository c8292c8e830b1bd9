// SPDX-License-Identifier: GPL-2.0-only
//! The host's domains, for the BPF part and for the planner of homes; and the homes of VMs, where
//! the BPF part reads them.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use log::{debug, info, warn};
use scx_utils::Topology;
use scx_vmland::homes::{BALANCE_NS, Homes, Seen};
use scx_vmland::topology::{Domains, MOST_DOMAINS, Place};
use vmland_settings::CpuSet;

use crate::bpf_intf::{vmland_home, vmland_limits_VMLAND_MAX_DOMAINS};
use crate::bpf_skel::OpenBpfSkel;

const _: () = assert!(MOST_DOMAINS == vmland_limits_VMLAND_MAX_DOMAINS as usize);

/// As they were when they were first asked for, before the scheduler was loaded.
fn domains() -> &'static Domains {
    static DOMAINS: OnceLock<Domains> = OnceLock::new();
    DOMAINS.get_or_init(|| {
        places().map_or_else(
            |e| {
                warn!("one queue for all CPUs, as the topology cannot be read: {e:#}");
                Domains::one(Vec::new())
            },
            Domains::new,
        )
    })
}

fn places() -> Result<Vec<Place>> {
    let topology = Topology::new()?;
    let place = |(&cpu, it): (&usize, &std::sync::Arc<scx_utils::Cpu>)| Place {
        node: it.node_id,
        llc: it.llc_id,
        core: it.core_id,
        cpu,
    };
    Ok(topology.all_cpus.iter().map(place).collect())
}

/// Tells the BPF part which CPUs share a queue (`bpf/domain/domain.bpf.h`). It has one domain
/// unless it is told.
pub fn follow_domains(skel: &mut OpenBpfSkel<'_>) {
    let domains = domains();
    let (1.., Some(rodata)) = (domains.len() - 1, skel.maps.rodata_data.as_mut()) else {
        return;
    };
    let of_cpus = domains.of_cpus(rodata.cpu_domains.len());
    rodata.cpu_domains.copy_from_slice(&of_cpus);
    rodata.nr_domains = domains.len() as u32;
    for (domain, (it, to)) in domains.iter().zip(&mut rodata.domains).enumerate() {
        let of_node = domains.of_node(domain);
        to.nr_cpus = it.cpus.len() as u16;
        to.node_first = of_node.start as u8;
        to.node_domains = of_node.len() as u8;
    }
    info!(
        "{} queues, for CPUs that share a cache; nodes: {}",
        domains.len(),
        domains.nodes().len()
    );
}

/// Does it matter where a VM's memory is?
pub fn has_nodes() -> bool {
    domains().nodes().len() > 1
}

/// Domains that have one of these CPUs, by bit. None: all.
pub fn domains_of(cpus: Option<&CpuSet>) -> u64 {
    let Some(cpus) = cpus else {
        return u64::MAX;
    };
    let has = |&cpu: &usize| cpus.contains(cpu as u32);
    let bits = domains().iter().enumerate();
    let bits = bits.filter(|(_, it)| it.cpus.iter().any(has));
    bits.fold(0, |bits, (domain, _)| bits | 1 << domain)
}

/// Gives VMs their homes.
pub struct HomeKeeper {
    homes: Homes,
    map: MapHandle,
    started: Instant,
}

impl HomeKeeper {
    /// None on a host with one domain.
    pub fn new(map: MapHandle) -> Option<Self> {
        (domains().len() > 1).then(|| Self {
            homes: Homes::new(domains().clone()),
            map,
            started: Instant::now(),
        })
    }

    /// How often it is to be asked, whether VMs have come or not.
    pub const PERIOD: Duration = Duration::from_nanos(BALANCE_NS);

    /// `seen`: all VMs, by slot.
    pub fn plan(&mut self, seen: &BTreeMap<u32, Seen>) {
        let now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for slot in self.homes.plan(now_ns, seen) {
            if let Err(e) = self.write(slot) {
                warn!("cannot write the home of the VM in slot {slot}: {e}");
            }
        }
    }

    fn write(&self, slot: u32) -> Result<()> {
        let (vm_id, home) = self.homes.home(slot).unwrap_or_default();
        debug!("VM {vm_id}: home {home:?}");
        let value = vmland_home {
            vm_id,
            first: home.first,
            nr: home.nr,
        };
        // SAFETY: numbers, without padding between them.
        let bytes = unsafe { plain::as_bytes(&value) };
        Ok(self.map.update(&slot.to_ne_bytes(), bytes, MapFlags::ANY)?)
    }
}
