/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs that a VM prefers.
 *
 * Problem. An administrator wants a VM to run on some CPUs (near its memory, away
 * from another VM), but not to have it wait there while others stand idle: a
 * preference, no affinity.
 *
 * Mechanism. Of idle CPUs, those that the VM prefers come first, in ops.select_cpu
 * and wherever an idle CPU is woken; if there is none of them, any will do. When a CPU
 * comes free and there is a choice of who waits, the deadline of a vCPU that prefers
 * others counts as one slice of its own later than it is. So it is passed over for
 * those that are at home there, or do not mind, as long as they are not far behind it.
 *
 * Limits. The handicap is a constant in virtual time: it shifts when a vCPU runs, not
 * how much, and nobody starves. A CPU never stands idle for it. A hand-off goes to the
 * CPU of the yielder whatever the target prefers, for a sibling waits for it; nobody
 * is moved while he runs. Preferred CPUs that a thread may not use do not count.
 */
#ifndef VMLAND_PREFER_BPF_H
#define VMLAND_PREFER_BPF_H

#include "preferred.bpf.h"

/* How many of a line are looked at for one without a handicap. */
#define QUEUE_SCAN 8

/* Some VM has preferred CPUs, or had. */
static bool any_preferred;

/* The CPUs that @p's VM prefers of those that @p may use; NULL: it is all the same. */
static __always_inline const struct cpumask *preferred_cpus(const struct task_struct *p,
						       const struct vmland_task_ctx *taskc)
{
	struct vmland_preferred *of_vm;
	struct bpf_cpumask *cpus;
	u32 slot = taskc->vm_slot;

	if (!taskc->has_preferred)
		return NULL;
	of_vm = bpf_map_lookup_elem(&vmland_preferred, &slot);
	cpus = of_vm ? of_vm->cpus : NULL;
	/* The field, not a cast: the object's BTF must have the whole type. */
	if (!cpus || !bpf_cpumask_intersects(&cpus->cpumask, p->cpus_ptr))
		return NULL;
	return &cpus->cpumask;
}

/* An idle CPU that @p's VM prefers, which is idle no more; negative: there is none. */
static s32 pick_preferred(struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	const struct vmland_task_ctx *taskc = any_preferred ? taskc_of(p) : NULL;
	const struct cpumask *cpus = taskc ? preferred_cpus(p, taskc) : NULL;

	return cpus ? scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, cpus, 0) : -1;
}

static __always_inline bool prefers_elsewhere(const struct task_struct *p,
					      const struct vmland_task_ctx *taskc, s32 cpu)
{
	const struct cpumask *cpus = preferred_cpus(p, taskc);

	return cpus && !bpf_cpumask_test_cpu(cpu, cpus);
}

#endif /* VMLAND_PREFER_BPF_H */
