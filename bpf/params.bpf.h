/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On what terms a task competes: its weight, and the bounds of its turns.
 *
 * A task that is no vCPU has its own weight and the scheduler's slices. What a VM
 * may have is said by user space, a VM a slot (struct vmland_vm_params); nothing said
 * means what the scheduler's command line does.
 *
 * Where VMs share a cgroup, and all do that has none of its own, a VM's weight is
 * shared by those of its vCPUs that want to run, so that VMs compete with each other
 * by weight, not by how many vCPUs they have:
 *
 *	weight of a vCPU = its own * VM's weight / 100 * mean / wanting
 *
 * where `wanting` is how many vCPUs of its VM want to run (wait or run), and
 * `mean` is that number's mean over the VMs of the cgroup that have any. So the VMs
 * together weigh as much as their vCPUs would as ordinary tasks: the rest of the cgroup
 * neither gains nor loses by how vCPUs are spread over VMs. A VM with a cgroup of its
 * own has the weight of that, or the configured one in its place. What the cgroup has
 * among others comes on top (cgroup.bpf.h).
 *
 * What is found is kept in the task's state, and looked at anew whenever the task
 * starts to wait or to run, and where cgroups part the host also when it pays: who
 * was active when its turn began may have been so for a moment only.
 */
#ifndef VMLAND_PARAMS_BPF_H
#define VMLAND_PARAMS_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_vm_params);
} vmland_vm_params SEC(".maps");

/*
 * Least lead with which a waking task preempts a running one, and least time
 * that the running one's turn has lasted by then, in ns. Set by user space after
 * load; the slice is the framework's slice_ns.
 */
volatile u64 vmland_slice_min_ns = 2000000;

/*
 * How long the receiver of an IPI stays ahead (ipi.bpf.h), in ns, unless a VM's terms
 * say otherwise; 0: never. Set likewise.
 */
volatile u64 vmland_ipi_window_ns = 50000000;

/* Mechanisms that are left out, of enum vmland_mechanism. Set likewise. */
volatile u32 vmland_without SEC(".data");

static __always_inline bool mechanism_on(u32 mechanism)
{
	return !(vmland_without & mechanism);
}

/* What user space has said of @taskc's VM, if @taskc is a vCPU and it has. */
static __always_inline const struct vmland_vm_params *params_of(const struct vmland_task_ctx *taskc)
{
	u32 slot = taskc->vm_slot;
	struct vmland_vm_params *params;

	if (!is_vcpu(taskc))
		return NULL;
	params = bpf_map_lookup_elem(&vmland_vm_params, &slot);
	return params && params->vm_id == taskc->vm_id ? params : NULL;
}

static __always_inline bool vm_has_flag(const struct vmland_task_ctx *taskc, u32 flag)
{
	const struct vmland_vm_params *params = params_of(taskc);

	return params && (params->flags & flag);
}

/* The shortest turn that a waking task leaves @taskc. */
static __always_inline u64 slice_min_of(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_params *params = params_of(taskc);
	u64 least = params && params->slice_min_ns ? params->slice_min_ns : vmland_slice_min_ns;

	return least < taskc->slice_ns ? least : taskc->slice_ns;
}

static __always_inline u64 vcpu_weight(u64 own, const struct vmland_task_ctx *taskc,
				       const struct vmland_vm_params *params)
{
	const struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);
	const struct vmland_cgroup_ctx *cgc = cgc_of(taskc->cgroup_slot);
	u64 weight = own * (params ? params->weight : 100) / 100;

	if (!vmc || !cgc || cgc->nr_vms < 2)
		return weight;
	return weight * (cgc->nr_vcpus ?: 1) / (cgc->nr_vms * (vmc->nr_runnable ?: 1));
}

/*
 * Brings what @taskc, of a task that weighs @weight by itself, holds of its terms up to date.
 * Not static, so that the verifier looks at it once.
 */
__noinline int effective_update(u64 weight, struct vmland_task_ctx *taskc __arg_nonnull)
{
	const struct vmland_vm_params *params = params_of(taskc);
	const struct vmland_cgroup_ctx *cgc = cgroup_ctx_of(taskc);

	if (is_vcpu(taskc))
		weight = vcpu_weight(weight, taskc, params);
	if (cgc)
		weight = (weight < WEIGHT_MAX ? weight : WEIGHT_MAX) * cgc->factor / FACTOR_ONE;
	taskc->weight = weight > WEIGHT_MIN ? weight : WEIGHT_MIN;
	taskc->has_cap = params && params->cap_ns;
	if (taskc->has_cap)
		cap_set(taskc->vm_slot, params->cap_ns);
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
	taskc->cosched = params && (params->flags & VMLAND_VM_COSCHED_STRICT);
	if (taskc->cosched)
		any_cosched = true;
	return 0;
}

static __always_inline void effective_refresh(const struct task_struct *p, struct vmland_task_ctx *taskc)
{
	effective_update(own_weight(p), taskc);
}

#endif /* VMLAND_PARAMS_BPF_H */
