/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policy in user space: how it is asked, and how its decisions are applied.
 *
 * Mechanism. A vCPU that has used up its slice is parked, and an event goes to user space. The
 * policy decides the deadline and the next slice. The decision comes back through the
 * framework's ring, and moves the vCPU to its queue. A parked vCPU is not withheld: it waits
 * in PARKED_DSQ, with a deadline that is one slice later. A CPU that finds no earlier
 * deadline takes it without a decision. So no task stalls and no CPU idles while user space
 * is slow, stopped or gone.
 */
#ifndef VMLAND_POLICY_POLICY_BPF_H
#define VMLAND_POLICY_POLICY_BPF_H

#include "../framework.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"
#include "../placement/hotplug.bpf.h"
#include "../vtime/vtime.bpf.h"
#include "event.bpf.h"

/* Events without a decision. While there is none, the ring of decisions is not drained. */
static u64 policy_open;

/*
 * Asks the policy about @p, which has used up its slice on a CPU of vtime @vtime. Returns
 * whether the event could be sent.
 */
static bool policy_ask(struct task_struct *p, const struct vmland_task_ctx *taskc, u64 vtime)
{
	struct task_ctx *tctx = try_lookup_task_ctx(p);
	struct queued_task_ctx *record;
	struct vmland_event event = {
		.kind = VMLAND_EVENT_SLICE_EXPIRED,
		.pid = p->pid,
		.vm_id = taskc->vm_id,
		.vruntime = taskc->vruntime,
		.vtime = vtime,
		.slice_ns = taskc->slice_ns,
		.weight = taskc->weight,
	};

	if (!tctx)
		return false;
	record = bpf_ringbuf_reserve(&queued, sizeof(*record), 0);
	if (!record) {
		count(VMLAND_POLICY_RING_FULL);
		sched_congested(p);
		return false;
	}
	event.generation = ++tctx->enq_cnt;
	/* Before the event is visible, as the decision may come at once. */
	__sync_fetch_and_add(&policy_open, 1);
	event_submit(record, &event);
	__sync_fetch_and_add(&nr_queued, 1);
	count(VMLAND_POLICY_ASKED);
	return true;
}

/* Applies a decision: @d->vtime is the deadline, @d->slice_ns the slice. */
static void policy_place(const struct dispatched_task_ctx *d)
{
	struct task_struct *p = bpf_task_from_pid(d->pid);
	struct vmland_task_ctx *taskc;
	struct task_ctx *tctx;
	struct bpf_iter_scx_dsq it;
	bool placed = false;
	u64 queue = SHARED_DSQ;
	s32 cpu = 0;

	if (!p)
		return;
	taskc = taskc_of(p);
	tctx = try_lookup_task_ctx(p);
	if (taskc && tctx && tctx->enq_cnt == d->enq_cnt) {
		if (!bpf_iter_scx_dsq_new(&it, PARKED_DSQ, 0)) {
			scx_bpf_dsq_move_set_slice(&it, d->slice_ns);
			scx_bpf_dsq_move_set_vtime(&it, d->vtime);
			cpu = scx_bpf_task_cpu(p);
			queue = queue_of(p, cpu);
			placed = scx_bpf_dsq_move_vtime(&it, p, queue, 0);
		}
		bpf_iter_scx_dsq_destroy(&it);
	}
	if (placed) {
		tasks_leave_offline(queue, cpu);
		taskc->vruntime = d->vtime - ns_to_vtime(d->slice_ns, taskc->weight ?: 1);
		count(VMLAND_POLICY_PLACED);
		__sync_fetch_and_add(&nr_user_dispatches, 1);
	} else {
		count(VMLAND_POLICY_LATE);
		__sync_fetch_and_add(&nr_cancel_dispatches, 1);
	}
	bpf_task_release(p);
}

static long policy_next(struct bpf_dynptr *dynptr, void *context)
{
	const struct dispatched_task_ctx *d = bpf_dynptr_data(dynptr, 0, sizeof(*d));

	__sync_fetch_and_sub(&policy_open, 1);
	if (d)
		policy_place(d);
	return 0;
}

/* Applies the decisions that have come. */
static __always_inline void policy_drain(void)
{
	if (policy_open)
		bpf_user_ringbuf_drain(&dispatched, policy_next, NULL, BPF_RB_NO_WAKEUP);
}

#endif /* VMLAND_POLICY_POLICY_BPF_H */
