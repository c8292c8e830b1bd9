/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Preferred CPUs of a VM.
 *
 * Problem. An administrator prefers that a VM run on certain CPUs (near its memory, or not on
 * those of another VM). But it should not wait for them while other CPUs are idle: it is
 * a preference, and no affinity.
 *
 * Mechanism. An idle CPU that the VM prefers is chosen before other idle CPUs. When a CPU that
 * the VM does not prefer chooses from the queues, the deadline of the VM's vCPUs counts as
 * one slice of their own later (queue/queue.bpf.h). So the CPU takes tasks that prefer
 * it, or prefer none, as long as their deadlines are less than that later.
 *
 * Limits. The penalty is a constant in virtual time: it changes when a vCPU runs, not how
 * much, and no vCPU starves. No CPU idles because of it. A hand-off goes to the CPU of the
 * yielder whatever the target prefers, as a sibling waits for it. A running task is
 * not moved. Preferred CPUs that a thread may not use do not count.
 */
#ifndef VMLAND_PLACEMENT_PREFER_BPF_H
#define VMLAND_PLACEMENT_PREFER_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../params/params.bpf.h"
#include "preferred.bpf.h"

/* The preferred CPUs of the VM of @p, if @p may use one of them; NULL: all CPUs are alike. */
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
	/* The member, and not a cast: so the object's BTF contains the whole type. */
	if (!cpus || !bpf_cpumask_intersects(&cpus->cpumask, p->cpus_ptr))
		return NULL;
	return &cpus->cpumask;
}

/* Claims an idle CPU that the VM of @p prefers; negative: there is none. */
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

#endif /* VMLAND_PLACEMENT_PREFER_BPF_H */
