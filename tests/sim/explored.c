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

/*
 * User space decides anew about the VM of @p: a plan and parameters that the bits of @choice
 * stand for; 0: as it was at first. And a home, by the time.
 */
void sim_decide(struct task_struct *p, u64 choice)
{
	const u32 flags = VMLAND_VM_IGNORE_YIELD | VMLAND_VM_LATENCY_LOW |
			  VMLAND_VM_LATENCY_BATCH | VMLAND_VM_COSCHED_OFF | VMLAND_VM_COSCHED_STRICT;
	u32 slot = taskc_of(p)->vm_slot, vm_id = taskc_of(p)->vm_id;
	struct vmland_vm_params *params = bpf_map_lookup_elem(&vmland_vm_params, &slot);
	struct vmland_plan *plan = bpf_map_lookup_elem(&vmland_plans, &slot);
	struct vmland_home *home = bpf_map_lookup_elem(&vmland_homes, &slot);

	if (!plan)
		return;
	home->vm_id = vm_id;
	home->first = sim_host->now_ns / 1000 % nr_domains;
	home->nr = sim_host->now_ns / 1000000 % (nr_domains - home->first + 1);
	plan->gang = choice & 1;
	plan->vm_id = vm_id;
	params->vm_id = 0;
	params->weight = choice & 2 ? 300 : 100;
	params->slice_ns = choice & 4 ? 500 * 1000 : 0;
	params->cap_ns = choice & 8 ? 2 * 1000 * 1000 : 0;
	params->skew_ns = choice & 16 ? 200 * 1000 : 0;
	params->ipi_window_ns = vmland_ipi_window_ns;
	params->boost_percent = 100;
	params->flags = choice >> 8 & flags;
	params->vm_id = vm_id;
}

/* How many slots of VMs are not free. */
static u32 slots_taken(void)
{
	static u32 slots[VMLAND_MAX_VMS];
	u32 i, free = 0;

	while (free < VMLAND_MAX_VMS && !bpf_map_pop_elem(&vmland_free_vms, &slots[free]))
		free++;
	for (i = 0; i < free; i++)
		bpf_map_push_elem(&vmland_free_vms, &slots[i], BPF_ANY);
	return VMLAND_MAX_VMS - free;
}

/* What is left of sums when no task is; NULL: nothing. */
const char *sim_left(void)
{
	static char text[200];
	u32 taken;

	for (u32 slot = 0; slot < SIM_SLOTS; slot++) {
		struct vmland_cgroup_ctx *cgc = cgc_of(slot);
		struct vmland_vm_ctx *vmc = vmc_of(slot);

		if (!cgc->active && !cgc->counted && !cgc->nr_vcpus && !cgc->nr_vms &&
		    !vmc->nr_runnable && !vmc->nr_running && !(vmc->vm_id && vmc->nr_vcpus) &&
		    !vmc->counted_in)
			continue;
		snprintf(text, sizeof(text),
			 "left in slot %u: cgroup: active %ld counted %lu vCPUs %ld VMs %ld; "
			 "VM: runnable %ld running %d vCPUs %ld counted in %u",
			 slot, cgc->active, cgc->counted, (s64)cgc->nr_vcpus, (s64)cgc->nr_vms,
			 (s64)vmc->nr_runnable, vmc->nr_running, (s64)vmc->nr_vcpus,
			 vmc->counted_in);
		return text;
	}
	taken = slots_taken();
	if (taken) {
		snprintf(text, sizeof(text), "%u slots of VMs are taken", taken);
		return text;
	}
	return NULL;
}
