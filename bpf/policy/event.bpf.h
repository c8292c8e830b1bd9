/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sending events (struct vmland_event) to the policy in user space.
 *
 * They travel in the framework's ring, whose records are a struct queued_task_ctx. Its fields
 * carry those of the event under other names:
 *
 *   event        record             event        record
 *   kind         flags              vtime        exec_runtime
 *   pid          pid                ran_ns       start_ts
 *   vm_id        nr_cpus_allowed    slice_ns     stop_ts
 *   generation   enq_cnt            weight       weight
 *   vruntime     vtime
 *
 * event_submit() and src/event.rs are the only places that know this mapping.
 */
#ifndef VMLAND_POLICY_EVENT_BPF_H
#define VMLAND_POLICY_EVENT_BPF_H

#include "../framework.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"

/* A record for event_submit(); NULL: the ring is full. */
static __always_inline struct queued_task_ctx *event_reserve(void)
{
	struct queued_task_ctx *record = bpf_ringbuf_reserve(&queued, sizeof(*record), 0);

	if (!record)
		count(VMLAND_POLICY_RING_FULL);
	return record;
}

static __always_inline void event_submit(struct queued_task_ctx *record,
					 const struct vmland_event *event)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->flags = event->kind;
	record->pid = event->pid;
	record->nr_cpus_allowed = event->vm_id;
	record->enq_cnt = event->generation;
	record->vtime = event->vruntime;
	record->exec_runtime = event->vtime;
	record->start_ts = event->ran_ns;
	record->stop_ts = event->slice_ns;
	record->weight = event->weight;
	bpf_ringbuf_submit(record, 0);
}

#endif /* VMLAND_POLICY_EVENT_BPF_H */
