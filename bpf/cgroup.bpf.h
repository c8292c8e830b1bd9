/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cgroups: what share of the host a task's place in the tree leaves it.
 *
 * cpu.weight is about siblings: it parts what their parent has among those of them
 * that want CPU time. The lines (vtime.bpf.h) know tasks only, so each task competes
 * with a weight that has the whole path in it:
 *
 *	weight = own * product over its cgroups of (W / S)
 *
 * where W is a cgroup's weight, and S the sum over what is active in it: tasks that
 * wait or run, by their own weights, and cgroups that have such, by W. There is no
 * S for the root, so that its tasks keep their meaning, and so does the weight of a
 * cgroup right below it: that of as many tasks of the root.
 *
 * Cost. A task that begins or ceases to be active is one atomic addition to its
 * cgroup's S; only if that makes the cgroup itself active, or ends that, is the
 * level above touched. The product is kept with the cgroup and found anew when it is
 * needed and older than FACTOR_AGE_NS: O(depth), at most once in that time. Tasks of
 * the root, which are all where nobody has asked for the cpu controller, cost one
 * comparison.
 *
 * A cgroup is a slot of an array, which tasks hold by number; the root is slot 0.
 */
#ifndef VMLAND_CGROUP_BPF_H
#define VMLAND_CGROUP_BPF_H

/* Levels that are looked at; deeper ones count as being there. */
#define CGROUP_DEPTH 32

/* Age at which a cgroup's product is found anew, in ns. */
#define FACTOR_AGE_NS (1000 * 1000ULL)

/* The product 1, in fixed point. */
#define FACTOR_ONE (1ULL << 24)

/* Of a task or a cgroup with the policy SCHED_IDLE: 3 where an ordinary one is 1024. */
#define IDLE_WEIGHT (3 * VMLAND_NICE_0 / 1024)

/* No task competes with less: a thousandth of an ordinary one. */
#define WEIGHT_MIN (VMLAND_NICE_0 / 1024)

/* More than this counts as this where a product is taken, which must not overflow. */
#define WEIGHT_MAX (1ULL << 26)

struct vmland_cgroup_ctx {
	u64 id;			/* cgroup id; 0: the slot is free */
	u32 parent;		/* slot */
	u32 cpu_weight;		/* as in the file cpu.weight */
	u32 override_weight;		/* user space's word in its place; 0: none */
	bool idle;		/* cpu.idle */
	u64 weight;		/* W, of these three */
	u64 factor;		/* the product, times FACTOR_ONE */
	u64 factor_until;	/* scx_bpf_now() */
	struct vmland_bandwidth bandwidth;	/* cpu.max */

	/* What changes as its tasks come and go. */
	s64 active __attribute__((aligned(64)));	/* S */
	u64 cgroup_counted;		/* of W, what the parent's S has in it */
	u64 nr_vcpus;		/* vCPUs of it that wait or run */
	u64 nr_vms;		/* VMs with such */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_CGROUPS);
	__type(key, u32);
	__type(value, struct vmland_cgroup_ctx);
} vmland_cgroups SEC(".maps");

/* cgroup id -> slot */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, VMLAND_MAX_CGROUPS);
	__type(key, u64);
	__type(value, u32);
} vmland_cgroup_slots SEC(".maps");

static u32 last_cgroup_slot;

static __always_inline struct vmland_cgroup_ctx *cgc_of(u32 slot)
{
	return bpf_map_lookup_elem(&vmland_cgroups, &slot);
}

static __always_inline u32 cgroup_slot(struct cgroup *cgrp)
{
	u64 id = cgrp->kn->id;
	u32 *slot = bpf_map_lookup_elem(&vmland_cgroup_slots, &id);

	return slot ? *slot : 0;
}

/* One of those of which W is made has changed. */
static __always_inline void cgroup_compute_weight(struct vmland_cgroup_ctx *cgc)
{
	if (cgc->override_weight)
		cgc->weight = (u64)cgc->override_weight * VMLAND_NICE_0 / 100;
	else
		cgc->weight = cgc->idle ? IDLE_WEIGHT : (u64)cgc->cpu_weight * VMLAND_NICE_0 / 100;
}

/*
 * Has @cgc count in its parent if it is active, and not if it is not. Returns by how
 * much the parent's sum is to change. Whoever comes last in a race sees the outcome,
 * and every exchange is paid for by the one who made it, so that no sum goes astray.
 */
static __always_inline s64 cgroup_recount(struct vmland_cgroup_ctx *cgc)
{
	s64 change = 0;
	u64 weight;
	int i;

	bpf_for(i, 0, 4) {
		weight = cgc->active ? cgc->weight : 0;
		if (cgc->cgroup_counted == weight)
			break;
		change += weight - __sync_lock_test_and_set(&cgc->cgroup_counted, weight);
	}
	return change;
}

/* @change to what is active in cgroup @slot, and what that means further up. */
__noinline int cgroup_add_active(u32 slot, s64 change)
{
	struct vmland_cgroup_ctx *cgc;
	s64 was;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = slot ? cgc_of(slot) : NULL;
		if (!cgc || !change)
			break;
		was = __sync_fetch_and_add(&cgc->active, change);
		if (was && was + change)
			break;
		change = cgroup_recount(cgc);
		slot = cgc->parent;
	}
	return 0;
}

static __always_inline u64 own_weight(const struct task_struct *p)
{
	return (u64)(p->scx.weight ?: 100) * VMLAND_NICE_0 / 100;
}

/* @p waits or runs; or its weight may have changed while it did. */
static __always_inline void cgroup_runnable(const struct task_struct *p, struct vmland_task_ctx *taskc)
{
	u64 weight, cgroup_counted;

	if (!taskc->cgroup_slot)
		return;
	weight = own_weight(p);
	cgroup_counted = (u64)taskc->cgroup_slot << 32 | weight;
	if (taskc->cgroup_counted == cgroup_counted)
		return;
	cgroup_counted = __sync_lock_test_and_set(&taskc->cgroup_counted, cgroup_counted);
	cgroup_add_active(taskc->cgroup_slot, weight - (u32)cgroup_counted);
}

static __always_inline void cgroup_quiescent(struct vmland_task_ctx *taskc)
{
	u64 cgroup_counted;

	if (!taskc->cgroup_counted)
		return;
	cgroup_counted = __sync_lock_test_and_set(&taskc->cgroup_counted, 0);
	cgroup_add_active(cgroup_counted >> 32, -(s64)(u32)cgroup_counted);
}

/* Finds the product of the cgroup @slot anew. */
__noinline int cgroup_refresh_factor(u32 slot, u64 now)
{
	u64 factor = FACTOR_ONE;
	struct vmland_cgroup_ctx *cgc;
	u32 at = slot;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = at ? cgc_of(at) : NULL;
		if (!cgc)
			break;
		/* Never by 0, and of a sum of weights one is nothing. */
		factor = factor * cgc->weight / (cgc->active | 1);
		at = cgc->parent;
	}
	cgc = cgc_of(slot);
	if (!cgc)
		return 0;
	cgc->factor = factor;
	cgc->factor_until = now + FACTOR_AGE_NS;
	return 0;
}

/* @taskc's cgroup, its product up to date; NULL: the root. */
static __always_inline const struct vmland_cgroup_ctx *cgroup_ctx_of(const struct vmland_task_ctx *taskc)
{
	struct vmland_cgroup_ctx *cgc = taskc->cgroup_slot ? cgc_of(taskc->cgroup_slot) : NULL;
	u64 now;

	if (!cgc)
		return NULL;
	now = scx_bpf_now();
	if (!time_before(now, cgc->factor_until) ||
	    time_before(now + FACTOR_AGE_NS, cgc->factor_until))
		cgroup_refresh_factor(taskc->cgroup_slot, now);
	return cgc;
}

#endif /* VMLAND_CGROUP_BPF_H */
