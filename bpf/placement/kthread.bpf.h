/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel threads: ksoftirqd, RCU's, workers.
 *
 * Problem. Others wait for what they do. Where thousands of tasks compete for the CPUs, they
 * would wait for seconds like any other task: a thread that has used a millisecond more than
 * its share is behind all others for a whole round.
 *
 * Mechanism. A kernel thread that wakes runs next, before all tasks that are in the queues in
 * turn, as long as it has not exceeded its share by more than a slice. It is charged for CPU
 * time like any other task. One that has had more waits in turn, and is rescued earlier than
 * others (watchdog/watchdog.bpf.h).
 */
#ifndef VMLAND_PLACEMENT_KTHREAD_BPF_H
#define VMLAND_PLACEMENT_KTHREAD_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../vtime/vtime.bpf.h"

/* @p has woken and competes at @vtime: does it run next? */
static __always_inline bool runs_next(const struct task_struct *p,
				      const struct vmland_task_ctx *taskc, u64 vtime)
{
	return (p->flags & PF_KTHREAD) &&
	       !time_after(taskc->vruntime, vtime + slice_vtime(taskc));
}

/*
 * The place in its queue of the task of @taskc, which runs next: not in a local DSQ, as the
 * kernel would not call ops.dispatch() then, and a hand-off that is noted would be lost.
 */
static __always_inline u64 next_place(const struct vmland_task_ctx *taskc, u64 vtime)
{
	return vtime - slice_vtime(taskc);
}

#endif /* VMLAND_PLACEMENT_KTHREAD_BPF_H */
