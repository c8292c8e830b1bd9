/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtual time: which task deserves a CPU next.
 *
 * vruntime. Every task, vCPU or not, is charged for CPU time with vruntime, at a rate of
 * 1/weight (charge.bpf.h).
 *
 * Deadline. Waiting tasks are served by deadline: the vruntime that a task will have
 * after one more slice. A yielder that deferred behind its target has a later one, once
 * (transfer.bpf.h).
 *
 * vtime. Each CPU has a vtime: the vruntime that the tasks which compete for it have come
 * to. It follows each task that the CPU takes from a queue. It stands still while one
 * task has the CPU to itself, and so does the vruntime of that task. CPUs that serve
 * the same tasks have nearly the same vtime. Where affinity divides the host, each part
 * has a vtime of its own.
 *
 * Lag. A task that starts to wait for a CPU, or to run on it, gets a vruntime near that
 * CPU's vtime. It is
 *
 *   at most CREDIT_SLICES below it, if it has waited: With deadlines, vtime exceeds the
 *   vruntime of a light task by nearly a slice before it is served, and by more where slices
 *   end late. It keeps what it is owed.
 *
 *   at most one slice below it, if it has slept: It is owed nothing.
 *
 *   at most DEBT_SLICES above it: No debt outlives its reason.
 */
#ifndef VMLAND_VTIME_VTIME_BPF_H
#define VMLAND_VTIME_VTIME_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"

/* In slices of the task. */
#define CREDIT_SLICES 2
#define DEBT_SLICES 3

/* @ns of CPU time as vruntime of a task of @weight. At VMLAND_NICE_0 they are the same. */
static __always_inline u64 ns_to_vtime(u64 ns, u64 weight)
{
	return ns * VMLAND_NICE_0 / weight;
}

static __always_inline u64 slice_vtime(const struct vmland_task_ctx *taskc)
{
	return ns_to_vtime(taskc->slice_ns, taskc->weight ?: 1);
}

static __always_inline u64 deadline(const struct vmland_task_ctx *taskc)
{
	u64 own = taskc->vruntime + slice_vtime(taskc);

	return taskc->min_deadline && time_before(own, taskc->min_deadline) ?
	       taskc->min_deadline : own;
}

static __always_inline void vtime_advance(struct vmland_cpu_ctx *cpuc, u64 to)
{
	if (time_after(to, cpuc->vtime))
		cpuc->vtime = to;
}

#endif /* VMLAND_VTIME_VTIME_BPF_H */
