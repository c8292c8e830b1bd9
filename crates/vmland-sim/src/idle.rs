// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's idle CPUs and cores, and its choice of one (kernel/sched/ext_idle.c).
//!
//! Without SCX_OPS_BUILTIN_IDLE_PER_NODE, and without SCX_WAKE_SYNC: no scheduler here uses
//! them.

use crate::abi::{self, CpuMask};
use crate::topology::Topology;

pub struct Idle {
    pub cpus: Box<CpuMask>,
    /// CPUs of cores that are idle as a whole.
    pub cores: Box<CpuMask>,
    smt: bool,
    siblings: Vec<Option<usize>>,
    llcs: Vec<CpuMask>,
    nodes: Vec<CpuMask>,
    llc_of: Vec<usize>,
    node_of: Vec<usize>,
    /// By CPU: the last one that a search there has found. Of one LLC the first idle CPU is
    /// taken, as no cost depends on which.
    distributed: Option<Vec<usize>>,
}

impl Idle {
    pub fn new(topology: &Topology) -> Self {
        let nr_cpus = topology.nr_cpus();
        let masks = |parts: &[Vec<usize>]| {
            let mask = |cpus: &Vec<usize>| CpuMask::of(cpus.iter().copied());
            parts.iter().map(mask).collect()
        };
        Self {
            cpus: Box::new(topology.online_mask()),
            cores: Box::new(topology.online_mask()),
            smt: topology.has_smt(),
            siblings: (0..nr_cpus).map(|cpu| topology.sibling_of(cpu)).collect(),
            llcs: masks(topology.llcs()),
            nodes: masks(topology.nodes()),
            llc_of: (0..nr_cpus).map(|cpu| topology.llc_of(cpu)).collect(),
            node_of: (0..nr_cpus).map(|cpu| topology.node_of(cpu)).collect(),
            distributed: (!topology.is_flat()).then(|| vec![0; nr_cpus]),
        }
    }

    /// update_builtin_idle()
    pub fn set(&mut self, cpu: usize, idle: bool) {
        self.cpus.set(cpu, idle);
        if idle {
            let whole = self.siblings[cpu].is_none_or(|sibling| self.cpus.has(sibling));
            if whole {
                self.set_core(cpu, true);
            }
        } else {
            self.set_core(cpu, false);
        }
    }

    fn set_core(&mut self, cpu: usize, idle: bool) {
        self.cores.set(cpu, idle);
        if let Some(sibling) = self.siblings[cpu] {
            self.cores.set(sibling, idle);
        }
    }

    /// scx_idle_test_and_clear_cpu()
    pub fn claim(&mut self, cpu: usize) -> bool {
        self.set_core(cpu, false);
        let was = self.cpus.has(cpu);
        self.cpus.set(cpu, false);
        was
    }

    /// pick_idle_cpu_in_node(), of CPUs in both masks, for a search on `here`.
    fn pick(&mut self, masks: [&CpuMask; 2], core: bool, here: usize) -> Option<usize> {
        let found = |idle: &CpuMask| {
            let after = self.distributed.as_ref().map_or(0, |last| last[here] + 1);
            idle.next_common(masks, after)
        };
        let whole = if self.smt { found(&self.cores) } else { None };
        let cpu = match core && self.smt {
            true => whole,
            false => whole.or_else(|| found(&self.cpus)),
        }?;
        if let Some(last) = &mut self.distributed {
            last[here] = cpu;
        }
        self.claim(cpu).then_some(cpu)
    }

    /// scx_bpf_pick_idle_cpu()
    pub fn pick_any(&mut self, allowed: &CpuMask, flags: u64, here: usize) -> Option<usize> {
        self.pick([allowed, allowed], flags & abi::PICK_IDLE_CORE != 0, here)
    }

    /// scx_select_cpu_dfl(), as scx_bpf_select_cpu_and() calls it.
    pub fn select(
        &mut self,
        prev: usize,
        allowed: &CpuMask,
        flags: u64,
        here: usize,
    ) -> Option<usize> {
        let near = [
            self.llcs[self.llc_of[prev]].clone(),
            self.nodes[self.node_of[prev]].clone(),
        ];
        let may_prev = allowed.has(prev);
        if self.smt {
            if may_prev && self.cores.has(prev) && self.claim(prev) {
                return Some(prev);
            }
            for mask in near.iter().chain([allowed]) {
                let cpu = self.pick([allowed, mask], true, here);
                if cpu.is_some() {
                    return cpu;
                }
            }
            if flags & abi::PICK_IDLE_CORE != 0 {
                return None;
            }
        }
        if may_prev && self.claim(prev) {
            return Some(prev);
        }
        let mut masks = near.iter().chain([allowed]);
        masks.find_map(|mask| self.pick([allowed, mask], false, here))
    }
}
