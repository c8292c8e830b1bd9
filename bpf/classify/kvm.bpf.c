/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What depends on KVM's own types: where its structures keep the fields that
 * classification reads, and when a VM is destroyed.
 *
 * This object is separate from the scheduler. It relocates against KVM's types, so it
 * loads only while KVM is present. User space loads it when KVM appears and drops it
 * when KVM disappears. The probe is a kprobe, which does not hold the module in memory.
 */
#include <scx/common.bpf.h>
#include "../intf.h"
#include "vm.bpf.h"

/* The fields that are needed, under the names that KVM gives them. */
struct kvm_vcpu___vmland {
	void *kvm;
	struct {} preempt_notifier;
	int vcpu_id;
} __attribute__((preserve_access_index));

char _license[] SEC("license") = "GPL";

/* User space runs this once, right after the object is loaded. */
SEC("syscall")
int write_layout(void *ctx)
{
	u32 key = 0;
	struct vmland_kvm_layout layout = {
		.ready = 1,
		.vcpu_notifier = bpf_core_field_offset(struct kvm_vcpu___vmland, preempt_notifier),
		.vcpu_kvm = bpf_core_field_offset(struct kvm_vcpu___vmland, kvm),
		.vcpu_id = bpf_core_field_offset(struct kvm_vcpu___vmland, vcpu_id),
	};

	return bpf_map_update_elem(&vmland_kvm_layout, &key, &layout, BPF_ANY);
}

/*
 * The scheduler sees by the VM's id that the slot is no longer that of the VM it knew.
 * Each thread that was a vCPU of the VM is declassified at its next event.
 */
SEC("kprobe/kvm_arch_destroy_vm")
int BPF_KPROBE(on_destroy, void *kvm)
{
	u64 key = (u64)kvm;
	u32 *slot = bpf_map_lookup_elem(&vmland_vm_slots, &key);
	struct vmland_vm_ctx *vmc = slot ? vmc_of(*slot) : NULL;

	if (vmc)
		vm_release(*slot, vmc, key);
	return 0;
}
