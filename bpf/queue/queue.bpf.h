/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Choosing from the queues (context/queues.bpf.h): the waiting task with the earliest
 * deadline.
 *
 * Each queue is sorted by deadline. Some tasks have a reason to run on another CPU. On this
 * one their deadline counts as one slice of their own later for each reason:
 *
 *   their VM prefers other CPUs         placement/prefer.bpf.h
 *   they are sticky on another CPU      handoff/sticky.bpf.h
 *
 * In the queue of another domain all tasks count as later, by the distance (domain/distance.bpf.h).
 *
 * So the task to take may stand behind the head of its queue.
 */
#ifndef VMLAND_QUEUE_QUEUE_BPF_H
#define VMLAND_QUEUE_QUEUE_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../domain/distance.bpf.h"
#include "../handoff/sticky.bpf.h"
#include "../placement/prefer.bpf.h"
#include "../vtime/vtime.bpf.h"

/*
 * Tasks of a queue that are examined on a CPU, until one has no reason to run elsewhere. It
 * bounds the time in ops.dispatch().
 */
#define QUEUE_SCAN 8

/* The waiting task that a CPU is to take. */
struct queue_head {
	u64 dsq;
	u64 deadline;
	u64 vruntime;
	u64 order;	/* its deadline, and a slice for each reason to run elsewhere */
	u64 least;	/* the earliest deadline examined, preferred CPUs taken into account
			   and stickiness not */
	s32 pid;
	bool found;
	bool overtakes;	/* it is not the first of its queue that may run on the CPU */
};

/* By how much the deadline of @p counts as later on @cpu, as its VM prefers other CPUs. */
static __always_inline u64 deadline_penalty(const struct task_struct *p,
					    const struct vmland_task_ctx *taskc, s32 cpu)
{
	return prefers_elsewhere(p, taskc, cpu) ? slice_vtime(taskc) : 0;
}

/*
 * Puts @p, which waits in @dsq, into @best if it is to be taken before that. Returns
 * whether a task behind @p in @dsq may have to be taken before @p.
 */
static __always_inline bool queue_compare(struct task_struct *p, u64 dsq, s32 cpu,
					  bool overtakes, struct queue_head *best)
{
	struct vmland_task_ctx *taskc = taskc_of(p);
	u64 near, here, order;

	if (!taskc)
		return true;
	near = p->scx.dsq_vtime + queue_penalty(taskc, dsq, cpu);
	here = near + deadline_penalty(p, taskc, cpu);
	order = sticky_elsewhere(p, taskc, cpu) ? here + slice_vtime(taskc) : here;
	if (!best->found || time_before(here, best->least))
		best->least = here;
	if (best->found && !time_before(order, best->order))
		return order != near;
	best->dsq = dsq;
	best->deadline = p->scx.dsq_vtime;
	best->vruntime = taskc->vruntime;
	best->order = order;
	best->pid = p->pid;
	best->found = true;
	best->overtakes = overtakes;
	return order != near;
}

/*
 * Puts the task of @dsq that @cpu is to take into @best, if it comes before that. Not
 * static, so that the verifier checks it once and without the values that @best can have:
 * three inlined calls made it check three times as many instructions.
 */
__noinline int queue_peek(u64 dsq, s32 cpu, struct queue_head *best __arg_nonnull)
{
	struct task_struct *p;
	u32 scanned = 0;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	/* Most often the head is the one, and to peek at it takes no lock. */
	p = bpf_ksym_exists(scx_bpf_dsq_peek) ? scx_bpf_dsq_peek(dsq) : NULL;
	if (p && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	    !queue_compare(p, dsq, cpu, false, best))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (!queue_compare(p, dsq, cpu, scanned, best) || ++scanned == QUEUE_SCAN)
			break;
	}
	return 0;
}

static __always_inline void queue_taken(u64 dsq, struct vmland_cpu_ctx *cpuc)
{
	cpuc->from_queue = true;
	count(dsq < MAX_CPUS ? VMLAND_DISPATCH_PINNED :
	      dsq == shared_queue_of(bpf_get_smp_processor_id()) ? VMLAND_DISPATCH_SHARED :
								   VMLAND_DISPATCH_BEYOND);
}

/* Takes the first task of @dsq that may run on this CPU. The CPU's vtime will follow it. */
static __always_inline bool queue_take(u64 dsq, struct vmland_cpu_ctx *cpuc)
{
	if (!scx_bpf_dsq_move_to_local(dsq, 0))
		return false;
	queue_taken(dsq, cpuc);
	return true;
}

/* As queue_take(), but takes @best, which overtakes others. */
static bool queue_take_best(const struct queue_head *best, struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	struct task_struct *p = bpf_task_from_pid(best->pid);
	struct bpf_iter_scx_dsq it;
	bool moved = false;

	if (!p)
		return false;
	if (!bpf_iter_scx_dsq_new(&it, best->dsq, 0) &&
	    may_move_to(p, cpu))
		moved = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL, 0);
	bpf_iter_scx_dsq_destroy(&it);
	bpf_task_release(p);
	if (moved)
		queue_taken(best->dsq, cpuc);
	return moved;
}

#endif /* VMLAND_QUEUE_QUEUE_BPF_H */
