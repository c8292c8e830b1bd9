/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Put aside: tasks whose cgroup or VM has used up its CPU time.
 *
 * Limits hold on all levels: those of a task's cgroups, and the cap of its VM. Tasks are
 * looked at for that where the host has any. Turns are no longer than what is left of
 * the tightest. Once one is used up, those it is for are put aside as they leave their
 * CPU or come to the head of a line, into a line of their own, sorted by when the period
 * ends. They come back to the lines then (watchdog.bpf.h), where they may have to be put
 * aside again, in the order in which they deserve the CPU.
 *
 * Never put aside: kernel threads; tasks that exit; who has waited for RESCUE_NS, lest
 * the kernel's watchdog throws us out because many share a small quota.
 *
 * Who is put aside is not among those that want to run, so that its part of what its
 * cgroup's parent has is its siblings'.
 */
#ifndef VMLAND_THROTTLE_BPF_H
#define VMLAND_THROTTLE_BPF_H

#ifndef PF_EXITING
#define PF_EXITING 0x00000004
#endif

/* No turn is set to end earlier, in ns. */
#define LIMITED_SLICE_MIN_NS (500 * 1000ULL)

/* Longest that a task waits, in ns; the kernel's limit is 5 s. */
#define RESCUE_NS (2 * 1000 * 1000 * 1000ULL)

static __always_inline bool is_limited(const struct vmland_task_ctx *taskc)
{
	return any_limit && (taskc->cgroup_slot || taskc->has_cap);
}

static __always_inline u32 cap_slot(const struct vmland_task_ctx *taskc)
{
	return taskc->has_cap ? taskc->vm_slot : VMLAND_NO_VM;
}

/* When all limits from cgroup @slot upwards, and the cap of VM @vm_slot, let go on; 0: now. */
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

/* @ns have been used. Returns what is left of the tightest limit, in ns. */
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

/* Until when @p has to wait for CPU time of its cgroup or VM, scx_bpf_now(); 0: not. */
static __always_inline u64 throttled_until(const struct task_struct *p, const struct vmland_task_ctx *taskc,
				     u64 now)
{
	if (!is_limited(taskc) || (p->flags & (PF_KTHREAD | PF_EXITING)))
		return 0;
	if (taskc->wait_start && time_after(now, taskc->wait_start + RESCUE_NS))
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

static __always_inline void throttle(struct vmland_task_ctx *taskc, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
	taskc->throttled_lag = cpuc ? taskc->vruntime - cpuc->vtime : 0;
	taskc->throttled_since = now;
	count(VMLAND_THROTTLED);
}

/*
 * @taskc is back in line, on @cpu. It is as far ahead of the others as it was, so that those
 * who share a limit go on in the order in which they were.
 */
static __always_inline void unthrottle(struct vmland_task_ctx *taskc, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_vm_ctx *vmc;
	u64 since;

	since = taskc->throttled_since ? __sync_lock_test_and_set(&taskc->throttled_since, 0) : 0;
	if (!since)
		return;
	if (cpuc)
		taskc->vruntime = cpuc->vtime + taskc->throttled_lag;
	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	if (vmc && time_after(now, since))
		__sync_fetch_and_add(&vmc->throttled_ns, now - since);
}

/* So that who is next in @dsq for @cpu has CPU time to use. */
__noinline int throttle_heads(u64 dsq, s32 cpu)
{
	u64 now = scx_bpf_now(), until;
	struct vmland_task_ctx *taskc;
	struct task_struct *p;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		taskc = taskc_of(p);
		if (!taskc)
			break;
		until = throttled_until(p, taskc, now);
		if (!until) {
			if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
				break;
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, until);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, THROTTLED_DSQ, 0))
			throttle(taskc, scx_bpf_task_cpu(p), now);
	}
	return 0;
}

#endif /* VMLAND_THROTTLE_BPF_H */
