/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What has to be known of KVM itself: where its structures keep their fields, and
 * when a VM is gone.
 *
 * This is an object apart from the scheduler, since it relocates against KVM's
 * own types and so loads only while KVM is there; user space loads it when KVM
 * comes and drops it when KVM goes. The probe is a kprobe, which does not hold
 * the module in memory. The maps are the scheduler's.
 */
#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "intf.h"

/* The fields that we need, by the names that KVM gives them. */
struct kvm_vcpu___vmland {
	void *kvm;
	struct {} preempt_notifier;
	int vcpu_id;
} __attribute__((preserve_access_index));

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_kvm_layout);
} vmland_kvm_layout SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u64);
	__type(value, u32);
} vmland_vm_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_vm_ctx);
} vmland_vms SEC(".maps");

/* Run once, by user space, right after this object is loaded. */
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
 * The scheduler sees by the id that a slot is no longer the VM it knew; the
 * next task event of each thread that was a vCPU of it ends that.
 */
SEC("kprobe/kvm_arch_destroy_vm")
int BPF_KPROBE(on_destroy, void *kvm)
{
	u64 key = (u64)kvm;
	u32 *slot = bpf_map_lookup_elem(&vmland_vm_slots, &key);
	struct vmland_vm_ctx *vmc = slot ? bpf_map_lookup_elem(&vmland_vms, slot) : NULL;

	if (!vmc)
		return 0;
	bpf_map_delete_elem(&vmland_vm_slots, &key);
	vmc->vm_id = 0;
	vmc->kvm = 0;
	return 0;
}
