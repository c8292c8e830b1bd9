/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waits: how long a vCPU was runnable until it ran, each time, as a histogram of its VM.
 *
 * A wait begins when the vCPU is woken, or leaves its CPU and could go on. It ends when the vCPU
 * runs. Time throttled is in it, as in the kernel's run_delay (/proc/PID/schedstat) and in what the
 * guest counts as stolen. Waits that began by a wake-up are wake-up latencies, and have a histogram
 * of their own.
 *
 * A histogram has 2^VMLAND_WAIT_BITS buckets for each power of two, from 1 us up, so that a bucket
 * is at most a quarter wider than its lower bound. The first 1 us has as many of equal width. The
 * last bucket takes what is longer than 68 s; the kernel ejects the scheduler after 30 s.
 *
 * Cost, of vCPUs only: two atomic additions to cache lines of the VM for each wait, without a
 * branch that depends on how long it was; and a reading of the clock if the vCPU wakes on an idle
 * CPU.
 */
#ifndef VMLAND_WAITS_WAITS_BPF_H
#define VMLAND_WAITS_WAITS_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../intf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_waits);
} vmland_waits SEC(".maps");

/* A new VM has the slot. */
static __always_inline void waits_reset(u32 slot)
{
	static const struct vmland_waits none;

	bpf_map_update_elem(&vmland_waits, &slot, &none, BPF_ANY);
}

/*
 * floor(log2(@n)), of @n from 1 up; the multiplication puts the place of the highest bit into the
 * five highest bits. As a search it would have 32 paths, each of which the verifier would follow.
 */
static __always_inline u32 wait_log2(u32 n)
{
	static const u8 places[32] = {
		0, 9, 1, 10, 13, 21, 2, 29, 11, 14, 16, 18, 22, 25, 3, 30,
		8, 12, 20, 28, 15, 17, 24, 7, 19, 27, 23, 6, 26, 5, 4, 31,
	};

	n |= n >> 1;
	n |= n >> 2;
	n |= n >> 4;
	n |= n >> 8;
	n |= n >> 16;
	return places[(n * 0x07c4acddU) >> 27];
}

/* The bucket of a wait of @ns. crates/vmland-control/src/histogram.rs has the bounds. */
static __always_inline u32 wait_bucket(u64 ns)
{
	u64 steps = ns >> VMLAND_WAIT_SHIFT;
	u32 n = steps >> 32 ? ~0U : steps, above;

	/* Up to 2^VMLAND_WAIT_BITS steps, a bucket each. */
	above = wait_log2(n | 1 << VMLAND_WAIT_BITS) - VMLAND_WAIT_BITS;
	return (above << VMLAND_WAIT_BITS) + (n >> above);
}

/* The wait of a vCPU begins. @woken: by a wake-up. */
static __always_inline void wait_begins(struct vmland_task_ctx *taskc, bool woken, u64 now)
{
	taskc->ready_since = now;
	taskc->ready_woken = woken;
}

/* A vCPU of the VM in @slot has waited for @ns. Not static: the verifier checks it once. */
__noinline int wait_count(u32 slot, bool woken, u64 ns)
{
	struct vmland_waits *waits = bpf_map_lookup_elem(&vmland_waits, &slot);
	struct vmland_histogram *histogram;
	u32 bucket = wait_bucket(ns);

	if (!waits)
		return 0;
	histogram = woken ? &waits->woken : &waits->others;
	if (bucket >= VMLAND_WAIT_BUCKETS)
		bucket = VMLAND_WAIT_BUCKETS - 1;
	__sync_fetch_and_add(&histogram->sum_ns, ns);
	__sync_fetch_and_add(&histogram->buckets[bucket], 1);
	return 0;
}

/* The task of @taskc runs. */
static __always_inline void wait_ends(struct vmland_task_ctx *taskc, u64 now)
{
	u64 since = taskc->ready_since;

	taskc->ready_since = 0;
	if (since && is_vcpu(taskc))
		wait_count(taskc->vm_slot, taskc->ready_woken, time_delta(now, since));
}

#endif /* VMLAND_WAITS_WAITS_BPF_H */
