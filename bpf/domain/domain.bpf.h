/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains: which CPUs share a queue.
 *
 * Problem. One queue for all CPUs of a large host is one lock for all of them, and whoever comes
 * free first takes whoever is first in line, wherever that one's caches and memory are.
 *
 * Mechanism. The CPUs of a last-level cache are a domain; where many CPUs share one, it is several
 * domains. Each has a queue (context/queues.bpf.h). User space numbers domains, those of a node one
 * after the other, and writes what is here before it loads the scheduler (src/topology.rs). On a
 * host with one domain the verifier leaves out all code for several.
 *
 * Virtual time is one for the host: a task keeps its vruntime when it changes domains, so shares
 * hold over all of them. The vtime of a domain is what its CPUs have come to. While nobody waits in
 * a domain its vtime stands still, whatever the others do: then it catches up with the newest one.
 * A domain that had old vtime would be owed all that the others have run meanwhile.
 *
 *   constant          value       why
 *   DOMAIN_LAG        10 slices   That far a domain in which tasks compete is behind the newest
 *                                 vtime at most: twice the largest distance from which a CPU
 *                                 takes a task (queue/beyond.bpf.h).
 *   NEWEST_PARTS      4           The newest vtime is written when it is later by a quarter of a
 *                                 slice, as all CPUs share it.
 */
#ifndef VMLAND_DOMAIN_DOMAIN_BPF_H
#define VMLAND_DOMAIN_DOMAIN_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../intf.h"

#define DOMAIN_LAG 10
#define NEWEST_PARTS 4

/* User space sets these before it loads the scheduler. */
const volatile u32 nr_domains = 1;
const volatile u8 cpu_domains[MAX_CPUS];	/* by CPU; offline ones have one, too */
const volatile struct vmland_domain domains[VMLAND_MAX_DOMAINS];

/* What changes of a domain. */
struct vmland_domain_ctx {
	u64 vtime;
} __attribute__((aligned(64)));

static struct vmland_domain_ctx domain_ctxs[VMLAND_MAX_DOMAINS];

static u64 newest_vtime;

/* The CPUs of each domain, and from VMLAND_MAX_DOMAINS on those of the node that begins there. */
struct vmland_domain_cpus {
	struct bpf_cpumask __kptr *cpus;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * VMLAND_MAX_DOMAINS);
	__type(key, u32);
	__type(value, struct vmland_domain_cpus);
} vmland_domain_cpus SEC(".maps");

static __always_inline bool many_domains(void)
{
	return nr_domains > 1;
}

static __always_inline u32 domain_of(s32 cpu)
{
	return many_domains() ? cpu_domains[(u32)cpu % MAX_CPUS] % VMLAND_MAX_DOMAINS : 0;
}

static __always_inline bool same_node(u32 a, u32 b)
{
	const volatile struct vmland_domain *it = &domains[a % VMLAND_MAX_DOMAINS];

	return b - it->node_first < it->node_domains;
}

/*
 * The @nth domain from @from on, which is the first: those of its node, then all others. For
 * 0 <= @nth < nr_domains each comes once.
 */
static __always_inline u32 domain_near(u32 from, u32 nth)
{
	const volatile struct vmland_domain *it = &domains[from % VMLAND_MAX_DOMAINS];
	u32 first = it->node_first, of_node = it->node_domains ?: 1;

	if (nth < of_node)
		return first + (from - first + nth) % of_node;
	return (first + nth) % (nr_domains ?: 1);
}

static __always_inline const struct cpumask *domain_cpumask(u32 key)
{
	struct vmland_domain_cpus *of_domain = bpf_map_lookup_elem(&vmland_domain_cpus, &key);
	struct bpf_cpumask *cpus = of_domain ? of_domain->cpus : NULL;

	return cpus ? &cpus->cpumask : NULL;
}

/* The CPUs of @domain; NULL: there is one domain. */
static __always_inline const struct cpumask *cpus_of_domain(u32 domain)
{
	return many_domains() ? domain_cpumask(domain) : NULL;
}

/* The CPUs of the node of @domain. */
static __always_inline const struct cpumask *cpus_of_node(u32 domain)
{
	return domain_cpumask(VMLAND_MAX_DOMAINS + domains[domain % VMLAND_MAX_DOMAINS].node_first);
}

/* Writes the mask at @key: the CPUs of @nr domains from @first on. */
static s32 domain_cpumask_init(u32 key, u32 first, u32 nr)
{
	struct vmland_domain_cpus *of_domain = bpf_map_lookup_elem(&vmland_domain_cpus, &key);
	struct bpf_cpumask *cpus;
	u32 cpu;

	if (!of_domain)
		return -ENOENT;
	cpus = bpf_cpumask_create();
	if (!cpus)
		return -ENOMEM;
	bpf_for(cpu, 0, nr_cpu_ids)
		if (domain_of(cpu) - first < nr)
			bpf_cpumask_set_cpu(cpu, cpus);
	cpus = bpf_kptr_xchg(&of_domain->cpus, cpus);
	if (cpus)
		bpf_cpumask_release(cpus);
	return 0;
}

static s32 domains_init(void)
{
	s32 err = 0;
	u32 i, first;

	if (!many_domains())
		return 0;
	bpf_for(i, 0, nr_domains) {
		first = domains[i % VMLAND_MAX_DOMAINS].node_first;
		err = err ?: domain_cpumask_init(i, i, 1);
		if (first == i)
			err = err ?: domain_cpumask_init(VMLAND_MAX_DOMAINS + i, i,
					domains[i % VMLAND_MAX_DOMAINS].node_domains);
	}
	return err;
}

/* The vtime of the CPU of @cpuc is at least @least. */
static __always_inline void vtime_at_least(struct vmland_cpu_ctx *cpuc, u64 least)
{
	if (time_before(cpuc->vtime, least))
		cpuc->vtime = least;
}

/* Tasks compete for the CPU of @cpuc, which may not have taken one from a queue for long. */
static __always_inline void vtime_follow(struct vmland_cpu_ctx *cpuc)
{
	if (many_domains())
		vtime_at_least(cpuc, newest_vtime - DOMAIN_LAG * slice_ns);
}

/* Nobody has competed for the CPU of @cpuc. */
static __always_inline void vtime_catch_up(struct vmland_cpu_ctx *cpuc)
{
	if (many_domains())
		vtime_at_least(cpuc, newest_vtime);
}

/* The vtime of @cpu, of @cpuc, is that of its domain, too; @competes: others wait. */
static __always_inline void domain_advance(const struct vmland_cpu_ctx *cpuc, s32 cpu,
					   bool competes)
{
	struct vmland_domain_ctx *domc = &domain_ctxs[domain_of(cpu)];

	if (!many_domains())
		return;
	if (time_after(cpuc->vtime, domc->vtime))
		domc->vtime = cpuc->vtime;
	if (competes && time_after(cpuc->vtime, newest_vtime + slice_ns / NEWEST_PARTS))
		newest_vtime = cpuc->vtime;
}

/* The vtime of @domain, as @cpu, of @cpuc, has it. */
static __always_inline u64 domain_vtime(u32 domain, const struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	u64 vtime, least;

	if (!many_domains() || domain_of(cpu) == domain)
		return cpuc->vtime;
	vtime = domain_ctxs[domain % VMLAND_MAX_DOMAINS].vtime;
	least = newest_vtime - DOMAIN_LAG * slice_ns;
	return time_before(vtime, least) ? least : vtime;
}

#endif /* VMLAND_DOMAIN_DOMAIN_BPF_H */
