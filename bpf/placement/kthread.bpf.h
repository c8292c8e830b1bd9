/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel threads of a CPU: ksoftirqd, migration helpers, workers.
 *
 * Problem. Others wait for what they do. Where thousands of tasks compete for the CPU, they
 * would wait for seconds like any other task.
 *
 * Mechanism. A kernel thread that is bound to its CPU runs there next when it wakes, past the
 * queue, as long as it is not ahead of its share. It pays for CPU time like any other task. One
 * that is ahead waits in the CPU's queue, and is rescued earlier than others
 * (watchdog/watchdog.bpf.h).
 */
#ifndef VMLAND_PLACEMENT_KTHREAD_BPF_H
#define VMLAND_PLACEMENT_KTHREAD_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"

/* @p has woken on the CPU of @cpuc: does it run next? */
static __always_inline bool runs_next(const struct task_struct *p,
				      const struct vmland_task_ctx *taskc,
				      const struct vmland_cpu_ctx *cpuc)
{
	return is_cpu_kthread(p) && !time_after(taskc->vruntime, cpuc->vtime);
}

#endif /* VMLAND_PLACEMENT_KTHREAD_BPF_H */
