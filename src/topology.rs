// SPDX-License-Identifier: GPL-2.0-only
//! The domains of a host: which CPUs share a queue (`bpf/domain/domain.bpf.h`).
//!
//! The CPUs of a last-level cache are a domain. Where more than [`MOST_CPUS`] share one, it is
//! several domains of whole cores, as CPUs would wait for the lock of one queue. A cache with fewer
//! than [`LEAST_CPUS`] is one domain with its neighbour on the node: a queue of a single CPU shares
//! nothing. If no two cores of a node share one, the node is one domain. Domains are numbered by
//! node, and a host of more than [`MOST_DOMAINS`] has larger ones.

use std::collections::BTreeMap;
use std::ops::Range;

/// With more than that the lock of a queue is waited for for a tenth of the time that scheduling
/// takes, with loads that spin (docs/simulator.md, "Many CPUs").
pub const MOST_CPUS: usize = 32;
pub const LEAST_CPUS: usize = 2;
/// VMLAND_MAX_DOMAINS of `bpf/intf.h`.
pub const MOST_DOMAINS: usize = 64;

/// Where an online CPU is. The numbers of caches and cores are unique on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub node: usize,
    pub llc: usize,
    pub core: usize,
    pub cpu: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub node: usize,
    /// Online ones.
    pub cpus: Vec<usize>,
}

/// The domains of a host; there is one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains(Vec<Domain>);

impl Domains {
    pub fn new(mut places: Vec<Place>) -> Self {
        places.sort_unstable();
        for of_node in places.chunk_by_mut(|a, b| a.node == b.node) {
            join_caches_of_one_core(of_node);
        }
        places.sort_unstable();
        let llcs = places.chunk_by(|a, b| (a.node, a.llc) == (b.node, b.llc));
        let mut domains: Vec<Domain> = llcs.flat_map(split).collect();
        merge(&mut domains, |last, _| last.cpus.len() < LEAST_CPUS);
        // What is left of a node.
        merge(&mut domains, |_, next| next.cpus.len() < LEAST_CPUS);
        let mut most = MOST_CPUS;
        while domains.len() > MOST_DOMAINS {
            most *= 2;
            merge(&mut domains, |last, next| {
                last.cpus.len() + next.cpus.len() <= most
            });
            // There are more nodes with CPUs than that.
            if most > places.len() {
                domains.clear();
            }
        }
        if domains.is_empty() {
            return Self::one(places.iter().map(|place| place.cpu).collect());
        }
        Self(domains)
    }

    /// One domain of these CPUs.
    pub fn one(cpus: Vec<usize>) -> Self {
        Self(vec![Domain { node: 0, cpus }])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Domain> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, domain: usize) -> &Domain {
        &self.0[domain]
    }

    /// The domains of the node of `domain`.
    pub fn of_node(&self, domain: usize) -> Range<usize> {
        let node = self.0[domain].node;
        let first = self.0.partition_point(|it| it.node < node);
        first..self.0.partition_point(|it| it.node <= node)
    }

    /// Of each node with CPUs, its domains.
    pub fn nodes(&self) -> Vec<Range<usize>> {
        let mut nodes: Vec<Range<usize>> = Vec::new();
        while nodes.last().map_or(0, |last| last.end) < self.len() {
            nodes.push(self.of_node(nodes.last().map_or(0, |last| last.end)));
        }
        nodes
    }

    pub fn nr_cpus(&self, domains: Range<usize>) -> usize {
        self.0[domains].iter().map(|it| it.cpus.len()).sum()
    }

    /// By CPU, up to `nr_cpus`. A CPU that is offline gets the domain of the one before it, for when
    /// it comes: most often that is its neighbour.
    pub fn of_cpus(&self, nr_cpus: usize) -> Vec<u8> {
        let of_online: BTreeMap<usize, u8> = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(domain, it)| it.cpus.iter().map(move |&cpu| (cpu, domain as u8)))
            .collect();
        let before = |cpu| of_online.range(..=cpu).next_back();
        let of = |cpu| before(cpu).or_else(|| of_online.first_key_value());
        (0..nr_cpus)
            .map(|cpu| of(cpu).map_or(0, |(_, &domain)| domain))
            .collect()
    }
}

/// Where no two cores share a cache, as hypervisors say that give their guests no caches, a node is
/// one.
fn join_caches_of_one_core(of_node: &mut [Place]) {
    let mut llcs = of_node.chunk_by(|a, b| a.llc == b.llc);
    if llcs.all(|llc| llc.iter().all(|it| it.core == llc[0].core)) {
        let llc = of_node[0].llc;
        for it in of_node {
            it.llc = llc;
        }
    }
}

/// The domains of one cache, whose CPUs are sorted by core.
fn split(llc: &[Place]) -> Vec<Domain> {
    let parts = llc.len().div_ceil(MOST_CPUS);
    let mut domains: Vec<Domain> = Vec::new();
    let mut done = 0;
    for core in llc.chunk_by(|a, b| a.core == b.core) {
        // As many CPUs in each part as there can be.
        if domains.is_empty() || done * parts >= domains.len() * llc.len() {
            let (node, cpus) = (core[0].node, Vec::new());
            domains.push(Domain { node, cpus });
        }
        if let Some(last) = domains.last_mut() {
            last.cpus.extend(core.iter().map(|place| place.cpu));
        }
        done += core.len();
    }
    domains
}

/// Merges neighbours of a node of which `these` says so.
fn merge(domains: &mut Vec<Domain>, these: impl Fn(&Domain, &Domain) -> bool) {
    domains.dedup_by(|next, last| {
        let merged = next.node == last.node && these(last, next);
        if merged {
            last.cpus.append(&mut next.cpus);
        }
        merged
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Nodes of LLCs of cores of threads, numbered as they stand.
    fn host(nodes: usize, llcs: usize, cores: usize, threads: usize) -> Vec<Place> {
        (0..nodes * llcs * cores * threads)
            .map(|cpu| {
                let core = cpu / threads;
                let llc = core / cores;
                let node = llc / llcs;
                Place {
                    node,
                    llc,
                    core,
                    cpu,
                }
            })
            .collect()
    }

    fn sizes(domains: &Domains) -> Vec<usize> {
        domains.iter().map(|it| it.cpus.len()).collect()
    }

    #[test]
    fn a_domain_for_each_llc() {
        let domains = Domains::new(host(2, 4, 8, 2));
        assert_eq!(sizes(&domains), [16; 8]);
        assert_eq!(domains.nodes(), [0..4, 4..8]);
        assert_eq!(domains.of_node(5), 4..8);
        assert_eq!(domains.nr_cpus(4..8), 64);
        let of_cpus = domains.of_cpus(128);
        assert_eq!((of_cpus[15], of_cpus[16], of_cpus[127]), (0, 1, 7));
    }

    #[test]
    fn a_large_llc_is_split_between_cores() {
        assert_eq!(sizes(&Domains::new(host(1, 1, 20, 2))), [20, 20]);
        assert_eq!(sizes(&Domains::new(host(2, 1, 56, 2))), [28; 8]);
        let odd = Domains::new(host(1, 1, 17, 2));
        assert_eq!(sizes(&odd), [18, 16]);
        assert_eq!(sizes(&Domains::new(host(1, 1, 32, 1))), [32]);
    }

    #[test]
    fn a_cpu_alone_has_no_domain_to_itself() {
        // Of caches with one CPU, or with several.
        let of = |sizes: &[usize]| {
            let llcs = sizes.iter().enumerate();
            let llcs = llcs.flat_map(|(llc, &size)| vec![llc; size]);
            let place = |(cpu, llc)| Place {
                node: 0,
                llc,
                core: cpu,
                cpu,
            };
            Domains::new(llcs.enumerate().map(place).collect())
        };
        assert_eq!(sizes(&of(&[2, 1])), [3]);
        assert_eq!(sizes(&of(&[1, 2, 3, 1, 1])), [3, 3, 2]);
        assert_eq!(sizes(&Domains::new(host(2, 1, 1, 1))), [1, 1], "two nodes");
        assert_eq!(sizes(&Domains::new(host(1, 1, 1, 1))), [1]);
    }

    #[test]
    fn caches_of_one_core_each() {
        assert_eq!(sizes(&Domains::new(host(2, 8, 1, 2))), [16, 16]);
    }

    #[test]
    fn more_llcs_than_domains() {
        assert_eq!(sizes(&Domains::new(host(2, 64, 2, 2))), [64; 8]);
        let nodes = Domains::new(host(100, 1, 2, 1));
        assert_eq!(sizes(&nodes), [200], "more nodes than domains");
    }

    #[test]
    fn offline_cpus_have_a_domain() {
        let online = host(2, 1, 4, 1);
        let online = online.into_iter().filter(|it| ![0, 3, 4].contains(&it.cpu));
        let domains = Domains::new(online.collect());
        assert_eq!(domains.of_cpus(9), [0, 0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(Domains::new(Vec::new()).of_cpus(2), [0, 0]);
    }

    proptest! {
        /// Whatever a host is like, each CPU is in one domain, domains of a node stand beside each
        /// other, and there are not too many.
        #[test]
        fn each_cpu_is_in_one_domain(places in prop::collection::vec((0..9_usize, 0..9_usize, 0..50_usize), 1..400)) {
            let places: Vec<Place> = places
                .into_iter()
                .enumerate()
                .map(|(cpu, (node, llc, core))| Place {
                    node,
                    llc: node * 9 + llc,
                    core: (node * 9 + llc) * 50 + core,
                    cpu,
                })
                .collect();
            let nr_cpus = places.len();
            let domains = Domains::new(places);
            prop_assert!(domains.len() <= MOST_DOMAINS);
            let mut cpus: Vec<usize> = domains.iter().flat_map(|it| it.cpus.clone()).collect();
            cpus.sort_unstable();
            prop_assert_eq!(cpus, (0..nr_cpus).collect::<Vec<_>>());
            prop_assert!(domains.iter().is_sorted_by_key(|it| it.node));
            let of_nodes: usize = domains.nodes().into_iter().map(|it| it.len()).sum();
            prop_assert_eq!(of_nodes, domains.len());
            for (cpu, domain) in domains.of_cpus(nr_cpus).into_iter().enumerate() {
                prop_assert!(domains.get(domain.into()).cpus.contains(&cpu));
            }
        }
    }
}
