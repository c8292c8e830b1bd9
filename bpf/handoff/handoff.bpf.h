/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hand-off: ops.dispatch() puts the noted target on this CPU, wherever it waits.
 *
 *   the target waits in      what happens                                      counter
 *   a queue                  it is moved to this CPU, for the rest of the turn shared, pinned
 *   a queue, but may not     it is put first on its own CPU, if it can         remote
 *   run here                 preempt the task there
 *   a local DSQ, or runs     nothing: it has a CPU                             served
 *   nowhere: throttled or    nothing                                           lost
 *   asleep
 */
#ifndef VMLAND_HANDOFF_HANDOFF_BPF_H
#define VMLAND_HANDOFF_HANDOFF_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"
#include "../ipi/pending.bpf.h"
#include "turn.bpf.h"

/* The counter of a target that waited in @dsq. */
static __always_inline u32 handoff_counter(u64 dsq)
{
	return dsq < MAX_CPUS ? VMLAND_HANDOFF_PINNED : VMLAND_HANDOFF_SHARED;
}

/*
 * Moves @p from @dsq to @cpu. A new iterator can move any task that is on its DSQ, so the
 * cost does not depend on the length of the queue.
 */
static __always_inline bool move_to_cpu(struct task_struct *p, u64 dsq, s32 cpu, u64 slice,
					u64 flags)
{
	struct bpf_iter_scx_dsq it;
	bool moved = false;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0) && may_move_to(p, cpu)) {
		scx_bpf_dsq_move_set_slice(&it, slice);
		moved = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL_ON | cpu, flags);
	}
	bpf_iter_scx_dsq_destroy(&it);
	return moved;
}

/* Moves @p from @dsq to @cpu, or first on its own CPU if it may not run on @cpu. */
static bool handoff_move(struct task_struct *p, u64 dsq, s32 cpu, u64 slice)
{
	bool here = may_move_to(p, cpu);
	s32 dest = here ? cpu : scx_bpf_task_cpu(p);
	const struct vmland_cpu_ctx *destc = cpuc_of(dest);
	/* Behind a task that it cannot preempt, as a real-time one, it would wait for longer. */
	bool moved = (here || (destc && destc->curr_weight)) &&
		     move_to_cpu(p, dsq, dest, slice,
				 here ? 0 : SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);

	if (!moved)
		count(VMLAND_HANDOFF_LOST);
	else
		count(here ? handoff_counter(dsq) : VMLAND_HANDOFF_REMOTE);
	return moved && here;
}

/* How long @p may run on the CPU that it gets by a hand-off, in ns. */
static __always_inline u64 handoff_slice(struct task_struct *p, const struct vmland_cpu_ctx *cpuc)
{
	const struct vmland_task_ctx *taskc = taskc_of(p);

	if (taskc && !turn_is_passed_on(taskc))
		return taskc->slice_ns;
	return turn_left(cpuc) ?: HANDOFF_MIN_NS;
}

/*
 * Serves the note of @cpu, which is this CPU. Returns whether the target is first on it. Not static, so that
 * the verifier checks it once, and not at each call.
 */
__noinline int handoff_serve(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	bool served = false;
	struct task_struct *p;
	u64 dsq;
	s32 pid;

	if (!cpuc)
		return served;
	pid = cpuc->handoff_pid;
	cpuc->handoff_pid = 0;
	p = bpf_task_from_pid(pid);
	if (!p)
		return served;

	dsq = p->scx.dsq ? p->scx.dsq->id : SCX_DSQ_INVALID;
	if (is_queue(dsq)) {
		served = handoff_move(p, dsq, cpu, handoff_slice(p, cpuc));
		if (served)
			cpuc->expected_pid = pid;
	} else if (dsq >= THROTTLED_DSQ && dsq < THROTTLED_DSQ + THROTTLED_DSQS) {
		count(VMLAND_HANDOFF_LOST);
	} else if (is_queued(p)) {
		count(VMLAND_HANDOFF_SERVED);
	} else {
		count(VMLAND_HANDOFF_LOST);
	}
	bpf_task_release(p);
	return served;
}

/* Moves @p to @cpu for @left ns, if it waits in a queue. */
static bool resume(struct task_struct *p, s32 cpu, u64 left)
{
	u64 dsq = p->scx.dsq ? p->scx.dsq->id : SCX_DSQ_INVALID;

	return is_queue(dsq) && move_to_cpu(p, dsq, cpu, left, 0);
}

/*
 * @cpu, which is this CPU, goes on with its suspended turn; or, if that is a sender's, with a
 * further one of its receivers. Returns whether it does. Not static, so that the verifier
 * checks it once, and not at each call.
 */
__noinline int turn_resume(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct task_struct *p, *receiver = NULL;
	struct vmland_task_ctx *taskc;
	bool resumed = false;
	u64 left;

	if (!cpuc)
		return false;
	left = turn_left(cpuc);
	p = left ? bpf_task_from_pid(cpuc->suspended_pid) : NULL;
	taskc = p ? taskc_of(p) : NULL;
	if (taskc && cpuc->suspended_by_ipi)
		receiver = pending_receiver(p, taskc);
	if (receiver) {
		resumed = resume(receiver, cpu, left);
		if (resumed)
			cpuc->expected_pid = receiver->pid;
		bpf_task_release(receiver);
	}
	if (p) {
		if (!resumed) {
			cpuc->suspended_by_ipi = false;
			resumed = resume(p, cpu, left);
		}
		bpf_task_release(p);
	}
	if (!resumed)
		cpuc->suspended_pid = 0;
	return resumed;
}

#endif /* VMLAND_HANDOFF_HANDOFF_BPF_H */
