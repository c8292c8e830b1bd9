/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sending events (struct vmland_event) to user space.
 *
 *   ring                 events           receiver
 *   queued               evidence         the planner, in the scheduling thread
 *   vmland_vcpu_events   vCPU seen, gone  the thread that gives VMs their parameters
 *                                         (src/settings.rs)
 *
 * A record in vmland_vcpu_events wakes its reader by way of an interrupt, on an idle host as on a
 * full one. The scheduling thread has no part in it. The reader then looks at the map of VMs,
 * and does not need the content of a record: when the ring is full, there are records that it
 * has not read, so it will look after the event that found no room.
 *
 * The records are a struct queued_task_ctx, the framework's. Its fields carry those of the
 * event under other names:
 *
 *   event        record             event         record
 *   kind         flags              pause_exits   exec_runtime
 *   pid          pid                receivers     weight
 *   vm_slot      cpu                cpu_ns        vtime
 *   vm_id        nr_cpus_allowed    at_ns         stop_ts
 *
 * event_submit() and src/event.rs are the only places that know this mapping.
 */
#ifndef VMLAND_PLANNER_EVENT_BPF_H
#define VMLAND_PLANNER_EVENT_BPF_H

#include "../framework.bpf.h"
#include "../intf.h"

/* A page, as a ring is at least. It holds forty records. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} vmland_vcpu_events SEC(".maps");

static __always_inline void event_submit(struct queued_task_ctx *record,
					 const struct vmland_event *event)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->flags = event->kind;
	record->pid = event->pid;
	record->cpu = event->vm_slot;
	record->nr_cpus_allowed = event->vm_id;
	record->exec_runtime = event->pause_exits;
	record->weight = event->receivers;
	record->vtime = event->cpu_ns;
	record->stop_ts = event->at_ns;
	bpf_ringbuf_submit(record, 0);
}

#endif /* VMLAND_PLANNER_EVENT_BPF_H */
