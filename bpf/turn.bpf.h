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

/* May @t run out of turn where @clock is the time? */
static __always_inline bool may_go_first(const struct vmland_task *t, u64 clock)
{
	return may_boost(t) &&
	       !time_after(t->vruntime, clock + HANDOFF_SLICES * slice_vtime(t));
}

static __always_inline void turn_begin(struct vmland_cpu *here, u64 now, u64 slice)
{
	here->extra_ns = vmland_slice_min_ns;
	here->ends_soon = false;
	here->turn_start = now;
	here->turn_end = now + slice;
}

/* What is left of the CPU's turn, in ns; 0: too little to hand on. */
static __always_inline u64 turn_left(const struct vmland_cpu *here)
{
	u64 now = scx_bpf_now();

	return time_before(now + HANDOFF_MIN_NS, here->turn_end) ?
	       here->turn_end - now : 0;
}

/*
 * A turn that is over is prolonged for the receiver of an IPI, lest sender and receiver
 * both wait until their VM's next one: long enough to take the interrupt, and no longer,
 * for with a sender's time it would but send one itself. Should it do so nevertheless,
 * its receiver is next, until all that has taken the shortest slice.
 */
#define EXTRA_NS (300 * 1000ULL)

/* Is there something left of the turn for the receiver of an IPI? */
static __always_inline bool turn_for_receiver(struct vmland_cpu *here)
{
	if (turn_left(here))
		return true;
	if (here->extra_ns < EXTRA_NS || !with(VMLAND_PROLONG))
		return false;
	here->extra_ns -= EXTRA_NS;
	here->turn_end = scx_bpf_now() + EXTRA_NS;
	here->ends_soon = true;
	return true;
}

/* Slices end with the kernel's ticks, which are too far apart for this. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_ends SEC(".maps");

static int turn_ends(void *map, u32 *cpu, struct vmland_cpu_timer *end)
{
	struct vmland_cpu *here = cpu_state(*cpu);

	if (here && here->curr_weight && !turn_left(here))
		scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	return 0;
}

/* Who begins to run on this CPU does so for EXTRA_NS of its turn. */
static __always_inline void turn_end_soon(struct vmland_cpu *here)
{
	struct vmland_cpu_timer *end = cpu_timer_here(vmland_ends, turn_ends);

	here->ends_soon = false;
	if (!end)
		return;
	here->turn_end = scx_bpf_now() + EXTRA_NS;
	cpu_timer_start(end, EXTRA_NS);
}

#endif /* VMLAND_TURN_BPF_H */
