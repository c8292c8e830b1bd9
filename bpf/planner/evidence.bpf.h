/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Evidence: what a VM has done, for the planner in user space (src/planner.rs).
 *
 * A VM that has had pause exits, or is a gang, is reported every EVIDENCE_NS while it runs.
 * Reports carry totals, so one that is lost is made good by the next. The plan comes back in
 * vmland_plans. No decision waits for it: while user space is slow, stopped or gone, the last
 * plan stays.
 */
#ifndef VMLAND_PLANNER_EVIDENCE_BPF_H
#define VMLAND_PLANNER_EVIDENCE_BPF_H

#include "../framework.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"
#include "event.bpf.h"

/* 20 ms, two slices: a VM that spins is known as such in its second turn. */
#define EVIDENCE_NS (20 * 1000 * 1000ULL)

/* The VM of @taskc, of which a vCPU has run until @now, is reported if that is due. */
__noinline int evidence_report(const struct vmland_task_ctx *taskc __arg_nonnull, u64 now)
{
	struct vmland_event event = { .kind = VMLAND_EVENT_EVIDENCE };
	struct queued_task_ctx *record;
	struct vmland_vm_ctx *vmc;
	u64 due;

	vmc = vmc_of(taskc->vm_slot);
	if (!vmc)
		return 0;
	due = vmc->evidence_due;
	if (time_before(now, due) ||
	    (!taskc->gang && vmc->pause_exits == vmc->reported_exits) ||
	    !__sync_bool_compare_and_swap(&vmc->evidence_due, due, now + EVIDENCE_NS))
		return 0;
	record = bpf_ringbuf_reserve(&queued, sizeof(*record), 0);
	if (!record) {
		count(VMLAND_EVIDENCE_LOST);
		return 0;
	}
	event.vm_slot = taskc->vm_slot;
	event.vm_id = taskc->vm_id;
	event.pause_exits = vmc->reported_exits = vmc->pause_exits;
	event.receivers = vmc->receivers;
	event.cpu_ns = vmc->cpu_ns;
	event.at_ns = now;
	event_submit(record, &event);
	__sync_fetch_and_add(&nr_queued, 1);
	count(VMLAND_EVIDENCE_SENT);
	return 0;
}

#endif /* VMLAND_PLANNER_EVIDENCE_BPF_H */
