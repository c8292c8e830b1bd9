/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Wake-up preemption: a waking task that is owed CPU time does not wait for the end of the
 * running task's turn.
 *
 * Mechanism. The waking task preempts if its vruntime is less than that of the running task by
 * more than vmland_slice_min_ns, but not before the CPU's turn has lasted for the running
 * task's shortest slice: a task that has just begun may be about to sleep, as vCPUs are that
 * answer each other's IPIs. It is the turn that counts: else siblings that hand the CPU
 * back and forth would always have just begun.
 *
 *   latency (of the waking task's VM)   effect
 *   "low"                               preempts without a difference and without delay
 *   "batch"                             never preempts
 */
#ifndef VMLAND_PLACEMENT_PREEMPT_BPF_H
#define VMLAND_PLACEMENT_PREEMPT_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../params/params.bpf.h"
#include "../vtime/vtime.bpf.h"

/* The task of @taskc has woken, and waits. Ends the turn of @cpu, now or soon, if that is due. */
static __always_inline void preempt_if_due(const struct vmland_task_ctx *taskc,
					   struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	u64 weight = cpuc->curr_weight, now = scx_bpf_now(), least, vruntime;
	bool at_once = vm_has_flag(taskc, VMLAND_VM_LATENCY_LOW);
	struct task_struct *curr;

	if (!weight || !mechanism_on(VMLAND_PREEMPTION) ||
	    vm_has_flag(taskc, VMLAND_VM_LATENCY_BATCH))
		return;
	vruntime = cpuc->curr_vruntime + ns_to_vtime(now - cpuc->curr_start, weight);
	if (!time_before(taskc->vruntime + (at_once ? 0 : vmland_slice_min_ns), vruntime))
		return;
	least = cpuc->turn_start + cpuc->curr_slice_min;
	if (at_once || !time_before(now, least)) {
		count(VMLAND_PREEMPT);
		cpuc->turn_end = now;
		cpuc->prolong_left_ns = 0;
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return;
	}
	if (!time_before(least, cpuc->turn_end))
		return;
	cpuc->turn_end = least;
	curr = bpf_task_from_pid(cpuc->curr_pid);
	if (!curr)
		return;
	scx_bpf_task_set_slice(curr, least - now);
	bpf_task_release(curr);
}

#endif /* VMLAND_PLACEMENT_PREEMPT_BPF_H */
