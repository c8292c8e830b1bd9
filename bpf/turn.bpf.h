/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Turns: how long a CPU goes from hand to hand.
 *
 * A hand-off passes on what is left of the yielder's slice, not a slice of its own: the
 * CPU's turn began with somebody taken from a line and ends when that one's slice would
 * have, however often it changed hands. With fresh slices siblings that wait for each
 * other kept one CPU between them as long as they spun, and met their siblings on the
 * other CPUs never. With turns all CPUs come back to the lines after a slice, where
 * siblings stand next to each other: VMs that want to run together fall into step.
 */
#ifndef VMLAND_TURN_BPF_H
#define VMLAND_TURN_BPF_H

#include "cpu_timer.bpf.h"

/* How far ahead of its share who runs out of turn may be, in slices of its own. */
#define HANDOFF_SLICES 2

/* Not worth two context switches. */
#define HANDOFF_MIN_NS (100 * 1000ULL)

/* May @taskc run out of turn where @vtime is the time? */
static __always_inline bool may_run_out_of_turn(const struct vmland_task_ctx *taskc, u64 vtime)
{
	return may_boost(taskc) &&
	       !time_after(taskc->vruntime, vtime + HANDOFF_SLICES * slice_vtime(taskc));
}

static __always_inline void turn_begin(struct vmland_cpu_ctx *cpuc, u64 now, u64 slice)
{
	cpuc->prolong_left_ns = vmland_slice_min_ns;
	cpuc->prolonged = false;
	cpuc->turn_start = now;
	cpuc->turn_end = now + slice;
}

/* What is left of the CPU's turn, in ns; 0: too little to hand on. */
static __always_inline u64 turn_left(const struct vmland_cpu_ctx *cpuc)
{
	u64 now = scx_bpf_now();

	return time_before(now + HANDOFF_MIN_NS, cpuc->turn_end) ?
	       cpuc->turn_end - now : 0;
}

/*
 * A turn that is over is prolonged for the receiver of an IPI, lest sender and receiver
 * both wait until their VM's next one: long enough to take the interrupt, and no longer,
 * for with a sender's time it would but send one itself. Should it do so nevertheless,
 * its receiver is next, until all that has taken the shortest slice.
 */
#define PROLONG_NS (300 * 1000ULL)

/* Is there something left of the turn for the receiver of an IPI? */
static __always_inline bool turn_left_or_prolonged(struct vmland_cpu_ctx *cpuc)
{
	if (turn_left(cpuc))
		return true;
	if (cpuc->prolong_left_ns < PROLONG_NS || !mechanism_on(VMLAND_PROLONG))
		return false;
	cpuc->prolong_left_ns -= PROLONG_NS;
	cpuc->turn_end = scx_bpf_now() + PROLONG_NS;
	cpuc->prolonged = true;
	return true;
}

/* Slices end with the kernel's ticks, which are too far apart for this. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_turn_timers SEC(".maps");

static int turn_timer_fire(void *map, u32 *cpu, struct vmland_cpu_timer *end)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(*cpu);

	if (cpuc && cpuc->curr_weight && !turn_left(cpuc))
		scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	return 0;
}

/* Who begins to run on this CPU does so for PROLONG_NS of its turn. */
static __always_inline void turn_begin_prolonged(struct vmland_cpu_ctx *cpuc)
{
	struct vmland_cpu_timer *end = cpu_timer_here(vmland_turn_timers, turn_timer_fire);

	cpuc->prolonged = false;
	if (!end)
		return;
	cpuc->turn_end = scx_bpf_now() + PROLONG_NS;
	cpu_timer_start(end, PROLONG_NS);
}

#endif /* VMLAND_TURN_BPF_H */
