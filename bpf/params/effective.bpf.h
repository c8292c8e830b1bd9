/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The effective settings of a task: its weight, its slice, and what its VM may do.
 *
 * Problem. VMs compete by weight, whatever number of vCPUs they have. The queues compare
 * tasks.
 *
 * Mechanism. VMs that share a cgroup (all VMs do whose cgroup has no cpu controller)
 * share its CPU time by their weights. The weight of a VM is divided among its runnable
 * vCPUs:
 *
 *	weight of a vCPU = own * VM's weight / 100 * mean / nr_runnable
 *
 * where nr_runnable is the number of runnable vCPUs of the VM, and mean is the average of
 * that number over the VMs of the cgroup that have one. So all VMs of the cgroup
 * together weigh as much as their vCPUs would as ordinary tasks: other tasks of the
 * cgroup neither gain nor lose when vCPUs are distributed differently over VMs. A VM with a
 * cgroup of its own has the weight of that cgroup, or the configured weight in place of
 * it. The weights of cgroups among each other are a factor on top (cgroup/cgroup.bpf.h).
 *
 * A task that is no vCPU has its own weight and the slice of the command line.
 *
 * The settings are cached in the task context. They are refreshed when the task starts to
 * wait or to run; in a cgroup also when it is charged, as the siblings that were runnable
 * when it began to run may have been so for a moment only.
 */
#ifndef VMLAND_PARAMS_EFFECTIVE_BPF_H
#define VMLAND_PARAMS_EFFECTIVE_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/bandwidth.bpf.h"
#include "../cgroup/cgroup.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../domain/home.bpf.h"
#include "../intf.h"
#include "params.bpf.h"

/* The weight of the VM whose vCPU @taskc has the own weight @own. */
static __always_inline u64 vm_weight(u64 own, const struct vmland_task_ctx *taskc,
				     const struct vmland_vm_params *params, u32 nr_runnable)
{
	const struct vmland_cgroup_ctx *cgc = cgc_of(taskc->cgroup_slot);
	u64 weight = own * (params ? params->weight : 100) / 100;

	if (!cgc || cgc->nr_vms < 2)
		return weight * nr_runnable;
	return weight * (cgc->nr_vcpus ?: 1) / cgc->nr_vms;
}

/* Refreshes whether the VM of @taskc, which has @params, has a cap. */
static __always_inline void cap_refresh(struct vmland_task_ctx *taskc,
					const struct vmland_vm_params *params)
{
	taskc->has_cap = params && params->cap_ns;
	if (taskc->has_cap)
		cap_set(taskc->vm_slot, params->cap_ns);
}

/*
 * Refreshes the settings of a task whose own weight is @weight. Not static, so that the
 * verifier checks it once, and not at each call.
 */
__noinline int effective_update(u64 weight, struct vmland_task_ctx *taskc __arg_nonnull)
{
	const struct vmland_vm_params *params = params_of(taskc);
	const struct vmland_cgroup_ctx *cgc = cgroup_with_factor(taskc);
	struct vmland_vm_ctx *vmc;
	u32 nr_runnable = 1;

	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	if (vmc) {
		nr_runnable = vmc->nr_runnable ?: 1;
		weight = vm_weight(weight, taskc, params, nr_runnable);
	}
	if (cgc)
		weight = (weight < WEIGHT_MAX ? weight : WEIGHT_MAX) * cgc->factor / FACTOR_ONE;
	taskc->vm_weight = weight > WEIGHT_MIN * nr_runnable ? weight : WEIGHT_MIN * nr_runnable;
	taskc->weight = taskc->vm_weight / nr_runnable;
	taskc->group_weight = cgc && cgc->group_weight > WEIGHT_MIN ? cgc->group_weight :
								      WEIGHT_MIN;
	if (vmc && vmc->weight != taskc->vm_weight)
		vmc->weight = taskc->vm_weight;
	cap_refresh(taskc, params);
	home_refresh(taskc);
	taskc->ipi_window_ns = !mechanism_on(VMLAND_RECEIVERS) ? 0 :
			       params ? params->ipi_window_ns : vmland_ipi_window_ns;
	taskc->has_preferred = params && (params->flags & VMLAND_VM_PREFERS_CPUS);
	if (taskc->has_preferred)
		any_preferred = true;
	taskc->slice_ns = params && params->slice_ns ? params->slice_ns : slice_ns;
	taskc->boost_percent = params ? params->boost_percent : 100;
	taskc->skew_ns = params ? params->skew_ns : 0;
	if (taskc->skew_ns)
		any_skew = true;
	taskc->gang = is_gang(taskc, params);
	if (taskc->gang) {
		any_gang = true;
		last_gang_at = scx_bpf_now();
	}
	return 0;
}

static __always_inline void effective_refresh(const struct task_struct *p,
					      struct vmland_task_ctx *taskc)
{
	effective_update(own_weight(p), taskc);
}

#endif /* VMLAND_PARAMS_EFFECTIVE_BPF_H */
