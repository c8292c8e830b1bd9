/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lag: how far a task may be from what it competes with, and a VM from the CPUs.
 *
 * Problem. If each vCPU had its lag bounded by itself, a VM whose vCPUs sleep in turns would be
 * entitled several times: whichever vCPU wakes is as far behind as one that has waited.
 *
 * Mechanism. A VM has a vruntime of its own: what its vCPUs have run, by the VM's weight.
 * The lag of the VM is bounded by the vtime of the CPU, and that of a vCPU by the vruntime of
 * its VM. So what a vCPU is forgiven, its VM still owes.
 */
#ifndef VMLAND_VTIME_LAG_BPF_H
#define VMLAND_VTIME_LAG_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "vtime.bpf.h"

/* @vruntime, in the bounds around @vtime. */
static __always_inline u64 lag_bounded(u64 vruntime, u64 vtime, u64 credit, u64 debt)
{
	if (time_before(vruntime, vtime - credit))
		return vtime - credit;
	if (time_after(vruntime, vtime + debt))
		return vtime + debt;
	return vruntime;
}

/* What has lost credit, as it has had less than its share, is owed up to this vruntime. */
static __always_inline u64 owed_until(u64 vruntime, u64 slice)
{
	return vruntime + slice / 2;
}

/* What the lag of the task of @taskc is measured from, on a CPU of vtime @vtime. */
static __always_inline u64 lag_base(const struct vmland_task_ctx *taskc, u64 vtime,
				    u64 credit_slices)
{
	u64 slice = slice_vtime(taskc), was, bounded;
	struct vmland_vm_ctx *vmc;

	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	if (!vmc)
		return vtime;
	was = vmc->vruntime;
	bounded = lag_bounded(was, vtime, credit_slices * slice, DEBT_SLICES * slice);
	if (bounded == was)
		return was;
	__sync_val_compare_and_swap(&vmc->vruntime, was, bounded);
	if (time_after(bounded, was))
		vmc->owed_until = owed_until(bounded, slice);
	return bounded;
}

/* Bounds the lag of the task of @taskc, which waits for a CPU of vtime @vtime. */
static __always_inline void bound_lag(struct vmland_task_ctx *taskc, u64 vtime,
				      u64 credit_slices)
{
	u64 slice = slice_vtime(taskc), credit = credit_slices * slice;
	u64 base = lag_base(taskc, vtime, credit_slices);

	if (taskc->gang) {
		taskc->vruntime = base;
		return;
	}
	if (!is_vcpu(taskc) && time_before(taskc->vruntime, base - credit))
		taskc->owed_until = owed_until(base - credit, slice);
	taskc->vruntime = lag_bounded(taskc->vruntime, base, credit, DEBT_SLICES * slice);
}

/* Has the task of @taskc, or its VM, had less than its share? */
static __always_inline bool is_owed(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_ctx *vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;

	return vmc ? time_before(vmc->vruntime, vmc->owed_until) :
	       time_before(taskc->vruntime, taskc->owed_until);
}

/* The vruntime of the task of @taskc, or of its VM, whichever has had more of its share. */
static __always_inline u64 vruntime_with_vm(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_ctx *vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;

	return vmc && time_after(vmc->vruntime, taskc->vruntime) ? vmc->vruntime :
	       taskc->vruntime;
}

/* Nobody waits for what the task of @taskc has had too much: it is forgiven. */
static __always_inline void owe_nothing(struct vmland_task_ctx *taskc, u64 vtime)
{
	struct vmland_vm_ctx *vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;

	if (time_after(taskc->vruntime, vtime))
		taskc->vruntime = vtime;
	if (vmc && time_after(vmc->vruntime, vtime))
		vmc->vruntime = vtime;
}

#endif /* VMLAND_VTIME_LAG_BPF_H */
