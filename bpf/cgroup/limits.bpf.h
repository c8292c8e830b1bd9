/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits: whether a task has CPU time left, by the quotas of its cgroups on all levels
 * and by the cap of its VM.
 *
 * Runtime. A task takes CPU time from its limits before it uses it: a little when it begins to
 * wait for a CPU, and more while it runs. It returns what is left when it leaves its CPU. So
 * tasks on several CPUs do not overdraw a limit that they share, and none of them takes the
 * quota of a whole period. A timer ends the turn of a task that has used its runtime up and
 * gets no more (queue/run_timer.bpf.h). A task that gets no runtime when it begins to wait is
 * throttled (throttle.bpf.h). The kernel's fair class calls this runtime and slice, too.
 *
 * Tasks are checked only on hosts where a limit has been set.
 *
 *   constant            value    why
 *   RUNTIME_WAITING_NS  1 ms     What a waiting task holds: less is lost to others while it
 *                                waits.
 *   RUNTIME_RUNNING_NS  5 ms     What a running task takes at a time, as with the kernel's
 *                                sched_cfs_bandwidth_slice_us.
 *   RUNTIME_RESCUED_NS  100 us   What a task runs for that is not throttled though its limits
 *                                are used up.
 *
 * Never throttled are kernel threads, tasks that exit or are killed, and tasks that waited for
 * RESCUE_THROTTLED_NS: if many tasks share a small quota, the kernel's watchdog would eject the
 * scheduler. They overdraw their limits, and all others of these limits wait until that is
 * made up for. A quota of less than RUNTIME_RESCUED_NS for each of its tasks in
 * RESCUE_THROTTLED_NS is overdrawn in the long run: one of 0.02 CPUs for 4 000 tasks, and
 * more where timers are late.
 */
#ifndef VMLAND_CGROUP_LIMITS_BPF_H
#define VMLAND_CGROUP_LIMITS_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"
#include "bandwidth.bpf.h"
#include "cgroup.bpf.h"

/* include/linux/sched.h */
#ifndef PF_EXITING
#define PF_EXITING 0x00000004
#endif

/* uapi/asm-generic/signal.h */
#ifndef SIGKILL
#define SIGKILL 9
#endif

#define RUNTIME_WAITING_NS (1000 * 1000ULL)
#define RUNTIME_RUNNING_NS (5 * 1000 * 1000ULL)
#define RUNTIME_RESCUED_NS (100 * 1000ULL)

static __always_inline bool is_limited(const struct vmland_task_ctx *taskc)
{
	return any_limit && (taskc->cgroup_slot || taskc->has_cap);
}

static __always_inline u32 cap_slot(const struct vmland_task_ctx *taskc)
{
	return taskc->has_cap ? taskc->vm_slot : VMLAND_NO_VM;
}

static __always_inline bool vm_is_runnable(u32 vm_slot)
{
	const struct vmland_vm_ctx *vmc = vmc_of(vm_slot);

	return vmc && vmc->nr_runnable;
}

/*
 * The time at which all limits have CPU time again: those of the cgroup @slot, those of
 * the levels above, and the cap of the VM @vm_slot. 0: they have some now.
 */
__noinline u64 limits_throttled_until(u32 slot, u32 vm_slot, u64 now)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	u64 until = cap ? bandwidth_throttled_until(cap, now, vm_is_runnable(vm_slot)) : 0, end;
	struct vmland_cgroup_ctx *cgc;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc)
			break;
		end = bandwidth_throttled_until(&cgc->bandwidth, now, cgc->active);
		if (end > until)
			until = end;
		slot = cgc->parent;
	}
	return until;
}

/*
 * What is left of the tightest of the same limits at @now, in ns; BANDWIDTH_NO_LIMIT: none of
 * them is set.
 */
__noinline s64 limits_left(u32 slot, u32 vm_slot, u64 now)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	s64 left = cap ? bandwidth_left(cap, now, vm_is_runnable(vm_slot)) : BANDWIDTH_NO_LIMIT, of_group;
	struct vmland_cgroup_ctx *cgc;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc)
			break;
		of_group = bandwidth_left(&cgc->bandwidth, now, cgc->active);
		if (of_group < left)
			left = of_group;
		slot = cgc->parent;
	}
	return left;
}

/* Takes @ns from the same limits; below 0: returns it. */
__noinline int limits_consume(u32 slot, u32 vm_slot, s64 ns)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	struct vmland_cgroup_ctx *cgc;
	int i;

	if (cap)
		bandwidth_consume(cap, ns);
	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc)
			break;
		bandwidth_consume(&cgc->bandwidth, ns);
		slot = cgc->parent;
	}
	return 0;
}

/* Has @p been killed? The kernel marks each thread of a killed process so. */
static __always_inline bool is_killed(const struct task_struct *p)
{
	return p->pending.signal.sig[0] & (1ULL << (SIGKILL - 1));
}

/* Is @p throttled when it gets no runtime? */
static __always_inline bool can_be_throttled(const struct task_struct *p,
					     const struct vmland_task_ctx *taskc)
{
	return is_limited(taskc) && !(p->flags & (PF_KTHREAD | PF_EXITING)) && !is_killed(p);
}

/*
 * Takes runtime from the limits of @taskc, so that it has @ns if there is as much. Returns
 * what it has, in ns; BANDWIDTH_NO_LIMIT: it needs none.
 */
static __always_inline u64 runtime_take(struct vmland_task_ctx *taskc, u64 ns, u64 now)
{
	u64 has = taskc->runtime_ns;
	s64 left;

	if (has >= ns)
		return has;
	left = limits_left(taskc->cgroup_slot, cap_slot(taskc), now);
	if (left <= 0)
		return has;
	if (left == BANDWIDTH_NO_LIMIT)
		return left;
	ns -= has;
	if (left < (s64)ns)
		ns = left;
	limits_consume(taskc->cgroup_slot, cap_slot(taskc), ns);
	__sync_fetch_and_add(&taskc->runtime_ns, ns);
	return has + ns;
}

/* To be called before the limits of @taskc change, and when it leaves its CPU. */
static __always_inline void runtime_return(struct vmland_task_ctx *taskc)
{
	u64 ns = taskc->runtime_ns ? __sync_lock_test_and_set(&taskc->runtime_ns, 0) : 0;

	if (ns)
		limits_consume(taskc->cgroup_slot, cap_slot(taskc), -(s64)ns);
}

/* The task of @taskc has used @ns. */
static __always_inline void runtime_use(struct vmland_task_ctx *taskc, u64 ns)
{
	u64 has = taskc->runtime_ns;

	if (has > ns)
		has = ns;
	__sync_fetch_and_sub(&taskc->runtime_ns, has);
	if (ns > has)
		limits_consume(taskc->cgroup_slot, cap_slot(taskc), ns - has);
}

/*
 * Takes the runtime that @p needs to wait for a CPU. Returns 0, or if there is none the time
 * at which there will be, scx_bpf_now().
 */
static __always_inline u64 throttled_until(const struct task_struct *p,
					   struct vmland_task_ctx *taskc, u64 now)
{
	if (!can_be_throttled(p, taskc) || has_waited(taskc, RESCUE_THROTTLED_NS, now) ||
	    runtime_take(taskc, RUNTIME_WAITING_NS, now))
		return 0;
	return limits_throttled_until(taskc->cgroup_slot, cap_slot(taskc), now);
}

#endif /* VMLAND_CGROUP_LIMITS_BPF_H */
