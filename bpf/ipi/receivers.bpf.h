/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The IPIs that each vCPU has sent, and whether their receivers still wait. The scheduler
 * and the probes on KVM (ipi.bpf.c) share the maps.
 */
#ifndef VMLAND_IPI_RECEIVERS_BPF_H
#define VMLAND_IPI_RECEIVERS_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../intf.h"

/*
 * IPIs that are remembered of each vCPU; a power of two. Receivers of a wider multicast
 * that are not remembered can still be targets of KVM's hints.
 */
#define IPI_RECEIVERS 16

/*
 * How long a receiver takes, from getting a CPU, to enter the guest and take an interrupt, in
 * ns: what it gets of the CPU of a sender that spins. User space sets more on a host that is
 * itself a guest, where each entry and exit is emulated.
 */
volatile u64 vmland_receiver_ns = 10 * 1000;

/* The IPIs of a vCPU, as a stack whose oldest entries are overwritten. */
struct vmland_sent {
	u32 top;		/* entries pushed and not popped */
	struct {
		u32 vcpu_id;
		u64 at;		/* scx_bpf_now() */
	} to[IPI_RECEIVERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct vmland_sent);
} vmland_sent SEC(".maps");

/* VM and KVM's vCPU id (on x86 the APIC id) -> pid of the thread. */
struct vmland_vcpu_key {
	u32 vm_id;
	u32 vcpu_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, VMLAND_MAX_VCPUS);
	__type(key, struct vmland_vcpu_key);
	__type(value, s32);
} vmland_vcpu_pids SEC(".maps");

/* What a vCPU has done on a CPU since the last one that ran there was charged. */
struct vmland_kvm_counts {
	u64 pause_exits;
	u64 ipis;		/* sent, one for each receiver */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_kvm_counts);
} vmland_kvm_counts SEC(".maps");

/* The task of vCPU @vcpu_id of VM @vm_id. The caller releases it. */
static __always_inline struct task_struct *vcpu_task(u32 vm_id, u32 vcpu_id)
{
	struct vmland_vcpu_key key = { .vm_id = vm_id, .vcpu_id = vcpu_id };
	s32 *pid = bpf_map_lookup_elem(&vmland_vcpu_pids, &key);

	return pid ? bpf_task_from_pid(*pid) : NULL;
}

/*
 * Does @p wait for a CPU, and has it not run since it was sent an IPI at @at? One that began to
 * run just before may have left its CPU before it entered the guest.
 */
static __always_inline bool receiver_waits(const struct task_struct *p,
					   const struct vmland_task_ctx *taskc, u64 at)
{
	return (p->scx.flags & SCX_TASK_QUEUED) && !scx_bpf_task_running(p) &&
	       !taskc->throttled_since && time_before(taskc->run_start, at + vmland_receiver_ns / 2);
}

/*
 * The receiver of the last IPI in @sent, which is not empty, if it still waits; else NULL.
 * The caller releases it.
 */
static __always_inline struct task_struct *last_receiver(const struct vmland_task_ctx *senderc,
							 const struct vmland_sent *sent)
{
	u32 last = (sent->top - 1) % IPI_RECEIVERS;
	struct task_struct *receiver = vcpu_task(senderc->vm_id, sent->to[last].vcpu_id);
	struct vmland_task_ctx *receiverc;

	if (!receiver)
		return NULL;
	receiverc = taskc_of(receiver);
	/* The pid may be that of another task by now. */
	if (receiverc && is_vcpu(receiverc) && receiverc->vm_id == senderc->vm_id &&
	    receiver_waits(receiver, receiverc, sent->to[last].at))
		return receiver;
	bpf_task_release(receiver);
	return NULL;
}

#endif /* VMLAND_IPI_RECEIVERS_BPF_H */
