/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues: dispatch queues (DSQs) that tasks wait in.
 *
 *   SHARED_DSQ     tasks that may move between CPUs            the framework's
 *   cpu (0..)      tasks that are bound to one CPU             the framework's
 *   THROTTLED_DSQ  tasks whose quota or cap is used up (cgroup/throttle.bpf.h): several, so that
 *   and on         many of one cgroup do not delay those of another
 *
 * The first two are sorted by deadline (vtime/vtime.bpf.h), the last by the time at
 * which the task may run again.
 */
#ifndef VMLAND_CONTEXT_QUEUES_BPF_H
#define VMLAND_CONTEXT_QUEUES_BPF_H

#include "../framework.bpf.h"
#include "task.bpf.h"

/* The next free ids behind the framework's DSQs. */
#define THROTTLED_DSQ (MAX_CPUS + 2)
#define THROTTLED_DSQS 16

/* Do tasks wait in @dsq for a CPU? */
static __always_inline bool is_queue(u64 dsq)
{
	return dsq == SHARED_DSQ || dsq < MAX_CPUS;
}

/* The queue that @p waits in, when it is not throttled. */
static __always_inline u64 queue_of(const struct task_struct *p, s32 cpu)
{
	return is_pinned(p) ? (u64)cpu : SHARED_DSQ;
}

/* The queue that the task of @taskc waits in while it is throttled. */
static __always_inline u64 throttled_queue_of(const struct vmland_task_ctx *taskc)
{
	return THROTTLED_DSQ + taskc->cgroup_slot % THROTTLED_DSQS;
}

/*
 * May @p be moved to the local DSQ of @cpu? If not, the move would eject the scheduler. To be
 * asked when the iterator of the move exists: a task whose affinity changes later is
 * requeued, and the iterator refuses a task that was inserted after its creation.
 */
static __always_inline bool may_move_to(const struct task_struct *p, s32 cpu)
{
	return scx_bpf_task_cpu(p) == cpu ||
	       (!is_pinned(p) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr));
}

#endif /* VMLAND_CONTEXT_QUEUES_BPF_H */
