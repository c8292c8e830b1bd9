/* SPDX-License-Identifier: GPL-2.0-only */
/* What we remember of each task and of each CPU. */
#ifndef VMLAND_STATE_BPF_H
#define VMLAND_STATE_BPF_H

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

struct vmland_cpu {
	/* The vruntime that those who compete for it have come to. */
	u64 clock;
	/* Who runs next was taken from a line. */
	bool from_line;

	/* The running task, as of curr_start; for wake-up preemption. */
	u64 curr_vruntime;
	u64 curr_start;
	u64 curr_weight;	/* 0: nobody that may be preempted */
	u64 curr_slice_min;	/* ns */
	s32 curr_pid;

	/* The turn that a hand-off passes on (yield.bpf.h), scx_bpf_now(). */
	u64 turn_start;
	u64 turn_end;

	/* A hand-off from ops.yield() to the next ops.dispatch(); 0: none. */
	s32 handoff_pid;
	/* Whom a hand-off put first here, until somebody runs; 0: nobody. */
	s32 expected_pid;
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu);
} vmland_cpus SEC(".maps");

static __always_inline struct vmland_cpu *cpu_state(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&vmland_cpus, &key);
}

#endif /* VMLAND_STATE_BPF_H */
