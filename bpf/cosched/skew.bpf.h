/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Skew: a bound of the difference of CPU time between the vCPUs of a VM, where an
 * administrator sets one (skew).
 *
 * Mechanism. A turn (handoff/turn.bpf.h) is as long as without a bound. But a vCPU runs for no
 * longer than the bound at a time while a sibling with less vruntime waits: then the turn
 * goes on with that sibling. So the siblings alternate within their VM's turn, and other VMs
 * lose nothing. A sibling's part is out of turn, as with a hand-off.
 *
 * The run timer (queue/run_timer.bpf.h) stops the vCPU: ticks are further apart than many bounds.
 *
 * Limits. A yielder transfers no vruntime to its target (vtime/transfer.bpf.h), which would
 * increase the skew for good. A sibling that sleeps is not waited for.
 */
#ifndef VMLAND_COSCHED_SKEW_BPF_H
#define VMLAND_COSCHED_SKEW_BPF_H

#include <scx/common.bpf.h>
#include "../cgroup/limits.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../handoff/boost.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../queue/run_timer.bpf.h"
#include "../vtime/charge.bpf.h"

/* Waiting tasks that are examined for a sibling. It bounds the time in ops.dispatch(). */
#define SKEW_SCAN 64

/* @p runs on the CPU of @cpuc from @now, no longer at a time than the skew allows. */
static __always_inline void skew_stop(struct task_struct *p, const struct vmland_task_ctx *taskc,
				      struct vmland_cpu_ctx *cpuc, u64 now)
{
	u64 end = now + taskc->skew_ns;

	if (taskc->skew_ns && taskc->skew_ns < p->scx.slice &&
	    (!cpuc->stop_at || time_before(end, cpuc->stop_at)))
		cpuc->stop_at = end;
}

/*
 * The turn on @cpu, of which @left ns are left, goes on with the first sibling of @taskc in
 * @dsq that has less vruntime. Returns whether there is one.
 */
__noinline int skew_switch(const struct vmland_task_ctx *taskc __arg_nonnull, u64 dsq, s32 cpu,
			   u64 left)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *sibling;
	struct task_struct *p;
	u32 scanned = 0;

	if (!cpuc || !scx_bpf_dsq_nr_queued(dsq))
		return false;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (scanned++ >= SKEW_SCAN)
			break;
		sibling = taskc_of(p);
		if (!sibling || !is_vcpu(sibling) || sibling->vm_id != taskc->vm_id ||
		    !time_before(sibling->vruntime, taskc->vruntime) ||
		    !bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || !may_boost(sibling))
			continue;
		scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, left);
		if (!scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0))
			continue;
		cpuc->expected_pid = p->pid;
		return true;
	}
	return false;
}

/*
 * @prev has run on @cpu for as long as the skew allows. Its turn goes on with a sibling or,
 * if none that waits has less vruntime, with @prev. Returns whether the turn goes on.
 */
__noinline int skew_rotate(struct task_struct *prev __arg_trusted, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *taskc = taskc_of(prev);
	u64 now = scx_bpf_now(), left;

	if (!taskc || !cpuc || !taskc->skew_ns || taskc->yielded || is_pinned(prev))
		return false;
	left = turn_left(cpuc);
	if (!left)
		return false;
	charge(prev, taskc, now);
	if (throttled_until(prev, taskc, now))
		return false;
	if (skew_switch(taskc, shared_queue_of(cpu), cpu, left))
		return true;
	scx_bpf_task_set_slice(prev, left);
	cpuc->stop_at = cpuc->turn_end;
	skew_stop(prev, taskc, cpuc, now);
	run_timer_begin(prev, taskc, cpuc, now, true);
	return true;
}

#endif /* VMLAND_COSCHED_SKEW_BPF_H */
