/* SPDX-License-Identifier: GPL-2.0-only */
/* The CPU context: what the scheduler keeps of each CPU. */
#ifndef VMLAND_CONTEXT_CPU_BPF_H
#define VMLAND_CONTEXT_CPU_BPF_H

#include "../framework.bpf.h"

struct vmland_cpu_ctx {
	/* The vruntime that the tasks which compete for this CPU have come to. */
	u64 vtime;
	/* The next task to run was taken from a queue. */
	bool from_queue;
	/* It had a task when it asked for the next one. */
	bool competes;
	/* The kernel asks for no decision about this CPU (placement/hotplug.bpf.h). */
	bool offline;
	/* It schedules since it looks again for tasks (placement/update_idle.bpf.h). */
	bool looks_again;

	/* The running task, as of curr_start. */
	u64 curr_vruntime;
	u64 curr_start;
	u64 curr_weight;	/* 0: no task that may be preempted */
	u64 curr_slice_min;	/* ns */
	s32 curr_pid;
	u32 curr_vm_id;		/* 0: no vCPU */

	/* The turn (handoff/turn.bpf.h), scx_bpf_now(). */
	u64 turn_start;
	u64 turn_end;
	u64 prolong_left_ns;	/* by which the turn may still be prolonged */
	bool prolonged;		/* the next task to run has PROLONG_NS only */
	u64 runtime_end;	/* the running task has runtime until then
				   (cgroup/limits.bpf.h); 0: no limit */

	/* The running task stops then, by a timer (queue/run_timer.bpf.h); 0: at a tick. */
	u64 stop_at;
	/* Nobody waits for this CPU, and it has no tick (queue/alone.bpf.h). */
	bool alone;
	/* Its turn is suspended for tasks that have woken (placement/preempt.bpf.h); 0: none. */
	s32 suspended_pid;
	u64 suspended_vruntime;
	u64 first_slice_ns;	/* of the tasks that it is suspended for */
	bool suspended_by_ipi;	/* these are receivers of its IPIs */

	/* The target noted by ops.yield() for the next ops.dispatch(); 0: none. */
	s32 handoff_pid;
	/* The task that a hand-off put first here, until a task runs; 0: none. */
	s32 expected_pid;

	/* Dispatches, and looks at other domains (queue/beyond.bpf.h). */
	u32 dispatches;
	u32 looks;
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu_ctx);
} vmland_cpus SEC(".maps");

static __always_inline struct vmland_cpu_ctx *cpuc_of(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&vmland_cpus, &key);
}

#endif /* VMLAND_CONTEXT_CPU_BPF_H */
