/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The clock of timers.
 *
 * Problem. scx_bpf_now() returns what the run queue of this CPU has cached, as long as the
 * kernel has not marked that as outdated. It does so when a run queue is unlocked, but not where
 * another CPU has locked it to take a task from it. So on a CPU that is idle the clock
 * can stand still until a task runs there, and on a busy one until the next tick. An op that is
 * called under the lock of its CPU's run queue sees the right time; a timer may not.
 *
 * Mechanism. Timers read CLOCK_MONOTONIC, and add by how much scx_bpf_now() was ahead of it
 * when an op last compared them.
 *
 *   constant         value  why
 *   CLOCK_SAMPLE_NS  10 ms  Adjusted by NTP, CLOCK_MONOTONIC goes faster or slower by at most
 *                           1/2000: 5 us meanwhile.
 */
#ifndef VMLAND_CONTEXT_CLOCK_BPF_H
#define VMLAND_CONTEXT_CLOCK_BPF_H

#include <scx/common.bpf.h>

#define CLOCK_SAMPLE_NS (10 * 1000 * 1000ULL)

static u64 clock_sampled_at;	/* scx_bpf_now() */
static u64 clock_ahead_ns;

/* @now: scx_bpf_now(), under the lock of this CPU's run queue. */
static __always_inline void clock_sample(u64 now)
{
	if (clock_sampled_at && !time_after(now, clock_sampled_at + CLOCK_SAMPLE_NS))
		return;
	clock_sampled_at = now;
	clock_ahead_ns = now - bpf_ktime_get_ns();
}

/* What scx_bpf_now() ought to return in a timer. */
static __always_inline u64 clock_now(void)
{
	return bpf_ktime_get_ns() + clock_ahead_ns;
}

#endif /* VMLAND_CONTEXT_CLOCK_BPF_H */
