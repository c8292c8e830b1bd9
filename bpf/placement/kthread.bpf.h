/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel threads: ksoftirqd, RCU's, workers.
 *
 * Problem. Others wait for what they do. Where thousands of tasks compete for the CPUs, they
 * would wait for seconds like any other task: a thread that has used a millisecond more than
 * its share is behind all others for a whole round.
 *
 * Mechanism. A kernel thread that wakes runs next, before all tasks that are in the queues in
 * turn, as long as it is not ahead of its share by more than a slice. It pays for CPU time
 * like any other task. One that is further ahead waits in turn, and is rescued earlier than
 * others (watchdog/watchdog.bpf.h).
 */
#ifndef VMLAND_PLACEMENT_KTHREAD_BPF_H
#define VMLAND_PLACEMENT_KTHREAD_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../vtime/vtime.bpf.h"

/* @p has woken and belongs to the CPU of @cpuc: does it run next? */
static __always_inline bool runs_next(const struct task_struct *p,
				      const struct vmland_task_ctx *taskc,
				      const struct vmland_cpu_ctx *cpuc)
{
	return (p->flags & PF_KTHREAD) &&
	       !time_after(taskc->vruntime, cpuc->vtime + slice_vtime(taskc));
}

/*
 * Inserts @p, which runs next. One that is bound to the CPU goes to its local DSQ, so that
 * it does not even wait for others that are.
 */
static __always_inline void insert_next(struct task_struct *p,
					const struct vmland_task_ctx *taskc,
					const struct vmland_cpu_ctx *cpuc, u64 enq_flags)
{
	if (is_pinned(p)) {
		count(VMLAND_DISPATCH_PINNED);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, taskc->slice_ns, enq_flags);
	} else {
		scx_bpf_dsq_insert_vtime(p, SHARED_DSQ, taskc->slice_ns,
					 cpuc->vtime - slice_vtime(taskc), enq_flags);
	}
}

#endif /* VMLAND_PLACEMENT_KTHREAD_BPF_H */
