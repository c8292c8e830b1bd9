/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ops.cgroup_*: the kernel reports cgroups, their weights and their quotas
 * (cgroup.bpf.h, bandwidth.bpf.h). User space can override a weight.
 *
 * On a kernel without one of these ops, user space takes it out of the table before it
 * loads the scheduler.
 */
#ifndef VMLAND_CGROUP_CGROUP_OPS_BPF_H
#define VMLAND_CGROUP_CGROUP_OPS_BPF_H

#include "../framework.bpf.h"
#include "../classify/vcpu.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"
#include "../watchdog/watchdog.bpf.h"
#include "bandwidth.bpf.h"
#include "cgroup.bpf.h"
#include "limits.bpf.h"

/* The context of @cgrp; NULL: it is the root, or it has no slot. */
static __always_inline struct vmland_cgroup_ctx *cgroup_known(struct cgroup *cgrp)
{
	u32 slot = cgroup_slot_of_id(cgrp->kn->id);

	return slot ? cgc_of(slot) : NULL;
}

static __always_inline u32 parent_slot(struct cgroup *cgrp)
{
	struct cgroup *parent = bpf_cgroup_ancestor(cgrp, cgrp->level - 1);
	u32 slot;

	if (!parent)
		return 0;
	slot = cgroup_slot(parent);
	bpf_cgroup_release(parent);
	return slot;
}

/* Sets cpu.max. The kernel's quota of "no limit" is the largest number. */
static __always_inline void cgroup_set_max(struct vmland_cgroup_ctx *cgc, u64 period_us,
					   u64 quota_us, u64 burst_us)
{
	bool none = quota_us > ~0ULL / 1000;

	bandwidth_set(&cgc->bandwidth, none ? 0 : quota_us * 1000, period_us * 1000,
		      none ? 0 : burst_us * 1000);
	cgc->factor_until = 0;
}

/* The weight of @cgc has changed: its parent and the waiting tasks follow. */
static __always_inline void cgroup_reweigh(struct vmland_cgroup_ctx *cgc)
{
	cgroup_compute_weight(cgc);
	cgroup_add_active(cgc->parent, cgroup_recount(cgc));
	cgc->factor_until = 0;
	requeue_soon();
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vmland_cgroup_init, struct cgroup *cgrp,
			     struct scx_cgroup_init_args *args)
{
	u64 id = cgrp->kn->id;
	struct vmland_cgroup_ctx *cgc;
	u32 slot;

	if (cgrp->level < 1)
		return 0;
	if (bpf_map_pop_elem(&vmland_free_cgroups, &slot)) {
		count(VMLAND_CGROUPS_FULL);
		return 0;
	}
	cgc = cgc_of(slot);
	if (!cgc)
		return 0;
	cgc->parent = parent_slot(cgrp);
	cgc->override_weight = 0;
	cgc->cpu_weight = args->weight;
	cgc->idle = bpf_core_field_exists(args->sched_idle) && args->sched_idle;
	cgroup_compute_weight(cgc);
	cgc->active = 0;
	cgc->counted = cgc->nr_vcpus = cgc->nr_vms = 0;
	if (bpf_core_field_exists(args->bw_quota_us))
		cgroup_set_max(cgc, args->bw_period_us, args->bw_quota_us, args->bw_burst_us);
	else
		cgroup_set_max(cgc, 0, ~0ULL, 0);
	bpf_map_update_elem(&vmland_cgroup_slots, &id, &slot, BPF_ANY);
	return 0;
}

void BPF_STRUCT_OPS(vmland_cgroup_exit, struct cgroup *cgrp)
{
	struct vmland_cgroup_ctx *cgc = cgroup_known(cgrp);
	u32 slot = cgroup_slot_of_id(cgrp->kn->id);
	u64 id = cgrp->kn->id;

	if (!cgc)
		return;
	bpf_map_delete_elem(&vmland_cgroup_slots, &id);
	cgc->active = 0;
	cgroup_add_active(cgc->parent, cgroup_recount(cgc));
	bpf_map_push_elem(&vmland_free_cgroups, &slot, BPF_ANY);
}

/* The kernel has dequeued @p, and will enqueue it again if it was queued. */
void BPF_STRUCT_OPS(vmland_cgroup_move, struct task_struct *p, struct cgroup *from,
		    struct cgroup *to)
{
	struct vmland_task_ctx *taskc = taskc_of(p);
	struct vmland_vm_ctx *vmc;

	if (!taskc)
		return;
	runtime_return(taskc);
	cgroup_quiescent(taskc);
	vcpu_quiescent(taskc);
	taskc->cgroup_slot = cgroup_slot(to);
	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	if (vmc)
		vm_recount(vmc, taskc->cgroup_slot);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	struct vmland_cgroup_ctx *cgc = cgroup_known(cgrp);

	if (!cgc)
		return;
	cgc->cpu_weight = weight;
	cgroup_reweigh(cgc);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_idle, struct cgroup *cgrp, bool idle)
{
	struct vmland_cgroup_ctx *cgc = cgroup_known(cgrp);

	if (!cgc)
		return;
	cgc->idle = idle;
	cgroup_reweigh(cgc);
}

void BPF_STRUCT_OPS(vmland_cgroup_set_bandwidth, struct cgroup *cgrp, u64 period_us,
		    u64 quota_us, u64 burst_us)
{
	struct vmland_cgroup_ctx *cgc = cgroup_known(cgrp);

	if (!cgc)
		return;
	cgroup_set_max(cgc, period_us, quota_us, burst_us);
	requeue_soon();
}

/*
 * User space runs this after it has changed the parameters of a VM. Sets the configured
 * weight of the VM's own cgroup, if it has one, and has waiting tasks requeued. Returns
 * whether that cgroup exists and has the cpu controller.
 */
SEC("syscall")
int vmland_override(struct vmland_override *request)
{
	u64 id = request->cgroup;
	u32 *slot = bpf_map_lookup_elem(&vmland_cgroup_slots, &id);
	struct vmland_cgroup_ctx *cgc = slot ? cgc_of(*slot) : NULL;

	if (!cgc) {
		requeue_soon();
		return 0;
	}
	cgc->override_weight = request->weight;
	cgroup_reweigh(cgc);
	return 1;
}

#endif /* VMLAND_CGROUP_CGROUP_OPS_BPF_H */
