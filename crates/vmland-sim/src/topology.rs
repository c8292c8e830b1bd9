// SPDX-License-Identifier: GPL-2.0-only
//! Where a host's CPUs are: nodes (with a memory each), LLCs, cores and their SMT threads.
//!
//! CPUs are numbered as their places are: the threads of a core stand beside each other. Some may
//! be offline from the beginning ([`Topology::offline`]).

use fastrand::Rng;

use crate::abi::CpuMask;

/// The place of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub node: usize,
    pub llc: usize,
    pub core: usize,
}

/// How far two CPUs are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    Cpu,
    Core,
    Llc,
    Node,
    Remote,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    places: Vec<Place>,
    /// CPUs of each LLC and of each node; offline ones are left out.
    llcs: Vec<Vec<usize>>,
    nodes: Vec<Vec<usize>>,
    siblings: Vec<Option<usize>>,
    online: Vec<bool>,
}

/// One LLC, and no SMT.
impl From<usize> for Topology {
    fn from(nr_cpus: usize) -> Self {
        Self::new(1, 1, nr_cpus, 1)
    }
}

impl From<&Topology> for Topology {
    fn from(topology: &Topology) -> Self {
        topology.clone()
    }
}

impl Topology {
    /// A host of like parts. Cores have one thread or two.
    pub fn new(nodes: usize, llcs_per_node: usize, cores_per_llc: usize, threads: usize) -> Self {
        let llcs = (0..nodes * llcs_per_node).map(|llc| (llc / llcs_per_node, llc));
        let cores = llcs.flat_map(|llc| (0..cores_per_llc).map(move |_| llc));
        let places = cores.enumerate().flat_map(|(core, (node, llc))| {
            let place = Place { node, llc, core };
            (0..threads).map(move |_| place)
        });
        Self::of(places.collect())
    }

    /// CPUs at these places.
    pub fn of(places: Vec<Place>) -> Self {
        let online = vec![true; places.len()];
        Self::with(places, online)
    }

    fn with(places: Vec<Place>, online: Vec<bool>) -> Self {
        assert!(places.len() <= crate::abi::MAX_CPUS);
        let there = |of: fn(&Place) -> usize| {
            let count = places.iter().map(of).max().map_or(0, |last| last + 1);
            let mut parts = vec![Vec::new(); count];
            for (cpu, place) in places.iter().enumerate() {
                if online[cpu] {
                    parts[of(place)].push(cpu);
                }
            }
            parts
        };
        let cores = there(|place| place.core);
        let sibling = |(cpu, place): (usize, &Place)| {
            let threads = &cores[place.core];
            assert!(threads.len() <= 2, "a core has two threads at most");
            let mut others = threads.iter().copied().filter(|&other| other != cpu);
            others.next().filter(|_| online[cpu])
        };
        Self {
            llcs: there(|place| place.llc),
            nodes: there(|place| place.node),
            siblings: places.iter().enumerate().map(sibling).collect(),
            online,
            places,
        }
    }

    /// The same host without these CPUs, which keep their numbers.
    pub fn offline(self, cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut online = self.online;
        cpus.into_iter().for_each(|cpu| online[cpu] = false);
        assert!(online.contains(&true), "some CPU is online");
        Self::with(self.places, online)
    }

    /// A host as no vendor makes it: LLCs and nodes of different sizes, some cores with SMT, nodes
    /// without CPUs.
    pub fn random(random: &mut Rng, nr_cpus: usize) -> Self {
        let mut places = Vec::new();
        let (mut node, mut llc, mut core) = (0, 0, 0);
        while places.len() < nr_cpus {
            for _ in 0..random.usize(1..=2).min(nr_cpus - places.len()) {
                places.push(Place { node, llc, core });
            }
            core += 1;
            if random.usize(0..4) == 0 {
                llc += 1;
                node += [0, 0, 1, 2][random.usize(0..4)];
            }
        }
        Self::of(places)
    }

    /// Offline ones among them.
    pub fn nr_cpus(&self) -> usize {
        self.places.len()
    }

    /// One LLC, no SMT, and all CPUs online.
    pub fn is_flat(&self) -> bool {
        self.llcs.len() == 1
            && self.siblings.iter().all(Option::is_none)
            && !self.online.contains(&false)
    }

    pub fn is_online(&self, cpu: usize) -> bool {
        self.online[cpu]
    }

    pub fn online(&self) -> impl Iterator<Item = usize> {
        (0..self.nr_cpus()).filter(|&cpu| self.online[cpu])
    }

    pub fn online_mask(&self) -> CpuMask {
        CpuMask::of(self.online())
    }

    pub fn place(&self, cpu: usize) -> Place {
        self.places[cpu]
    }

    pub fn node_of(&self, cpu: usize) -> usize {
        self.places[cpu].node
    }

    pub fn llc_of(&self, cpu: usize) -> usize {
        self.places[cpu].llc
    }

    /// The other thread of its core.
    pub fn sibling_of(&self, cpu: usize) -> Option<usize> {
        self.siblings[cpu]
    }

    /// Online CPUs of each LLC.
    pub fn llcs(&self) -> &[Vec<usize>] {
        &self.llcs
    }

    /// Online CPUs of each node.
    pub fn nodes(&self) -> &[Vec<usize>] {
        &self.nodes
    }

    pub fn has_smt(&self) -> bool {
        self.siblings.iter().any(Option::is_some)
    }

    pub fn distance(&self, a: usize, b: usize) -> Distance {
        let (to, from) = (self.places[a], self.places[b]);
        match () {
            () if a == b => Distance::Cpu,
            () if to.core == from.core => Distance::Core,
            () if to.llc == from.llc => Distance::Llc,
            () if to.node == from.node => Distance::Node,
            () => Distance::Remote,
        }
    }
}
