/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Put aside: tasks whose cgroup or VM has used up its CPU time.
 *
 * Limits hold on all levels: those of a task's cgroups, and the cap of its VM. Tasks are
 * looked at for that where the host has any. Turns are no longer than what is left of
 * the tightest. Once one is used up, those it is for are put aside as they leave their
 * CPU or come to the head of a line, into a line of their own, sorted by when the period
 * ends. They come back to the lines then (waiting.bpf.h), where they may have to be put
 * aside again, in the order in which they deserve the CPU.
 *
 * Never put aside: kernel threads; tasks that exit; who has waited for RESCUE_NS, lest
 * the kernel's watchdog throws us out because many share a small quota.
 *
 * Who is put aside is not among those that want to run, so that its part of what its
 * cgroup's parent has is its siblings'.
 */
#ifndef VMLAND_ASIDE_BPF_H
#define VMLAND_ASIDE_BPF_H

#ifndef PF_EXITING
#define PF_EXITING 0x00000004
#endif

/* No turn is set to end earlier, in ns. */
#define TURN_MIN_NS (500 * 1000ULL)

/* Longest that a task waits, in ns; the kernel's limit is 5 s. */
#define RESCUE_NS (2 * 1000 * 1000 * 1000ULL)

static __always_inline bool is_limited(const struct vmland_task *t)
{
	return limits && (t->group || t->capped);
}

static __always_inline u32 cap_slot(const struct vmland_task *t)
{
	return t->capped ? t->vm_slot : VMLAND_NO_VM;
}

/* When all limits from cgroup @slot upwards, and the cap of VM @vm_slot, let go on; 0: now. */
__noinline u64 limits_wait(u32 slot, u32 vm_slot, u64 now)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	u64 until = cap ? bandwidth_wait(cap, now) : 0, end;
	struct vmland_group *g;
	int i;

	bpf_for(i, 0, GROUP_DEPTH) {
		g = slot ? group_state(slot) : NULL;
		if (!g)
			break;
		end = bandwidth_wait(&g->bandwidth, now);
		if (end > until)
			until = end;
		slot = g->parent;
	}
	return until;
}

/* @ns have been used. Returns what is left of the tightest limit, in ns. */
__noinline u64 limits_use(u32 slot, u32 vm_slot, u64 ns)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);
	s64 left = (~0ULL) >> 1;
	struct vmland_group *g;
	int i;

	if (cap && cap->quota_ns) {
		bandwidth_use(cap, ns);
		left = cap->left_ns;
	}
	bpf_for(i, 0, GROUP_DEPTH) {
		g = slot ? group_state(slot) : NULL;
		if (!g)
			break;
		bandwidth_use(&g->bandwidth, ns);
		if (g->bandwidth.quota_ns && g->bandwidth.left_ns < left)
			left = g->bandwidth.left_ns;
		slot = g->parent;
	}
	return left > 0 ? left : 0;
}

/* Until when @p has to wait for CPU time of its cgroup or VM, scx_bpf_now(); 0: not. */
static __always_inline u64 held_back(const struct task_struct *p, const struct vmland_task *t,
				     u64 now)
{
	if (!is_limited(t) || (p->flags & (PF_KTHREAD | PF_EXITING)))
		return 0;
	if (t->wait_start && time_after(now, t->wait_start + RESCUE_NS))
		return 0;
	return limits_wait(t->group, cap_slot(t), now);
}

/* @slice, or what the limits of @t leave of it, in ns. */
static __always_inline u64 turn_within_limits(const struct vmland_task *t, u64 slice)
{
	u64 left;

	if (!is_limited(t))
		return slice;
	left = limits_use(t->group, cap_slot(t), 0);
	if (left < TURN_MIN_NS)
		left = TURN_MIN_NS;
	return left < slice ? left : slice;
}

static __always_inline void put_aside(struct vmland_task *t, s32 cpu, u64 now)
{
	const struct vmland_cpu *there = cpu_state(cpu);

	vcpu_rests(t);
	group_leave(t);
	t->aside_lag = there ? t->vruntime - there->clock : 0;
	t->aside_since = now;
	count(VMLAND_THROTTLED);
}

/*
 * @t is back in line, on @cpu. It is as far ahead of the others as it was, so that those
 * who share a limit go on in the order in which they were.
 */
static __always_inline void taken_back(struct vmland_task *t, s32 cpu, u64 now)
{
	const struct vmland_cpu *there = cpu_state(cpu);
	struct vmland_vm *vm;
	u64 since;

	since = t->aside_since ? __sync_lock_test_and_set(&t->aside_since, 0) : 0;
	if (!since)
		return;
	if (there)
		t->vruntime = there->clock + t->aside_lag;
	vm = is_vcpu(t) ? vm_state(t->vm_slot) : NULL;
	if (vm && time_after(now, since))
		__sync_fetch_and_add(&vm->throttled_ns, now - since);
}

/* So that who is next in @dsq for @cpu has CPU time to use. */
__noinline int put_heads_aside(u64 dsq, s32 cpu)
{
	u64 now = scx_bpf_now(), until;
	struct vmland_task *t;
	struct task_struct *p;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		t = task_state(p);
		if (!t)
			break;
		until = held_back(p, t, now);
		if (!until) {
			if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
				break;
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, until);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, ASIDE_DSQ, 0))
			put_aside(t, scx_bpf_task_cpu(p), now);
	}
	return 0;
}

#endif /* VMLAND_ASIDE_BPF_H */
