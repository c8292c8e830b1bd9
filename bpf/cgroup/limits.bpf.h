/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits: whether a task has CPU time left, by the quotas of its cgroups on all levels
 * and by the cap of its VM.
 *
 * A slice is no longer than what is left of the tightest limit. Tasks are checked only
 * on hosts where a limit has been set.
 *
 * Never throttled are kernel threads, tasks that exit, and tasks that have waited for
 * RESCUE_NS: if many tasks share a small quota, the kernel's watchdog would eject the
 * scheduler.
 */
#ifndef VMLAND_CGROUP_LIMITS_BPF_H
#define VMLAND_CGROUP_LIMITS_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "bandwidth.bpf.h"
#include "cgroup.bpf.h"

/* include/linux/sched.h */
#ifndef PF_EXITING
#define PF_EXITING 0x00000004
#endif

/*
 * Shortest slice that a limit leaves, in ns: 0.5 ms. The kernel ends slices at ticks of
 * 1 ms or more, so shorter ones would cost context switches and limit nothing.
 */
#define LIMITED_SLICE_MIN_NS (500 * 1000ULL)

static __always_inline bool is_limited(const struct vmland_task_ctx *taskc)
{
	return any_limit && (taskc->cgroup_slot || taskc->has_cap);
}

static __always_inline u32 cap_slot(const struct vmland_task_ctx *taskc)
{
	return taskc->has_cap ? taskc->vm_slot : VMLAND_NO_VM;
}

/*
 * The time at which all limits have CPU time again: those of the cgroup @slot, those of
 * the levels above, and the cap of the VM @vm_slot. 0: they have some now.
 */
__noinline u64 limits_throttled_until(u32 slot, u32 vm_slot, u64 now)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	u64 until = cap ? bandwidth_throttled_until(cap, now) : 0, end;
	struct vmland_cgroup_ctx *cgc;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc)
			break;
		end = bandwidth_throttled_until(&cgc->bandwidth, now);
		if (end > until)
			until = end;
		slot = cgc->parent;
	}
	return until;
}

/* Takes @ns from the same limits. Returns what is left of the tightest one, in ns. */
__noinline u64 limits_consume(u32 slot, u32 vm_slot, u64 ns)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	s64 left = (~0ULL) >> 1;
	struct vmland_cgroup_ctx *cgc;
	int i;

	if (cap && cap->quota_ns) {
		bandwidth_consume(cap, ns);
		left = cap->left_ns;
	}
	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc)
			break;
		bandwidth_consume(&cgc->bandwidth, ns);
		if (cgc->bandwidth.quota_ns && cgc->bandwidth.left_ns < left)
			left = cgc->bandwidth.left_ns;
		slot = cgc->parent;
	}
	return left > 0 ? left : 0;
}

/* The time at which @p may run again, scx_bpf_now(); 0: now. */
static __always_inline u64 throttled_until(const struct task_struct *p,
					   const struct vmland_task_ctx *taskc, u64 now)
{
	if (!is_limited(taskc) || (p->flags & (PF_KTHREAD | PF_EXITING)))
		return 0;
	if (waited_too_long(taskc, now))
		return 0;
	return limits_throttled_until(taskc->cgroup_slot, cap_slot(taskc), now);
}

/* @slice, or what the limits of @taskc leave of it, in ns. */
static __always_inline u64 slice_within_limits(const struct vmland_task_ctx *taskc, u64 slice)
{
	u64 left;

	if (!is_limited(taskc))
		return slice;
	left = limits_consume(taskc->cgroup_slot, cap_slot(taskc), 0);
	if (left < LIMITED_SLICE_MIN_NS)
		left = LIMITED_SLICE_MIN_NS;
	return left < slice ? left : slice;
}

#endif /* VMLAND_CGROUP_LIMITS_BPF_H */
