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
	here->prolonged = false;
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
 * Is there something left of the turn for the receiver of an IPI? One that is over is
 * prolonged by the shortest slice, once, lest sender and receiver both wait until their
 * VM's next one.
 */
static __always_inline bool turn_for_receiver(struct vmland_cpu *here)
{
	if (turn_left(here))
		return true;
	if (here->prolonged || !with(VMLAND_PROLONG))
		return false;
	here->prolonged = true;
	here->turn_end = scx_bpf_now() + vmland_slice_min_ns;
	return turn_left(here);
}

#endif /* VMLAND_TURN_BPF_H */
