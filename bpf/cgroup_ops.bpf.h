/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel, and user space, tell of cgroups (cgroup.bpf.h). */
#ifndef VMLAND_CGROUP_OPS_BPF_H
#define VMLAND_CGROUP_OPS_BPF_H

/* Takes a free slot for the cgroup @id; 0 if there is none. */
static u32 group_take_slot(u64 id)
{
	struct vmland_group *g;
	u32 slot, i;

	bpf_for(i, 0, VMLAND_MAX_GROUPS) {
		slot = __sync_fetch_and_add(&last_group, 1) % (VMLAND_MAX_GROUPS - 1) + 1;
		g = group_state(slot);
		if (g && !__sync_val_compare_and_swap(&g->id, 0, id))
			return slot;
	}
	return 0;
}

/* What is known of @cgrp; NULL: it is the root, or there was no slot for it. */
static __always_inline struct vmland_group *group_known(struct cgroup *cgrp)
{
	u32 slot = group_slot(cgrp);

	return slot ? group_state(slot) : NULL;
}

static __always_inline u32 parent_slot(struct cgroup *cgrp)
{
	struct cgroup *parent = bpf_cgroup_ancestor(cgrp, cgrp->level - 1);
	u32 slot;

	if (!parent)
		return 0;
	slot = group_slot(parent);
	bpf_cgroup_release(parent);
	return slot;
}

/* What the kernel says of cpu.max; without a limit the quota is the largest number. */
static __always_inline void group_set_max(struct vmland_group *g, u64 period_us,
					  u64 quota_us, u64 burst_us)
{
	bool none = quota_us > ~0ULL / 1000;

	bandwidth_set(&g->bandwidth, none ? 0 : quota_us * 1000, period_us * 1000,
		      none ? 0 : burst_us * 1000);
	g->factor_until = 0;
}

static __always_inline void group_reweigh(struct vmland_group *g)
{
	group_weigh(g);
	group_add(g->parent, group_recount(g));
	g->factor_until = 0;
	sort_lines_soon();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vmland_cgroup_init, struct cgroup *cgrp,
			     struct scx_cgroup_init_args *args)
{
	u64 id = cgrp->kn->id;
	struct vmland_group *g;
	u32 slot;

	if (cgrp->level < 1)
		return 0;
	slot = group_take_slot(id);
	g = slot ? group_state(slot) : NULL;
	if (!g)
		return 0;
	g->parent = parent_slot(cgrp);
	g->instead = 0;
	g->cpu_weight = args->weight;
	g->idle = bpf_core_field_exists(args->sched_idle) && args->sched_idle;
	group_weigh(g);
	g->active = 0;
	g->counted = g->nr_vcpus = g->nr_vms = 0;
	if (bpf_core_field_exists(args->bw_quota_us))
		group_set_max(g, args->bw_period_us, args->bw_quota_us, args->bw_burst_us);
	else
		group_set_max(g, 0, ~0ULL, 0);
	bpf_map_update_elem(&vmland_group_slots, &id, &slot, BPF_ANY);
	return 0;
}

void BPF_STRUCT_OPS(vmland_cgroup_exit, struct cgroup *cgrp)
{
	struct vmland_group *g = group_known(cgrp);
	u64 id = cgrp->kn->id;

	if (!g)
		return;
	bpf_map_delete_elem(&vmland_group_slots, &id);
	g->active = 0;
	group_add(g->parent, group_recount(g));
	g->id = 0;	/* last: from here on the slot is free */
}

/* The kernel has taken @p off its run queue, and will put it back if it was on it. */
void BPF_STRUCT_OPS(vmland_cgroup_move, struct task_struct *p, struct cgroup *from,
		    struct cgroup *to)
{
	struct vmland_task *t = task_state(p);
	struct vmland_vm *vm;

	if (!t)
		return;
	group_leave(t);
	vcpu_rests(t);
	t->group = group_slot(to);
	vm = is_vcpu(t) ? vm_state(t->vm_slot) : NULL;
	if (vm)
		vm_count(vm, t->group);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	struct vmland_group *g = group_known(cgrp);

	if (!g)
		return;
	g->cpu_weight = weight;
	group_reweigh(g);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_idle, struct cgroup *cgrp, bool idle)
{
	struct vmland_group *g = group_known(cgrp);

	if (!g)
		return;
	g->idle = idle;
	group_reweigh(g);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_bandwidth, struct cgroup *cgrp, u64 period_us,
		    u64 quota_us, u64 burst_us)
{
	struct vmland_group *g = group_known(cgrp);

	if (g)
		group_set_max(g, period_us, quota_us, burst_us);
}

/*
 * Run by user space when it has changed the terms of a VM. Gives the VM's cgroup the
 * configured weight. Returns whether that cgroup is there and has the cpu controller.
 */
SEC("syscall")
int vmland_override(struct vmland_override *word)
{
	u64 id = word->cgroup;
	u32 *slot = bpf_map_lookup_elem(&vmland_group_slots, &id);
	struct vmland_group *g = slot ? group_state(*slot) : NULL;

	if (!g) {
		sort_lines_soon();
		return 0;
	}
	g->instead = word->weight;
	group_reweigh(g);
	return 1;
}

#endif /* VMLAND_CGROUP_OPS_BPF_H */
