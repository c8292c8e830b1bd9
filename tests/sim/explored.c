/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_vmland's BPF part, with points at which another CPU may go on, its probe on the end of
 * a VM, and what the explorer's rules need to know of it.
 */
#define SIM_POINTS
#include "vmland.c"

#define _license _license_of_kvm
#include "classify/kvm.bpf.c"

/* For how long @p has run since it got its CPU, as it is charged. */
u64 sim_ran_ns(struct task_struct *p)
{
	return taskc_of(p)->ran_ns;
}

/* No schedule has more VMs or cgroups, and slots are taken in order. */
#define SIM_SLOTS 256

/* What is left of sums when no task is; NULL: nothing. */
const char *sim_left(void)
{
	static char text[200];

	for (u32 slot = 0; slot < SIM_SLOTS; slot++) {
		struct vmland_cgroup_ctx *cgc = cgc_of(slot);
		struct vmland_vm_ctx *vmc = vmc_of(slot);

		if (!cgc->active && !cgc->counted && !cgc->nr_vcpus && !cgc->nr_vms &&
		    !vmc->nr_runnable && !(vmc->vm_id && vmc->nr_vcpus) && !vmc->counted_in)
			continue;
		snprintf(text, sizeof(text),
			 "left in slot %u: cgroup: active %ld counted %lu vCPUs %ld VMs %ld; "
			 "VM: runnable %ld vCPUs %ld counted in %u",
			 slot, cgc->active, cgc->counted, (s64)cgc->nr_vcpus, (s64)cgc->nr_vms,
			 (s64)vmc->nr_runnable, (s64)vmc->nr_vcpus, vmc->counted_in);
		return text;
	}
	return NULL;
}
