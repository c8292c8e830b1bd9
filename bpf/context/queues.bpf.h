/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues: dispatch queues (DSQs) that tasks wait in.
 *
 *   cpu (0..)      tasks that are bound to one CPU             the framework's
 *   DOMAIN_DSQ     tasks that may move between CPUs: one for each domain
 *   and on         (domain/domain.bpf.h)
 *   THROTTLED_DSQ  tasks whose quota or cap is used up (cgroup/throttle.bpf.h): several, so that
 *   and on         many of one cgroup do not delay those of another
 *
 * The first two are sorted by deadline (vtime/vtime.bpf.h), the last by the time at which the task
 * may run again. The framework's SHARED_DSQ is empty.
 */
#ifndef VMLAND_CONTEXT_QUEUES_BPF_H
#define VMLAND_CONTEXT_QUEUES_BPF_H

#include "../framework.bpf.h"
#include "../domain/domain.bpf.h"
#include "../domain/home.bpf.h"
#include "cpu.bpf.h"
#include "task.bpf.h"

/* The next free ids behind the framework's DSQs. */
#define THROTTLED_DSQ (MAX_CPUS + 2)
#define THROTTLED_DSQS 16
#define DOMAIN_DSQ (THROTTLED_DSQ + THROTTLED_DSQS)

/* The queue of @domain. */
static __always_inline u64 domain_queue(u32 domain)
{
	return DOMAIN_DSQ + domain;
}

/* The queue of the domain of @cpu. */
static __always_inline u64 shared_queue_of(s32 cpu)
{
	return domain_queue(domain_of(cpu));
}

/* Do tasks wait in @dsq for a CPU? */
static __always_inline bool is_queue(u64 dsq)
{
	return dsq < MAX_CPUS || (dsq >= DOMAIN_DSQ && dsq < DOMAIN_DSQ + VMLAND_MAX_DOMAINS);
}

/* The queue that @p waits in, when it is not throttled. */
static __always_inline u64 queue_of(const struct task_struct *p,
				    const struct vmland_task_ctx *taskc, s32 cpu)
{
	return is_pinned(p) ? (u64)cpu : domain_queue(domain_of_task(p, taskc));
}

/* The vtime that tasks compete at in @dsq, a queue, as @cpu, of @cpuc, has it. */
static __always_inline u64 queue_vtime(u64 dsq, const struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	return dsq < MAX_CPUS ? cpuc->vtime : domain_vtime(dsq - DOMAIN_DSQ, cpuc, cpu);
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
