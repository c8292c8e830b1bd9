/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Core scheduling: which of two tasks decides whose cookie an SMT core runs.
 *
 * Problem. SMT siblings run tasks of one cookie at a time (prctl(PR_SCHED_CORE)). If they choose
 * tasks of two cookies, the kernel asks which task is to run first, and the other sibling may
 * idle. Its own answer is by waiting time, whatever the weights. The vruntime of the queues
 * cannot tell: a task that has been chosen and may not run waits in no queue, so the running task
 * is forgiven what it has had too much (vtime/lag.bpf.h).
 *
 * Mechanism. ops.core_sched_before() compares deadlines by a vruntime of their own, which is
 * forgiven nothing while tasks are compared. The one that is behind gets CORE_CREDIT_SLICES of
 * credit at most.
 *
 * Sense. scx_prio_less(a, b) asks whether a is to run after b. Until f7b6d128dd49 (August 2026) it
 * passed a and b to the op, whose answer is the opposite, and since then b and a. That was
 * backported, so the version does not tell. So a probe keeps a, and the op compares.
 *
 * Limits. Debian's kernels are built without core scheduling: no real one was tried. Only the
 * simulator was (tests/sim/core_sched.rs).
 *
 *   constant            value  why
 *   CORE_CREDIT_SLICES  2      as for a task that waits in a queue
 */
#ifndef VMLAND_QUEUE_CORE_SCHED_BPF_H
#define VMLAND_QUEUE_CORE_SCHED_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../vtime/vtime.bpf.h"

#define CORE_CREDIT_SLICES 2

/* The first task of the kernel's comparison on each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} vmland_prio_less SEC(".maps");

SEC("?fentry/scx_prio_less")
int BPF_PROG(on_prio_less, const struct task_struct *a, const struct task_struct *b, bool in_fi)
{
	u64 *first;
	u32 key = 0;

	first = bpf_map_lookup_elem(&vmland_prio_less, &key);
	if (first)
		*first = (u64)a;
	return 0;
}

/* The deadline of @p among the tasks of its core. */
static __always_inline u64 core_deadline(struct task_struct *p,
					 const struct vmland_task_ctx *taskc, u64 now)
{
	u64 at = taskc->core_vruntime + slice_vtime(taskc);

	return scx_bpf_task_running(p) && time_after(now, taskc->run_start) ?
	       at + ns_to_vtime(now - taskc->run_start, taskc->weight ?: 1) : at;
}

/* Bounds the credit of the task of @taskc, whose deadline is @at, beside another one at @other. */
static __always_inline u64 core_bound(struct vmland_task_ctx *taskc, u64 at, u64 other)
{
	u64 credit = CORE_CREDIT_SLICES * slice_vtime(taskc);

	if (!time_before(at + credit, other))
		return at;
	taskc->core_vruntime += other - credit - at;
	return other - credit;
}

/* Is @a to run before @b? As the kernel takes the answer. */
static __always_inline bool core_runs_before(struct task_struct *a, struct task_struct *b)
{
	struct vmland_task_ctx *ac = taskc_of(a), *bc = taskc_of(b);
	u64 now = scx_bpf_now(), of_a, of_b, *first;
	u32 key = 0;

	if (!ac || !bc)
		return false;
	of_a = core_deadline(a, ac, now);
	of_b = core_deadline(b, bc, now);
	of_a = core_bound(ac, of_a, of_b);
	of_b = core_bound(bc, of_b, of_a);
	first = bpf_map_lookup_elem(&vmland_prio_less, &key);
	return first && *first == (u64)a ? time_before(of_b, of_a) : time_before(of_a, of_b);
}

#endif /* VMLAND_QUEUE_CORE_SCHED_BPF_H */
