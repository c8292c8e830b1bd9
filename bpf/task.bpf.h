/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What we remember of each task. The scheduler and the probes on KVM's IPIs
 * (ipi.bpf.c) share it.
 */
#ifndef VMLAND_TASK_BPF_H
#define VMLAND_TASK_BPF_H

struct vmland_task_ctx {
	/*
	 * CPU time weighted by 1/weight, in ns, on the scale of the
	 * clocks of its CPUs (vtime.bpf.h).
	 */
	u64 vruntime;
	u64 run_start;		/* charged up to here, scx_bpf_now(); of a task that
				   waits, when it last left its CPU */
	u64 ran_ns;		/* since it got its CPU */
	u64 notifier;		/* the preempt notifier it was recognised by */
	u32 vm_slot;		/* VMLAND_NO_VM: no vCPU */
	u32 vm_id;		/* the slot may have a new owner since */
	u64 weight;		/* terms in force (params.bpf.h); VMLAND_NICE_0: ordinary */
	u64 slice_ns;
	u64 ipi_window_ns;	/* 0: receivers of its IPIs do not come first */
	u64 cgroup_counted;		/* as active in a cgroup: slot << 32 | weight; 0: no */
	u64 wait_start;		/* of a task that waits, scx_bpf_now() */
	u64 throttled_since;	/* when it was put aside, scx_bpf_now(); 0: it is not */
	s64 throttled_lag;		/* how far it was ahead of its CPU's clock then */
	u32 cgroup_slot;		/* slot of its cgroup (cgroup.bpf.h); 0: the root */
	u32 runnable_in;		/* a vCPU that waits or runs: 1 + the slot of the cgroup
				   that counts it as such; 0: no */
	bool has_cap;		/* its VM has a cap (bandwidth.bpf.h) */
	u64 min_deadline;		/* until it runs: least deadline, after whom it makes way
				   for; 0: none */
	u32 boost_percent;	/* of its VM's CPU time that may be out of turn */
	u64 sticky_until;	/* scx_bpf_now(): until then it would rather not run on another
				   CPU than it waits on (sticky.bpf.h) */
	u64 skew_ns;		/* 0: it does not matter (skew.bpf.h) */
	bool boosted;		/* runs out of turn */
	bool cosched;		/* a vCPU whose VM wants its siblings to run beside it */
	bool yielded;		/* left the CPU by ops.yield() */
	bool woken;		/* has not run since it woke */
	bool passed_over;	/* refused as a target since it woke */
	bool spun;		/* a pause exit asks for a hand-off to a receiver */
	bool has_preferred;		/* a vCPU whose VM prefers some CPUs (prefer.bpf.h) */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct vmland_task_ctx);
} vmland_tasks SEC(".maps");

static __always_inline struct vmland_task_ctx *taskc_of(struct task_struct *p)
{
	return bpf_task_storage_get(&vmland_tasks, p, NULL, 0);
}

static __always_inline bool is_vcpu(const struct vmland_task_ctx *taskc)
{
	return taskc->vm_slot != VMLAND_NO_VM;
}

/* Pause exits since a vCPU last paid, counted by ipi.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} vmland_pauses SEC(".maps");

/*
 * IPIs that are remembered of a vCPU, a power of two. For who is left out of a
 * wider multicast there still is KVM's hint.
 */
#define IPI_RECEIVERS 16

/* The IPIs that a vCPU has sent, as a stack whose oldest entries are overwritten. */
struct vmland_sent {
	u32 top;		/* how many were pushed and not popped */
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

/*
 * A receiver that ran for no longer than this after the IPI, in ns, may have left
 * its CPU before it entered the guest to take it.
 */
#define IPI_SERVED_NS (100 * 1000ULL)

/* The task of vCPU @vcpu_id of VM @vm_id, to be released by the caller. */
static __always_inline struct task_struct *vcpu_task(u32 vm_id, u32 vcpu_id)
{
	struct vmland_vcpu_key key = { .vm_id = vm_id, .vcpu_id = vcpu_id };
	s32 *pid = bpf_map_lookup_elem(&vmland_vcpu_pids, &key);

	return pid ? bpf_task_from_pid(*pid) : NULL;
}

/* Does @p, whose state is @taskc, wait for a CPU, and has not run since @at? */
static __always_inline bool receiver_waits(const struct task_struct *p,
					   const struct vmland_task_ctx *taskc, u64 at)
{
	return (p->scx.flags & SCX_TASK_QUEUED) && !scx_bpf_task_running(p) && !taskc->throttled_since &&
	       time_before(taskc->run_start, at + IPI_SERVED_NS);
}

/*
 * The receiver of the last IPI of @senderc's that is remembered (there is one), if it is
 * pending; to be released by the caller.
 */
static __always_inline struct task_struct *last_receiver(const struct vmland_task_ctx *senderc,
							 const struct vmland_sent *sent)
{
	u32 last = (sent->top - 1) % IPI_RECEIVERS;
	struct task_struct *p = vcpu_task(senderc->vm_id, sent->to[last].vcpu_id);
	struct vmland_task_ctx *taskc;

	if (!p)
		return NULL;
	taskc = taskc_of(p);
	if (taskc && receiver_waits(p, taskc, sent->to[last].at))
		return p;
	bpf_task_release(p);
	return NULL;
}

#endif /* VMLAND_TASK_BPF_H */
