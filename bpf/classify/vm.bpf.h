/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VM context, and the maps by which a VM is found. The scheduler and
 * classify/kvm.bpf.c share them.
 *
 * A VM is identified by the address of its struct kvm. It has a slot in vmland_vms. The
 * slots that are free wait in a queue, so that to take one is O(1) and the one that was
 * freed last is used again last.
 */
#ifndef VMLAND_CLASSIFY_VM_BPF_H
#define VMLAND_CLASSIFY_VM_BPF_H

#include <scx/common.bpf.h>
#include "../intf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_kvm_layout);
} vmland_kvm_layout SEC(".maps");

/* Address of struct kvm -> slot. */
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

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(value, u32);
} vmland_free_vms SEC(".maps");

static __always_inline struct vmland_vm_ctx *vmc_of(u32 slot)
{
	return bpf_map_lookup_elem(&vmland_vms, &slot);
}

/*
 * Ends the VM in @slot, whose struct kvm is at @kvm, and frees the slot. KVM and the last
 * vCPU thread may do this at the same time; one of them frees the slot.
 */
static __always_inline void vm_release(u32 slot, struct vmland_vm_ctx *vmc, u64 kvm)
{
	bpf_map_delete_elem(&vmland_vm_slots, &kvm);
	vmc->vm_id = 0;
	if (kvm && __sync_bool_compare_and_swap(&vmc->kvm, kvm, 0))
		bpf_map_push_elem(&vmland_free_vms, &slot, BPF_ANY);
}

#endif /* VMLAND_CLASSIFY_VM_BPF_H */
