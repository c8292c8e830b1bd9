/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parameters of VMs, which user space writes (struct vmland_vm_params), and the
 * tunables of the command line.
 *
 * A VM without parameters has the values of the command line.
 *
 *   tunable               option            meaning
 *   vmland_slice_min_ns   --slice-us-min    least difference of vruntime at which a waking
 *                                           task preempts a running one, and least time
 *                                           that the running one's turn has lasted by then
 *   vmland_ipi_window_ns  --ipi-window-us   how long the receiver of an IPI runs first
 *                                           (ipi/pending.bpf.h); 0: never
 *   vmland_without        --without         mechanisms that are left out
 *   slice_ns              --slice-us        slice; the framework's
 */
#ifndef VMLAND_PARAMS_PARAMS_BPF_H
#define VMLAND_PARAMS_PARAMS_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../intf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_vm_params);
} vmland_vm_params SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_plan);
} vmland_plans SEC(".maps");

/*
 * The tunables. User space sets them after it has loaded the scheduler. Until then they have the
 * options' defaults, which tests/sim/params.rs compares with the table of settings.
 */
volatile u64 vmland_slice_min_ns = 2000000;
volatile u64 vmland_ipi_window_ns = 50000000;
volatile u32 vmland_without SEC(".data");	/* of enum vmland_mechanism */

/*
 * The host has SMT, and its kernel core scheduling (queue/core_sched.bpf.h). User space sets it
 * before it loads the scheduler.
 */
const volatile bool has_core_sched;

/* Some VM has, or had, such a parameter. Without one, no task is checked for it. */
static bool any_preferred;	/* preferred CPUs (placement/prefer.bpf.h) */
static bool any_gang;		/* aligned turns (cosched/gang.bpf.h) */
static bool any_skew;		/* a bound of the skew (cosched/skew.bpf.h) */

static u64 last_gang_at;	/* when a vCPU of a gang was seen last, scx_bpf_now() */

static __always_inline bool mechanism_on(u32 mechanism)
{
	return !(vmland_without & mechanism);
}

/* The parameters of the VM of @taskc; NULL: it is no vCPU, or its VM has none. */
static __always_inline const struct vmland_vm_params *
params_of(const struct vmland_task_ctx *taskc)
{
	u32 slot = taskc->vm_slot;
	struct vmland_vm_params *params;

	if (!is_vcpu(taskc))
		return NULL;
	params = bpf_map_lookup_elem(&vmland_vm_params, &slot);
	return params && params->vm_id == taskc->vm_id ? params : NULL;
}

/* Are the turns of the VM of @taskc aligned? @params are the VM's. */
static __always_inline bool is_gang(const struct vmland_task_ctx *taskc,
				    const struct vmland_vm_params *params)
{
	u32 slot = taskc->vm_slot;
	const struct vmland_plan *plan;

	if (params && (params->flags & (VMLAND_VM_COSCHED_OFF | VMLAND_VM_COSCHED_STRICT)))
		return params->flags & VMLAND_VM_COSCHED_STRICT;
	plan = is_vcpu(taskc) ? bpf_map_lookup_elem(&vmland_plans, &slot) : NULL;
	return plan && plan->vm_id == taskc->vm_id && plan->gang && mechanism_on(VMLAND_GANGS);
}

static __always_inline bool vm_has_flag(const struct vmland_task_ctx *taskc, u32 flag)
{
	const struct vmland_vm_params *params = params_of(taskc);

	return params && (params->flags & flag);
}

/* The shortest turn that a waking task leaves to @taskc, in ns. */
static __always_inline u64 slice_min_of(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_params *params = params_of(taskc);
	u64 least = params && params->slice_min_ns ? params->slice_min_ns : vmland_slice_min_ns;

	return least < taskc->slice_ns ? least : taskc->slice_ns;
}

#endif /* VMLAND_PARAMS_PARAMS_BPF_H */
