/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cgroup weights: the share of the host that the cgroup tree gives to a task.
 *
 * Problem. cpu.weight divides the CPU time of a cgroup among those of its children that
 * are runnable. The queues (queue/queue.bpf.h) hold tasks and know no tree.
 *
 * Mechanism. Each task competes with a weight that contains its whole path:
 *
 *	weight = own * product over its cgroups of (W / S)
 *
 * where W is the weight of a cgroup, and S is the sum over its active children: its
 * runnable tasks by their own weights, and its active child cgroups by W. A cgroup is
 * active while it contains a runnable task. The root has no S. So the weights of the
 * root's tasks keep their meaning, and a cgroup below the root competes like a task of
 * the root of the same weight.
 *
 * Cost. A task that becomes runnable or quiescent costs one atomic addition to the S of
 * its cgroup. The level above is touched only if the cgroup itself becomes active or
 * inactive by it. The product is cached per cgroup and computed again, in O(depth),
 * when it is needed and older than FACTOR_AGE_NS. A task of the root costs one
 * comparison; without the cpu controller all tasks belong to the root.
 *
 * A task refers to its cgroup by the slot of an array. Slot 0 is the root.
 */
#ifndef VMLAND_CGROUP_CGROUP_BPF_H
#define VMLAND_CGROUP_CGROUP_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../intf.h"
#include "bandwidth.bpf.h"

/*
 * Levels that are followed up from a cgroup. The verifier needs a bound; this one is beyond
 * what the 4096 characters of a path leave room for.
 */
#define CGROUP_DEPTH 2048

/* Age at which the product of a cgroup is computed again, in ns: 1 ms, a tenth of a slice. */
#define FACTOR_AGE_NS (1000 * 1000ULL)

/* The product 1, in fixed point. */
#define FACTOR_ONE (1ULL << 24)

/* Weight of a cgroup with cpu.idle: 3, where an ordinary one has 1024, as in the kernel. */
#define IDLE_WEIGHT (3 * VMLAND_NICE_0 / 1024)

/* No task competes with less: a thousandth of an ordinary one, so that deadlines stay near. */
#define WEIGHT_MIN (VMLAND_NICE_0 / 1024)

/* A larger weight counts as this one before it is multiplied, which must not overflow. */
#define WEIGHT_MAX (1ULL << 26)

/* Attempts to agree with CPUs that change a count at the same time; the last one wins. */
#define RECOUNT_ATTEMPTS 4

struct vmland_cgroup_ctx {
	u32 parent;		/* slot */
	u32 cpu_weight;		/* as in the file cpu.weight */
	u32 override_weight;	/* set by user space in place of cpu.weight; 0: none */
	bool idle;		/* cpu.idle */
	u32 gone;		/* it has been removed; its slot is free when it is inactive */
	u64 weight;		/* W, which follows from these three */
	u64 factor;		/* the product, times FACTOR_ONE */
	u64 group_weight;	/* what it competes with as a whole: its W times the factors of
				   the levels above */
	u64 factor_until;	/* the product is valid until then, scx_bpf_now() */
	struct vmland_bandwidth bandwidth;	/* cpu.max */

	/* These change whenever a task becomes runnable or quiescent. */
	s64 active __attribute__((aligned(64)));	/* S */
	u64 counted;		/* the part of the parent's S that is for this cgroup */
	u64 nr_vcpus;		/* its runnable vCPUs */
	u64 nr_vms;		/* the VMs of these */
	struct vmland_account account;
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

static __always_inline struct vmland_cgroup_ctx *cgc_of(u32 slot)
{
	return bpf_map_lookup_elem(&vmland_cgroups, &slot);
}

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, VMLAND_MAX_CGROUPS);
	__type(value, u32);
} vmland_free_cgroups SEC(".maps");

/* All slots but the root's are free, before there is a cgroup. */
static __always_inline s32 cgroup_slots_init(void)
{
	s32 err = 0;
	u32 slot;

	bpf_for(slot, 1, VMLAND_MAX_CGROUPS)
		err = err ?: bpf_map_push_elem(&vmland_free_cgroups, &slot, BPF_ANY);
	return err;
}

/* The slot of the cgroup @id; 0: it is the root, or it has none. */
static __always_inline u32 cgroup_slot_of_id(u64 id)
{
	u32 *slot = bpf_map_lookup_elem(&vmland_cgroup_slots, &id);

	return slot ? *slot : 0;
}

/* The slot of @cgrp, or of its nearest ancestor that has one. Not for the hot path. */
static __always_inline u32 cgroup_slot(struct cgroup *cgrp)
{
	u32 slot = cgroup_slot_of_id(cgrp->kn->id);
	struct cgroup *exact, *ancestor;
	int level;

	if (slot || cgrp->level < 1)
		return slot;
	/* For the verifier, which does not trust a cgroup that comes from a structure. */
	exact = bpf_cgroup_from_id(cgrp->kn->id);
	if (!exact)
		return 0;
	bpf_for(level, 1, CGROUP_DEPTH) {
		ancestor = level < exact->level ?
			   bpf_cgroup_ancestor(exact, exact->level - level) : NULL;
		if (!ancestor)
			break;
		slot = cgroup_slot_of_id(ancestor->kn->id);
		bpf_cgroup_release(ancestor);
		if (slot)
			break;
	}
	bpf_cgroup_release(exact);
	return slot;
}

/* Computes W after cpu_weight, override_weight or idle has changed. */
static __always_inline void cgroup_compute_weight(struct vmland_cgroup_ctx *cgc)
{
	if (cgc->override_weight)
		cgc->weight = (u64)cgc->override_weight * VMLAND_NICE_0 / 100;
	else
		cgc->weight = cgc->idle ? IDLE_WEIGHT : (u64)cgc->cpu_weight * VMLAND_NICE_0 / 100;
}

/*
 * Makes the parent's S contain W of @cgc if that is active, and nothing if it is not.
 * Returns the change of the parent's S. CPUs may do this at the same time: each returns
 * the difference to the value that it has replaced, so the sum of all changes is right.
 */
static __always_inline s64 cgroup_recount(struct vmland_cgroup_ctx *cgc)
{
	s64 change = 0;
	u64 weight;
	int i;

	bpf_for(i, 0, RECOUNT_ATTEMPTS) {
		weight = cgc->active ? cgc->weight : 0;
		if (cgc->counted == weight)
			break;
		change += weight - __sync_lock_test_and_set(&cgc->counted, weight);
	}
	return change;
}

/*
 * Frees the slot of a cgroup that has been removed. Before Linux 6.19 a task that ends leaves
 * its cgroup's list of tasks first, and may count as active when the cgroup is gone. The one who
 * sees both frees the slot.
 */
static __always_inline void cgroup_free_slot(u32 slot, struct vmland_cgroup_ctx *cgc)
{
	if (cgc->gone && !cgc->active && __sync_lock_test_and_set(&cgc->gone, 0))
		bpf_map_push_elem(&vmland_free_cgroups, &slot, BPF_ANY);
}

/* Adds @change to S of the cgroup @slot, and what follows from it to the levels above. */
__noinline int cgroup_add_active(u32 slot, s64 change)
{
	struct vmland_cgroup_ctx *cgc;
	u32 parent;
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
		parent = cgc->parent;
		cgroup_free_slot(slot, cgc);
		slot = parent;
	}
	return 0;
}

/* @p is runnable. To be called again when its weight may have changed meanwhile. */
static __always_inline void cgroup_runnable(const struct task_struct *p,
					    struct vmland_task_ctx *taskc)
{
	u64 weight, counted;

	if (!taskc->cgroup_slot)
		return;
	weight = own_weight(p);
	counted = (u64)taskc->cgroup_slot << 32 | weight;
	if (taskc->cgroup_counted == counted)
		return;
	counted = __sync_lock_test_and_set(&taskc->cgroup_counted, counted);
	cgroup_add_active(taskc->cgroup_slot, weight - (u32)counted);
}

static __always_inline void cgroup_quiescent(struct vmland_task_ctx *taskc)
{
	u64 counted;

	if (!taskc->cgroup_counted)
		return;
	counted = __sync_lock_test_and_set(&taskc->cgroup_counted, 0);
	cgroup_add_active(counted >> 32, -(s64)(u32)counted);
}

/*
 * What competes in @cgc: S, which contains the weight @child of the level below, or of a task, if
 * that is 0. Not less, also while CPUs change the counts: no share is more than the whole.
 */
static __always_inline u64 competing_weight(const struct vmland_cgroup_ctx *cgc, u64 child)
{
	s64 active = cgc->active;

	if (active > 0 && active >= (s64)child)
		return active;
	return child ?: VMLAND_NICE_0;
}

/* Computes the product of the cgroup @slot. */
__noinline int cgroup_refresh_factor(u32 slot, u64 now)
{
	u64 factor = FACTOR_ONE, above = FACTOR_ONE, child = 0, all;
	struct vmland_cgroup_ctx *cgc;
	u32 at = slot;
	int i;

	bpf_for(i, 0, CGROUP_DEPTH) {
		cgc = at ? cgc_of(at) : NULL;
		if (!cgc)
			break;
		all = competing_weight(cgc, child);
		factor = factor * cgc->weight / all;
		if (i)
			above = above * cgc->weight / all;
		child = cgc->weight;
		at = cgc->parent;
	}
	cgc = cgc_of(slot);
	if (!cgc)
		return 0;
	cgc->factor = factor;
	cgc->group_weight = cgc->weight * above / FACTOR_ONE;
	cgc->factor_until = now + FACTOR_AGE_NS;
	return 0;
}

/* The cgroup of @taskc with a valid product; NULL: the root. */
static __always_inline const struct vmland_cgroup_ctx *
cgroup_with_factor(const struct vmland_task_ctx *taskc)
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

#endif /* VMLAND_CGROUP_CGROUP_BPF_H */
