/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Skew: how far a VM's vCPUs may get apart, where an administrator bounds it.
 *
 * A CPU's turn is as long as ever, but no vCPU has it for longer than the skew at a time
 * while a sibling waits and is behind: that one takes its place, and the turn goes on. So
 * the vCPUs take turns within their VM's turn, which costs the other VMs nothing. It is
 * out of turn, as a hand-off is. (Ending the turn itself did not bring siblings closer:
 * the kernel ends turns by ticks, and what is about a tick long forgives as lag what it
 * was to hold.) A yielder does not pay its target (yield.bpf.h), which would part them for
 * good. Who sleeps is not waited for.
 */
#ifndef VMLAND_SKEW_BPF_H
#define VMLAND_SKEW_BPF_H

/* How long @taskc, of whose turn @left ns are left, may run now. */
static __always_inline u64 slice_within_skew(const struct vmland_task_ctx *taskc, u64 left)
{
	return taskc->skew_ns && taskc->skew_ns < left ? taskc->skew_ns : left;
}

/*
 * Gives @cpu, for the @left ns of its turn, to the first in @dsq that is behind @taskc, its
 * sibling. Returns whether there is one.
 */
__noinline int skew_switch(const struct vmland_task_ctx *taskc __arg_nonnull, u64 dsq, s32 cpu, u64 left)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *sibling;
	struct task_struct *p;
	u32 scanned = 0;

	if (!cpuc || !scx_bpf_dsq_nr_queued(dsq))
		return false;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (scanned++ >= COSCHED_SCAN)
			break;
		sibling = taskc_of(p);
		if (!sibling || !is_vcpu(sibling) || sibling->vm_id != taskc->vm_id ||
		    !time_before(sibling->vruntime, taskc->vruntime) ||
		    !bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || !may_boost(sibling) ||
		    throttled_until(p, sibling, scx_bpf_now()))
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
 * @prev has had @cpu for as long as the skew allows, and the turn goes on: with a sibling
 * or, if all are level with it or sleep, with itself. Returns whether it does.
 */
__noinline int skew_rotate(struct task_struct *prev __arg_trusted, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *taskc = taskc_of(prev);
	u64 now = scx_bpf_now(), left;

	if (!taskc || !cpuc || !taskc->skew_ns || taskc->yielded || is_pinned(prev))
		return false;
	left = turn_left(cpuc);
	if (!left || throttled_until(prev, taskc, now))
		return false;
	charge(prev, taskc, now);
	if (skew_switch(taskc, SHARED_DSQ, cpu, left) || skew_switch(taskc, PARKED_DSQ, cpu, left))
		return true;
	scx_bpf_task_set_slice(prev, slice_within_skew(taskc, left));
	return true;
}

#endif /* VMLAND_SKEW_BPF_H */
