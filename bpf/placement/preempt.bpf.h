/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wake-up preemption: a waking task that is owed CPU time runs at once.
 *
 * Mechanism. If no CPU idles, the waking task is put first on a CPU whose current task has more
 * vruntime than it by over vmland_slice_min_ns, for FIRST_SLICE_NS. That is enough
 * for most that wake. One that needs longer competes by its deadline after it. The turn of
 * the preempted task is suspended: it goes on when the waking task sleeps or has had its
 * first slice. So siblings that run at the same time are apart for a moment only. The vruntime
 * is that of the VM, too (vtime/lag.bpf.h): a VM that has had its share does not preempt,
 * whichever of its vCPUs wakes.
 *
 * A vCPU whose gang has its turn (cosched/gang.bpf.h) preempts any task of others, until the turn
 * ends.
 *
 * A sibling is preempted only when its CPU's turn has lasted for its shortest slice: it may
 * be about to sleep, as vCPUs are that answer each other's IPIs. It is the turn that
 * counts: else siblings that hand the CPU back and forth would always have just begun.
 *
 *   latency (of the waking task's VM)   effect
 *   "low"                               preempts without a difference
 *   "batch"                             never preempts
 *
 *   constant        value    why
 *   FIRST_SLICE_NS  500 us   An interrupt and what follows from it take less. It bounds how
 *                            long a suspended turn waits.
 *   PREEMPT_CPUS    4        CPUs that are examined. It bounds the time of a wake-up.
 *   FIRST_QUEUE     2        Waking tasks that may wait for a CPU's first slices.
 */
#ifndef VMLAND_PLACEMENT_PREEMPT_BPF_H
#define VMLAND_PLACEMENT_PREEMPT_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../cosched/gang.bpf.h"
#include "../counters.bpf.h"
#include "../domain/domain.bpf.h"
#include "../domain/home.bpf.h"
#include "../params/params.bpf.h"
#include "../vtime/lag.bpf.h"
#include "../vtime/vtime.bpf.h"

#define FIRST_SLICE_NS (500 * 1000ULL)
#define PREEMPT_CPUS 4
#define FIRST_QUEUE 2

/* By how much the vruntime of the task that runs on the CPU of @cpuc is above @vruntime, or 0. */
static __always_inline s64 curr_above(const struct vmland_cpu_ctx *cpuc, u64 vruntime, u64 now)
{
	u64 weight = cpuc->curr_weight;
	s64 above;

	if (!weight)
		return 0;
	above = cpuc->curr_vruntime + ns_to_vtime(now - cpuc->curr_start, weight) - vruntime;
	return above > 0 ? above : 0;
}

/* The first slice of the task of @taskc, in ns: if its gang has its turn, until that ends. */
static __always_inline u64 first_slice(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_ctx *vmc = taskc->gang ? vmc_of(taskc->vm_slot) : NULL;
	u64 now = scx_bpf_now();

	return vmc && gang_has_turn(vmc, now) ? vmc->turn_end - now : FIRST_SLICE_NS;
}

/* The CPU that is examined first: the one that @p waits on may be away from home. */
static __always_inline u32 first_to_preempt(const struct task_struct *p,
					    const struct vmland_task_ctx *taskc)
{
	s32 cpu = scx_bpf_task_cpu(p);

	return at_home(taskc, domain_of(cpu)) || is_pinned(p) ? cpu : taskc->last_cpu;
}

/*
 * Chooses the CPU that @p, which has woken, is to have at once. Sets *@preempts: it
 * preempts the task there, and does not wait for the first slice of another one. Returns -1 if
 * there is no such CPU.
 */
__noinline s32 preempt_choose(struct task_struct *p __arg_trusted,
			      const struct vmland_task_ctx *taskc __arg_nonnull,
			      bool *preempts __arg_nonnull)
{
	s64 least = vm_has_flag(taskc, VMLAND_VM_LATENCY_LOW) ? 0 : vmland_slice_min_ns;
	u32 nr = nr_cpu_ids ?: 1, start = first_to_preempt(p, taskc), i;
	const struct vmland_cpu_ctx *cpuc;
	u64 now = scx_bpf_now(), vruntime = vruntime_with_account(taskc);
	bool late = first_slice(taskc) != FIRST_SLICE_NS;
	bool owed = late || is_owed(taskc);
	s32 cpu, queue = -1;

	if (!mechanism_on(VMLAND_PREEMPTION) || vm_has_flag(taskc, VMLAND_VM_LATENCY_BATCH))
		return -1;
	bpf_for(i, 0, PREEMPT_CPUS) {
		if (i == nr || (i && (is_pinned(p) || time_before(now, taskc->sticky_until))))
			break;
		cpu = (start + i) % nr;
		cpuc = cpuc_of(cpu);
		/* On one that is offline tasks run until the kernel moves them. */
		if (!cpuc || cpuc->offline || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ||
		    !at_home(taskc, domain_of(cpu)))
			continue;
		if (cpuc->suspended_pid) {
			if (queue < 0 && !late && (owed || (s64)(cpuc->suspended_vruntime -
							vruntime) > least))
				queue = cpu;
			continue;
		}
		if (!cpuc->curr_weight ||
		    (!owed && curr_above(cpuc, vruntime, now) <= least))
			continue;
		if (is_vcpu(taskc) && cpuc->curr_vm_id == taskc->vm_id &&
		    (late || time_before(now, cpuc->turn_start + cpuc->curr_slice_min)))
			continue;
		*preempts = true;
		return cpu;
	}
	*preempts = false;
	return queue >= 0 && scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | queue) < FIRST_QUEUE ?
	       queue : -1;
}

/* Puts @p, which has woken, on a CPU if it is to preempt. Returns whether it is. */
static __always_inline bool preempt_if_due(struct task_struct *p,
					   const struct vmland_task_ctx *taskc, u64 enq_flags)
{
	u64 slice = first_slice(taskc);
	struct vmland_cpu_ctx *cpuc;
	bool preempts;
	s32 cpu;

	cpu = preempt_choose(p, taskc, &preempts);
	cpuc = cpu < 0 ? NULL : cpuc_of(cpu);
	if (!cpuc)
		return false;
	if (preempts) {
		cpuc->suspended_vruntime = taskc->vruntime +
			curr_above(cpuc, taskc->vruntime, scx_bpf_now());
		cpuc->suspended_pid = cpuc->curr_pid;
		cpuc->suspended_by_ipi = false;
		cpuc->first_slice_ns = slice;
		enq_flags |= SCX_ENQ_HEAD | SCX_ENQ_PREEMPT;
		count(VMLAND_PREEMPT);
	}
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cpu, slice, enq_flags);
	return true;
}

#endif /* VMLAND_PLACEMENT_PREEMPT_BPF_H */
