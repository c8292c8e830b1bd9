/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who is a vCPU.
 *
 * A thread inside KVM_RUN, or scheduled out of it, holds a KVM preempt
 * notifier, which sits in its struct kvm_vcpu. That is exact and the same for
 * every VMM; names are never looked at. The verdict is kept: a vCPU thread
 * that handles an exit in user space holds no notifier, but is still a vCPU.
 * It ends with the thread, or with its VM.
 *
 * A VM is its struct kvm. Its slot in the vms map is taken when its first vCPU
 * is seen, and given back when the last of its vCPU threads is gone or KVM
 * destroys it (kvm.bpf.c), whichever is first.
 *
 * Cost on a context switch of a task that is no vCPU: one load.
 */
#ifndef VMLAND_VCPU_BPF_H
#define VMLAND_VCPU_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_kvm_layout);
} vmland_kvm_layout SEC(".maps");

/* struct kvm address -> slot */
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
	__type(value, struct vmland_vm);
} vmland_vms SEC(".maps");

/* pid -> vCPU, for listings */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, VMLAND_MAX_VCPUS);
	__type(key, s32);
	__type(value, struct vmland_vcpu);
} vmland_vcpus SEC(".maps");

/*
 * The field of struct task_struct that we look at; the framework's vmlinux.h
 * comes from a kernel without KVM.
 */
struct task_struct___kvm {
	struct hlist_head preempt_notifiers;
} __attribute__((preserve_access_index));

static u32 last_vm_id;

static __always_inline struct vmland_vm *vm_state(u32 slot)
{
	return bpf_map_lookup_elem(&vmland_vms, &slot);
}

/* Has @vm counted among the VMs of the cgroup @slot if a vCPU of it wants to run. */
static __always_inline void vm_count(struct vmland_vm *vm, u32 slot)
{
	struct vmland_group *g;
	u32 in, was;
	int i;

	/* Whoever comes last in a race sees the outcome. */
	bpf_for(i, 0, 4) {
		in = vm->nr_wanting ? slot + 1 : 0;
		if (vm->counted_in == in)
			break;
		was = __sync_lock_test_and_set(&vm->counted_in, in);
		g = in ? group_state(in - 1) : NULL;
		if (g)
			__sync_fetch_and_add(&g->nr_vms, 1);
		g = was ? group_state(was - 1) : NULL;
		if (g)
			__sync_fetch_and_sub(&g->nr_vms, 1);
	}
}

static __always_inline void vcpu_wants(struct vmland_task *t)
{
	struct vmland_group *g;
	struct vmland_vm *vm;
	u32 slot = t->group;

	if (t->wants || !is_vcpu(t))
		return;
	vm = vm_state(t->vm_slot);
	g = group_state(slot);
	if (!vm || !g || __sync_lock_test_and_set(&t->wants, slot + 1))
		return;
	__sync_fetch_and_add(&g->nr_vcpus, 1);
	if (!__sync_fetch_and_add(&vm->nr_wanting, 1))
		vm_count(vm, slot);
}

static __always_inline void vcpu_rests(struct vmland_task *t)
{
	struct vmland_group *g;
	struct vmland_vm *vm;
	u32 wants;

	wants = t->wants ? __sync_lock_test_and_set(&t->wants, 0) : 0;
	if (!wants)
		return;
	g = group_state(wants - 1);
	if (g)
		__sync_fetch_and_sub(&g->nr_vcpus, 1);
	vm = vm_state(t->vm_slot);
	/* A VM that KVM has destroyed has lost its id, but not yet its numbers. */
	if (vm && (vm->vm_id == t->vm_id || !vm->vm_id) &&
	    __sync_fetch_and_sub(&vm->nr_wanting, 1) == 1)
		vm_count(vm, wants - 1);
}

static void tell_policy(u64 what, const struct task_struct *p,
			const struct vmland_task *t)
{
	struct queued_task_ctx *event = bpf_ringbuf_reserve(&queued, sizeof(*event), 0);

	if (!event) {
		count(VMLAND_POLICY_RING_FULL);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = p->pid;
	event->flags = what;
	event->vtime = t->vm_id;
	bpf_ringbuf_submit(event, 0);
}

static void vm_release(u32 slot, struct vmland_vm *vm)
{
	u64 kvm = vm->kvm;

	bpf_map_delete_elem(&vmland_vm_slots, &kvm);
	vm->vm_id = 0;
	vm->kvm = 0;	/* last: from here on the slot is free */
}

/* Takes a free slot for @kvm; VMLAND_NO_VM if there is none. */
static u32 vm_take_slot(u64 kvm, s32 tgid)
{
	u32 id = __sync_fetch_and_add(&last_vm_id, 1) + 1, slot;
	struct vmland_vm *vm;
	u32 i, *winner;

	bpf_for(i, 0, VMLAND_MAX_VMS) {
		slot = (id + i) % VMLAND_MAX_VMS;
		vm = vm_state(slot);
		if (!vm || __sync_val_compare_and_swap(&vm->kvm, 0, kvm))
			continue;

		vm->cpu_ns = vm->pause_exits = 0;
		vm->yields_asked = vm->yields_honoured = 0;
		vm->throttled_ns = vm->boosted_ns = 0;
		vm->boost_left_ns = 0;
		vm->nr_vcpus = 0;
		vm->nr_wanting = 0;
		vm_count(vm, 0);
		vm->tgid = tgid;
		vm->vm_id = id;
		if (!bpf_map_update_elem(&vmland_vm_slots, &kvm, &slot, BPF_NOEXIST))
			return slot;

		/* A sibling was faster: its slot is the VM's. */
		vm->vm_id = 0;
		vm->kvm = 0;
		winner = bpf_map_lookup_elem(&vmland_vm_slots, &kvm);
		return winner ? *winner : VMLAND_NO_VM;
	}
	return VMLAND_NO_VM;
}

static void vcpu_forget(struct task_struct *p, struct vmland_task *t)
{
	struct vmland_vm *vm = vm_state(t->vm_slot);
	struct vmland_vcpu_key key = {};
	struct vmland_vcpu *vcpu;
	s32 pid = p->pid;

	vcpu_rests(t);
	if (vm && vm->vm_id == t->vm_id &&
	    __sync_fetch_and_sub(&vm->nr_vcpus, 1) == 1)
		vm_release(t->vm_slot, vm);
	vcpu = bpf_map_lookup_elem(&vmland_vcpus, &pid);
	if (vcpu) {
		key.vm_id = vcpu->vm_id;
		key.vcpu_id = vcpu->vcpu_id;
		bpf_map_delete_elem(&vmland_vcpu_pids, &key);
	}
	bpf_map_delete_elem(&vmland_vcpus, &pid);
	tell_policy(VMLAND_EVENT_VCPU_GONE, p, t);
	count(VMLAND_VCPUS_GONE);
	t->vm_slot = VMLAND_NO_VM;
	t->notifier = 0;
}

/*
 * @p holds a notifier that we have not seen it with: which vCPU is it? Not static, so
 * that the verifier looks at it once, not at each call.
 */
__noinline int vcpu_recognise(struct task_struct *p __arg_trusted,
			      struct vmland_task *t __arg_nonnull)
{
	struct task_struct___kvm *task = (void *)p;
	struct vmland_vcpu_key id = {};
	struct vmland_vcpu vcpu = {};
	struct vmland_kvm_layout *layout;
	struct vmland_vm *vm;
	u32 key = 0, *slot;
	u64 notifier = 0, addr, kvm = 0;
	s32 pid;

	layout = bpf_map_lookup_elem(&vmland_kvm_layout, &key);
	if (!layout || !layout->ready)
		return 0;

	/* Read as a number: it is not the list that we walk from here. */
	bpf_core_read(&notifier, sizeof(notifier), &task->preempt_notifiers.first);
	addr = notifier - layout->vcpu_notifier;
	if (bpf_probe_read_kernel(&kvm, sizeof(kvm), (void *)(addr + layout->vcpu_kvm)) ||
	    bpf_probe_read_kernel(&vcpu.vcpu_id, sizeof(vcpu.vcpu_id),
				  (void *)(addr + layout->vcpu_id)) || !kvm)
		return 0;

	if (is_vcpu(t))
		vcpu_forget(p, t);

	slot = bpf_map_lookup_elem(&vmland_vm_slots, &kvm);
	vcpu.vm_slot = slot ? *slot : vm_take_slot(kvm, p->tgid);
	vm = vm_state(vcpu.vm_slot);
	if (!vm)
		return 0;
	__sync_fetch_and_add(&vm->nr_vcpus, 1);

	t->notifier = notifier;
	t->vm_slot = vcpu.vm_slot;
	t->vm_id = vcpu.vm_id = vm->vm_id;
	vcpu.tgid = p->tgid;
	pid = p->pid;
	bpf_map_update_elem(&vmland_vcpus, &pid, &vcpu, BPF_ANY);
	id.vm_id = vcpu.vm_id;
	id.vcpu_id = vcpu.vcpu_id;
	bpf_map_update_elem(&vmland_vcpu_pids, &id, &pid, BPF_ANY);
	bpf_task_storage_get(&vmland_sent, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	tell_policy(VMLAND_EVENT_VCPU_SEEN, p, t);
	count(VMLAND_VCPUS_SEEN);
	return 0;
}

/* Brings @t up to date with what @p is now. */
static __always_inline void vcpu_classify(struct task_struct *p, struct vmland_task *t)
{
	struct task_struct___kvm *task = (void *)p;
	struct vmland_vm *vm;
	u64 notifier;

	if (!bpf_core_field_exists(task->preempt_notifiers))
		return;		/* a kernel that cannot have KVM */

	if (is_vcpu(t)) {
		vm = vm_state(t->vm_slot);
		if (vm && vm->vm_id != t->vm_id)
			vcpu_forget(p, t);
	}
	notifier = (u64)task->preempt_notifiers.first;
	if (notifier && notifier != t->notifier)
		vcpu_recognise(p, t);
}

#endif /* VMLAND_VCPU_BPF_H */
