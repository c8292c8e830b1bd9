/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Classification: which task is a vCPU, and of which VM.
 *
 * Mechanism. A thread inside KVM_RUN holds a KVM preempt notifier, also while it is
 * scheduled out. The notifier is a member of struct kvm_vcpu. So classification is
 * exact, and the same for every VMM. Thread names are not used. The result is kept: a
 * vCPU thread that handles an exit in user space holds no notifier, and is still a vCPU.
 * It ceases to be one when the thread ends or its VM does.
 *
 * A VM gets a slot (vm.bpf.h) when its first vCPU is seen. The slot is freed when the
 * last of its vCPU threads has ended, or when KVM destroys the VM (kvm.bpf.c).
 *
 * Cost. One load at a context switch of a task that is no vCPU.
 */
#ifndef VMLAND_CLASSIFY_VCPU_BPF_H
#define VMLAND_CLASSIFY_VCPU_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/cgroup.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../intf.h"
#include "../ipi/receivers.bpf.h"
#include "../planner/event.bpf.h"
#include "../waits/waits.bpf.h"
#include "vm.bpf.h"

/* pid -> vCPU, for listings in user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, VMLAND_MAX_VCPUS);
	__type(key, s32);
	__type(value, struct vmland_vcpu);
} vmland_vcpus SEC(".maps");

/*
 * The field of struct task_struct that is read here. The framework's vmlinux.h was made
 * from a kernel without KVM, and does not have it.
 */
struct task_struct___kvm {
	struct hlist_head preempt_notifiers;
} __attribute__((preserve_access_index));

static u32 last_vm_id;

/*
 * Makes the cgroup @slot count @vmc among its VMs if that has a runnable vCPU, and not
 * if it has none. CPUs may do this at the same time; the last one sees the result.
 */
static __always_inline void vm_recount(struct vmland_vm_ctx *vmc, u32 slot)
{
	struct vmland_cgroup_ctx *cgc;
	u32 in, was;
	int i;

	bpf_for(i, 0, RECOUNT_ATTEMPTS) {
		in = vmc->nr_runnable ? slot + 1 : 0;
		if (vmc->counted_in == in)
			break;
		was = __sync_lock_test_and_set(&vmc->counted_in, in);
		cgc = in ? cgc_of(in - 1) : NULL;
		if (cgc)
			__sync_fetch_and_add(&cgc->nr_vms, 1);
		cgc = was ? cgc_of(was - 1) : NULL;
		if (cgc)
			__sync_fetch_and_sub(&cgc->nr_vms, 1);
	}
}

/* If @taskc is of a vCPU, its VM and its cgroup count it as runnable. */
static __always_inline void vcpu_runnable(struct vmland_task_ctx *taskc)
{
	struct vmland_cgroup_ctx *cgc;
	struct vmland_vm_ctx *vmc;
	u32 slot = taskc->cgroup_slot;

	if (taskc->runnable_in || !is_vcpu(taskc))
		return;
	vmc = vmc_of(taskc->vm_slot);
	cgc = cgc_of(slot);
	if (!vmc || !cgc || __sync_lock_test_and_set(&taskc->runnable_in, slot + 1))
		return;
	__sync_fetch_and_add(&cgc->nr_vcpus, 1);
	if (!__sync_fetch_and_add(&vmc->nr_runnable, 1))
		vm_recount(vmc, slot);
}

static __always_inline void vcpu_quiescent(struct vmland_task_ctx *taskc)
{
	struct vmland_cgroup_ctx *cgc;
	struct vmland_vm_ctx *vmc;
	u32 was_in;

	was_in = taskc->runnable_in ? __sync_lock_test_and_set(&taskc->runnable_in, 0) : 0;
	if (!was_in)
		return;
	cgc = cgc_of(was_in - 1);
	if (cgc)
		__sync_fetch_and_sub(&cgc->nr_vcpus, 1);
	vmc = vmc_of(taskc->vm_slot);
	/* A VM that KVM has destroyed has lost its id, but its counts are still in use. */
	if (vmc && (vmc->vm_id == taskc->vm_id || !vmc->vm_id) &&
	    __sync_fetch_and_sub(&vmc->nr_runnable, 1) == 1)
		vm_recount(vmc, was_in - 1);
}

/* If @taskc is of a vCPU, its VM counts it as running, or no longer. */
static __always_inline void vcpu_count_running(struct vmland_task_ctx *taskc, bool runs)
{
	struct vmland_vm_ctx *vmc;

	if (taskc->running == runs)
		return;
	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	taskc->running = runs && vmc;
	if (!vmc)
		return;
	if (runs)
		__sync_fetch_and_add(&vmc->nr_running, 1);
	else
		__sync_fetch_and_sub(&vmc->nr_running, 1);
}

static void send_vcpu_event(u32 kind, const struct task_struct *p,
			    const struct vmland_task_ctx *taskc)
{
	struct vmland_event event = {
		.kind = kind,
		.pid = p->pid,
		.vm_slot = taskc->vm_slot,
	};
	struct queued_task_ctx *record;

	record = bpf_ringbuf_reserve(&vmland_vcpu_events, sizeof(*record), 0);
	if (record)
		event_submit(record, &event);
}

/* Takes a free slot for @kvm; VMLAND_NO_VM if there is none. */
static u32 vm_take_slot(u64 kvm, s32 tgid)
{
	struct vmland_vm_ctx *vmc;
	u32 slot, *winner;

	if (bpf_map_pop_elem(&vmland_free_vms, &slot)) {
		count(VMLAND_VMS_FULL);
		return VMLAND_NO_VM;
	}
	vmc = vmc_of(slot);
	if (!vmc)
		return VMLAND_NO_VM;
	vmc->cpu_ns = vmc->pause_exits = vmc->receivers = vmc->reported_exits = 0;
	vmc->ipis = vmc->weight = 0;
	vmc->yields_asked = vmc->yields_honoured = 0;
	vmc->throttled_ns = vmc->boosted_ns = 0;
	vmc->boost_left_ns = 0;
	vmc->nr_vcpus = 0;
	vmc->nr_runnable = vmc->nr_running = 0;
	vmc->waits = 0;
	vmc->turn_end = 0;
	vm_recount(vmc, 0);
	waits_reset(slot);
	vmc->tgid = tgid;
	vmc->vm_id = __sync_fetch_and_add(&last_vm_id, 1) + 1;
	vmc->kvm = kvm;
	if (!bpf_map_update_elem(&vmland_vm_slots, &kvm, &slot, BPF_NOEXIST))
		return slot;

	/* Another vCPU of the VM was seen at the same time: its slot is the VM's. */
	vmc->vm_id = 0;
	vmc->kvm = 0;
	bpf_map_push_elem(&vmland_free_vms, &slot, BPF_ANY);
	winner = bpf_map_lookup_elem(&vmland_vm_slots, &kvm);
	return winner ? *winner : VMLAND_NO_VM;
}

/* All slots are free, before there is a task. */
static __always_inline s32 vm_slots_init(void)
{
	s32 err = 0;
	u32 slot;

	bpf_for(slot, 0, VMLAND_MAX_VMS)
		err = err ?: bpf_map_push_elem(&vmland_free_vms, &slot, BPF_ANY);
	return err;
}

/* Makes thread @p be found as @vcpu. */
static void vcpu_list(const struct task_struct *p, const struct vmland_vcpu *vcpu)
{
	struct vmland_vcpu_key key = { .vm_id = vcpu->vm_id, .vcpu_id = vcpu->vcpu_id };
	s32 pid = p->pid;

	bpf_map_update_elem(&vmland_vcpus, &pid, vcpu, BPF_ANY);
	bpf_map_update_elem(&vmland_vcpu_pids, &key, &pid, BPF_ANY);
}

/* The vCPU that @p ran last is not to be found at @p any more, if it still is. */
static void vcpu_unlist(const struct task_struct *p)
{
	struct vmland_vcpu_key key = {};
	struct vmland_vcpu *vcpu;
	s32 pid = p->pid, *at;

	vcpu = bpf_map_lookup_elem(&vmland_vcpus, &pid);
	if (!vcpu)
		return;
	key.vm_id = vcpu->vm_id;
	key.vcpu_id = vcpu->vcpu_id;
	at = bpf_map_lookup_elem(&vmland_vcpu_pids, &key);
	if (at && *at == pid)
		bpf_map_delete_elem(&vmland_vcpu_pids, &key);
}

/* @p is no vCPU any more. */
static void vcpu_forget(struct task_struct *p, struct vmland_task_ctx *taskc)
{
	struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);
	s32 pid = p->pid;

	vcpu_quiescent(taskc);
	vcpu_count_running(taskc, false);
	if (vmc && vmc->vm_id == taskc->vm_id &&
	    __sync_fetch_and_sub(&vmc->nr_vcpus, 1) == 1)
		vm_release(taskc->vm_slot, vmc, vmc->kvm);
	vcpu_unlist(p);
	bpf_map_delete_elem(&vmland_vcpus, &pid);
	send_vcpu_event(VMLAND_EVENT_VCPU_GONE, p, taskc);
	count(VMLAND_VCPUS_GONE);
	taskc->vm_slot = VMLAND_NO_VM;
	taskc->notifier = 0;
}

/*
 * Thread @p runs another vCPU of its VM, as VMMs do that run more vCPUs than they have
 * threads (gVisor). It stays a vCPU thread of that VM.
 */
static void vcpu_changes(const struct task_struct *p, const struct vmland_task_ctx *taskc,
			 s32 vcpu_id)
{
	struct vmland_vcpu vcpu = {
		.vm_slot = taskc->vm_slot,
		.vm_id = taskc->vm_id,
		.vcpu_id = vcpu_id,
		.tgid = p->tgid,
	};

	vcpu_unlist(p);
	vcpu_list(p, &vcpu);
}

/*
 * @p holds a notifier that it was not seen with before: which vCPU is it? Not static, so
 * that the verifier checks it once, and not at each call.
 */
__noinline int vcpu_recognise(struct task_struct *p __arg_trusted,
			      struct vmland_task_ctx *taskc __arg_nonnull)
{
	struct task_struct___kvm *task = (void *)p;
	struct vmland_vcpu vcpu = {};
	struct vmland_kvm_layout *layout;
	struct vmland_vm_ctx *vmc;
	u32 key = 0, *slot;
	u64 notifier = 0, addr, kvm = 0;

	layout = bpf_map_lookup_elem(&vmland_kvm_layout, &key);
	if (!layout || !layout->ready)
		return 0;

	/* Read as a number: only the address is needed, and the list is not followed. */
	bpf_core_read(&notifier, sizeof(notifier), &task->preempt_notifiers.first);
	addr = notifier - layout->vcpu_notifier;
	if (bpf_probe_read_kernel(&kvm, sizeof(kvm), (void *)(addr + layout->vcpu_kvm)) ||
	    bpf_probe_read_kernel(&vcpu.vcpu_id, sizeof(vcpu.vcpu_id),
				  (void *)(addr + layout->vcpu_id)) || !kvm)
		return 0;

	slot = bpf_map_lookup_elem(&vmland_vm_slots, &kvm);
	if (is_vcpu(taskc)) {
		if (slot && *slot == taskc->vm_slot) {
			vcpu_changes(p, taskc, vcpu.vcpu_id);
			taskc->notifier = notifier;
			return 0;
		}
		vcpu_forget(p, taskc);
	}
	vcpu.vm_slot = slot ? *slot : vm_take_slot(kvm, p->tgid);
	vmc = vmc_of(vcpu.vm_slot);
	if (!vmc)
		return 0;
	__sync_fetch_and_add(&vmc->nr_vcpus, 1);

	taskc->notifier = notifier;
	taskc->vm_slot = vcpu.vm_slot;
	taskc->vm_id = vcpu.vm_id = vmc->vm_id;
	vcpu.tgid = p->tgid;
	vcpu_list(p, &vcpu);
	bpf_task_storage_get(&vmland_sent, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	send_vcpu_event(VMLAND_EVENT_VCPU_SEEN, p, taskc);
	count(VMLAND_VCPUS_SEEN);
	return 0;
}

/* Brings the classification of @p up to date. */
static __always_inline void vcpu_classify(struct task_struct *p, struct vmland_task_ctx *taskc)
{
	struct task_struct___kvm *task = (void *)p;
	struct vmland_vm_ctx *vmc;
	u64 notifier;

	if (!bpf_core_field_exists(task->preempt_notifiers))
		return;		/* a kernel that cannot have KVM */

	if (is_vcpu(taskc)) {
		vmc = vmc_of(taskc->vm_slot);
		if (vmc && vmc->vm_id != taskc->vm_id)
			vcpu_forget(p, taskc);
	}
	notifier = (u64)task->preempt_notifiers.first;
	if (notifier && notifier != taskc->notifier)
		vcpu_recognise(p, taskc);
}

#endif /* VMLAND_CLASSIFY_VCPU_BPF_H */
