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
 * full one. The scheduling thread has no part in it. The reader then looks at the VM in that
 * slot. An event that finds no room is lost; a reader that finds the ring more than half full
 * looks at all VMs.
 *
 * The records are a struct queued_task_ctx, the framework's. Its fields carry those of the
 * event under other names:
 *
 *   event        record             event         record
 *   kind         flags              pause_exits   exec_runtime
 *   pid          pid                receivers     weight
 *   vm_slot      nr_cpus_allowed    cpu_ns        vtime
 *   vm_id        enq_cnt            at_ns         stop_ts
 *
 * event_submit(), src/event.rs and src/vcpu_events.rs are the only places that know this mapping.
 */
#ifndef VMLAND_PLANNER_EVENT_BPF_H
#define VMLAND_PLANNER_EVENT_BPF_H

#include "../framework.bpf.h"
#include "../intf.h"

/* It holds 682 records. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} vmland_vcpu_events SEC(".maps");

static __always_inline void event_submit(struct queued_task_ctx *record,
					 const struct vmland_event *event)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->flags = event->kind;
	record->pid = event->pid;
	record->nr_cpus_allowed = event->vm_slot;
	record->enq_cnt = event->vm_id;
	record->exec_runtime = event->pause_exits;
	record->weight = event->receivers;
	record->vtime = event->cpu_ns;
	record->stop_ts = event->at_ns;
	bpf_ringbuf_submit(record, 0);
}

#endif /* VMLAND_PLANNER_EVENT_BPF_H */
