/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What we remember of each task. The scheduler and the probes on KVM's IPIs
 * (ipi.bpf.c) share it.
 */
#ifndef VMLAND_TASK_BPF_H
#define VMLAND_TASK_BPF_H

struct vmland_task {
	/*
	 * CPU time weighted by 100/weight, in ns, on the scale of the
	 * clocks of its CPUs (vtime.bpf.h).
	 */
	u64 vruntime;
	u64 run_start;		/* charged up to here, scx_bpf_now() */
	u64 ran_ns;		/* since it got its CPU */
	u64 notifier;		/* the preempt notifier it was recognised by */
	u32 vm_slot;		/* VMLAND_NO_VM: no vCPU */
	u32 vm_id;		/* the slot may have a new owner since */
	u64 weight;		/* terms in force (terms.bpf.h) */
	u64 slice_ns;
	bool yielded;		/* left the CPU by ops.yield() */
	bool wants;		/* a vCPU that waits or runs, and counted as such */
	bool woken;		/* has not run since it woke */
	bool passed_over;	/* refused as a target since it woke */
	bool spun;		/* a pause exit asks for a hand-off to a receiver */

	/* IPIs (ipi.bpf.h) */
	u64 ipi_at;		/* came while it was off the CPU, scx_bpf_now(); 0: served */
	s32 ipi_from;		/* the sender's pid */
	s32 ipi_next;		/* the sender's receiver before this one, by pid; 0: none */
	s32 ipi_to;		/* the last of its own receivers; 0: none */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct vmland_task);
} vmland_tasks SEC(".maps");

static __always_inline struct vmland_task *task_state(struct task_struct *p)
{
	return bpf_task_storage_get(&vmland_tasks, p, NULL, 0);
}

static __always_inline bool is_vcpu(const struct vmland_task *t)
{
	return t->vm_slot != VMLAND_NO_VM;
}

/* Pause exits since a vCPU last paid, counted by bpf/kvm.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} vmland_pauses SEC(".maps");

/* By VM and KVM's vCPU id, which is the APIC id: the thread's pid. */
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

#endif /* VMLAND_TASK_BPF_H */
