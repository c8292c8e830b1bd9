/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Co-scheduling: the vCPUs of a VM run at the same time, where an administrator asks for it
 * (cosched = "strict").
 *
 * Problem. Turns (handoff/turn.bpf.h) make siblings run at the same time only where the
 * guest's behaviour leads to it. Some guests need it always.
 *
 * Mechanism. When a vCPU is taken from a queue, its waiting siblings, the gang, are put first
 * on other CPUs until its turn ends. They preempt tasks whose turn has lasted for the shortest
 * slice. A sibling that wakes meanwhile follows. So the vCPUs run at the same time, as far
 * as there are CPUs.
 *
 * Limits. No CPU idles because of it, and a sibling that sleeps is not waited for. It is out
 * of turn: siblings are charged for it, and each must be allowed to run out of turn
 * (may_run_out_of_turn()).
 */
#ifndef VMLAND_COSCHED_COSCHED_BPF_H
#define VMLAND_COSCHED_COSCHED_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../handoff/turn.bpf.h"

/*
 * Waiting tasks that are examined for siblings, and CPUs that are examined for each sibling.
 * It bounds the time in ops.dispatch(), on hosts with more CPUs or longer queues.
 */
#define COSCHED_SCAN 64

/* The end of the last turn of a running vCPU of VM @vm_id; 0: none runs. */
static __always_inline u64 cosched_end(u32 vm_id)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(bpf_get_smp_processor_id());
	const struct vmland_cpu_ctx *other;
	s32 i;

	if (!cpuc)
		return 0;
	cpuc->until = 0;
	bpf_for(i, 0, COSCHED_SCAN) {
		if (i == (s32)nr_cpu_ids)
			break;
		other = cpuc_of(i);
		if (other && other->curr_weight && other->curr_vm_id == vm_id &&
		    time_after(other->turn_end, cpuc->until))
			cpuc->until = other->turn_end;
	}
	return cpuc->until;
}

/* A CPU other than @cpu whose task @p, of VM @vm_id, may preempt; -1: none. */
static s32 cosched_cpu(const struct task_struct *p, u32 vm_id, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc;
	u32 start = scx_bpf_task_cpu(p), nr = nr_cpu_ids ?: 1;
	s32 at, i;

	bpf_for(i, 0, COSCHED_SCAN) {
		if (i == (s32)nr)
			break;
		at = (start + i) % nr;
		cpuc = cpuc_of(at);
		if (cpuc && at != cpu && bpf_cpumask_test_cpu(at, p->cpus_ptr) &&
		    cpuc->curr_weight && cpuc->curr_vm_id != vm_id &&
		    !time_before(now, cpuc->turn_start + cpuc->curr_slice_min))
			return at;
	}
	return -1;
}

/* @p, of VM @vm_id, is about to run on @cpu for @slice ns. */
static __always_inline void cosched_start(const struct task_struct *p, u32 vm_id, s32 cpu,
					  u64 now, u64 slice)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (!cpuc)
		return;
	cpuc->expected_pid = p->pid;
	cpuc->curr_vm_id = vm_id;
	turn_begin(cpuc, now, slice);
	count(VMLAND_COSCHED_STARTS);
}

/*
 * A turn of a vCPU of VM @vm_id begins on @cpu. Its siblings in @dsq run on other CPUs for
 * the same @slice ns.
 */
__noinline int cosched_siblings(u64 dsq, u32 vm_id, s32 cpu, u64 slice)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u64 now = scx_bpf_now();
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	s32 dest;

	if (!cpuc || !scx_bpf_dsq_nr_queued(dsq))
		return 0;
	cpuc->scanned = 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (cpuc->scanned++ >= COSCHED_SCAN)
			break;
		taskc = taskc_of(p);
		if (!taskc || !is_vcpu(taskc) || taskc->vm_id != vm_id || is_pinned(p) ||
		    !may_run_out_of_turn(taskc, cpuc->vtime))
			continue;
		dest = cosched_cpu(p, vm_id, cpu, now);
		if (dest < 0)
			break;
		scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, slice);
		if (scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | dest,
				     SCX_ENQ_HEAD | SCX_ENQ_PREEMPT))
			cosched_start(p, vm_id, dest, now, slice);
	}
	return 0;
}

/*
 * @p has woken, or is the target of a hand-off, while siblings run. Returns the CPU on which
 * it is to run at the same time, for *@slice ns, until the last of their turns ends; -1: none.
 */
__noinline s32 cosched_late(struct task_struct *p __arg_trusted,
			    struct vmland_task_ctx *taskc __arg_nonnull,
			    u64 *slice __arg_nonnull)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	u64 now = scx_bpf_now(), until;
	s32 dest;

	if (!cpuc || is_pinned(p) || !may_run_out_of_turn(taskc, cpuc->vtime))
		return -1;
	until = cosched_end(taskc->vm_id);
	if (!time_before(now + HANDOFF_MIN_NS, until))
		return -1;
	dest = cosched_cpu(p, taskc->vm_id, -1, now);
	if (dest < 0)
		return -1;
	*slice = until - now;
	cosched_start(p, taskc->vm_id, dest, now, *slice);
	return dest;
}

#endif /* VMLAND_COSCHED_COSCHED_BPF_H */
