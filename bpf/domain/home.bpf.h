/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Homes: the domains that a VM is to run in.
 *
 * The planner (src/homes.rs) gives each VM a domain, or those of a node if it is wider, or all; by
 * load, weight and memory. A vCPU waits in the queue of a domain of its home, and an idle CPU there
 * is chosen first (placement/idle.bpf.h). No CPU idles because of it: one that would, or whose own
 * tasks are later by far, takes a vCPU away from home for a turn (queue/beyond.bpf.h).
 *
 * A task without a home stays in the domain in which it ran last.
 */
#ifndef VMLAND_DOMAIN_HOME_BPF_H
#define VMLAND_DOMAIN_HOME_BPF_H

#include "../framework.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"
#include "domain.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_home);
} vmland_homes SEC(".maps");

/* Refreshes the home of the task of @taskc. */
static __always_inline void home_refresh(struct vmland_task_ctx *taskc)
{
	const struct vmland_home *home;
	u32 slot = taskc->vm_slot;

	if (!many_domains())
		return;
	home = is_vcpu(taskc) ? bpf_map_lookup_elem(&vmland_homes, &slot) : NULL;
	if (home && home->vm_id != taskc->vm_id)
		home = NULL;
	taskc->home_first = home ? home->first : 0;
	taskc->home_domains = home ? home->nr : 0;
}

static __always_inline bool has_home(const struct vmland_task_ctx *taskc)
{
	return many_domains() && taskc->home_domains;
}

/* Is the task of @taskc at home in @domain? So is one without a home everywhere. */
static __always_inline bool at_home(const struct vmland_task_ctx *taskc, u32 domain)
{
	return !has_home(taskc) || domain - taskc->home_first < taskc->home_domains;
}

/* The domain whose queue @p is to wait in. */
static __always_inline u32 domain_of_task(const struct task_struct *p,
					  const struct vmland_task_ctx *taskc)
{
	const struct cpumask *cpus;
	u32 domain = taskc->domain;

	if (!many_domains())
		return 0;
	if (!at_home(taskc, domain))
		domain = taskc->home_first + (u32)p->pid % (taskc->home_domains ?: 1);
	if (p->nr_cpus_allowed < nr_cpu_ids) {
		cpus = cpus_of_domain(domain);
		if (cpus && !bpf_cpumask_intersects(cpus, p->cpus_ptr))
			domain = domain_of(scx_bpf_task_cpu(p));
	}
	return domain % VMLAND_MAX_DOMAINS;
}

/* The task of @taskc begins to run on @cpu. */
static __always_inline void home_running(struct vmland_task_ctx *taskc, s32 cpu)
{
	u32 domain = domain_of(cpu);

	if (!many_domains())
		return;
	taskc->last_cpu = cpu;
	if (at_home(taskc, domain))
		taskc->domain = domain;
}

/* May a hand-off take @p to @cpu? Not out of its home, unless it cannot run there. */
static __always_inline bool handoff_stays_home(const struct task_struct *p,
					       const struct vmland_task_ctx *taskc, s32 cpu)
{
	return !has_home(taskc) || at_home(taskc, domain_of(cpu)) ||
	       p->nr_cpus_allowed < nr_cpu_ids;
}

#endif /* VMLAND_DOMAIN_HOME_BPF_H */
