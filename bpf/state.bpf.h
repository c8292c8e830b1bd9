/* SPDX-License-Identifier: GPL-2.0-only */
/* What we remember of each CPU; of each task: task.bpf.h. */
#ifndef VMLAND_STATE_BPF_H
#define VMLAND_STATE_BPF_H

#include "task.bpf.h"

/* Next free ids after the framework's DSQs: vtime.bpf.h, throttle.bpf.h. */
#define PARKED_DSQ (MAX_CPUS + 2)
#define THROTTLED_DSQ (MAX_CPUS + 3)

/* Some VM wants its vCPUs together, or did (cosched.bpf.h). */
static bool any_cosched;

/* Some VM bounds how far its vCPUs get apart, or did (skew.bpf.h). */
static bool any_skew;

struct vmland_cpu_ctx {
	/* The vruntime that those who compete for it have come to. */
	u64 vtime;
	/* Who runs next was taken from a line. */
	bool from_queue;

	/* The running task, as of curr_start; for wake-up preemption. */
	u64 curr_vruntime;
	u64 curr_start;
	u64 curr_weight;	/* 0: nobody that may be preempted */
	u64 curr_slice_min;	/* ns */
	s32 curr_pid;
	u32 curr_vm_id;		/* 0: no vCPU */

	/* The turn that a hand-off passes on (yield.bpf.h), scx_bpf_now(). */
	u64 turn_start;
	u64 turn_end;
	u64 prolong_left_ns;		/* by which it may yet be prolonged (turn.bpf.h) */
	bool prolonged;		/* who runs next has no more than PROLONG_NS */

	/*
	 * Of a search (cosched.bpf.h). Here, as the verifier goes through a loop for
	 * each value of a variable that it knows.
	 */
	u32 scanned;
	u64 until;		/* scx_bpf_now() */

	/* A hand-off from ops.yield() to the next ops.dispatch(); 0: none. */
	s32 handoff_pid;
	/* Whom a hand-off put first here, until somebody runs; 0: nobody. */
	s32 expected_pid;
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

#endif /* VMLAND_STATE_BPF_H */
