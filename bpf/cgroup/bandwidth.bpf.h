/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bandwidth: a quota of CPU time in each period.
 *
 * It is used twice: for the cpu.max of a cgroup, and for the cap of a VM. Tasks take CPU
 * time from it before they use it, and return what they do not need (limits.bpf.h).
 *
 * Rest. What is left at the end of a period is lost, except for the burst. If tasks could not
 * use it, as they waited for a CPU, it is kept, up to a quota: the turns of others can be as
 * long as a short period. An eighth of a quota is always kept: what a task took in advance and
 * returned, when the others were throttled already, would be lost. The fair class keeps what
 * its CPUs hold, sched_cfs_bandwidth_slice_us each.
 *
 * Debt. Tasks that are never throttled overdraw a quota. The whole debt is taken from later
 * periods, so that in the long run no more than the quota is used.
 */
#ifndef VMLAND_CGROUP_BANDWIDTH_BPF_H
#define VMLAND_CGROUP_BANDWIDTH_BPF_H

#include <scx/common.bpf.h>
#include "../intf.h"

/* More than any quota, in ns. */
#define BANDWIDTH_NO_LIMIT ((s64)(~0ULL >> 1))

struct vmland_bandwidth {
	u64 quota_ns;		/* 0: no limit */
	u64 period_ns;
	u64 burst_ns;
	u64 period_end;		/* scx_bpf_now() */
	s64 left_ns;		/* below 0: a debt */
};

/* The cap of each VM, by its slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_bandwidth);
} vmland_caps SEC(".maps");

/* Some quota or cap is, or has been, set. Without one, no task is checked for it. */
static bool any_limit;

static __always_inline void bandwidth_set(struct vmland_bandwidth *bw, u64 quota_ns,
					  u64 period_ns, u64 burst_ns)
{
	bw->quota_ns = 0;
	bw->period_ns = period_ns;
	bw->burst_ns = burst_ns;
	bw->left_ns = quota_ns;
	bw->period_end = scx_bpf_now() + period_ns;
	bw->quota_ns = quota_ns;
	if (quota_ns)
		any_limit = true;
}

static __always_inline void cap_set(u32 vm_slot, u64 cap_ns)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);

	if (cap && cap->quota_ns != cap_ns)
		bandwidth_set(cap, cap_ns, VMLAND_CAP_PERIOD, 0);
}

/* The part of a quota that is kept at the end of a period though no task waits: 1/8. */
#define QUOTA_KEPT 8

/* Starts the period of @bw that @now is in. @waited: tasks of it are runnable. */
static __always_inline void bandwidth_refill(struct vmland_bandwidth *bw, u64 now, bool waited)
{
	u64 quota = bw->quota_ns, period = bw->period_ns, end = bw->period_end, periods, most, kept;
	s64 left, then;

	if (!quota || !period)
		return;
	periods = (now - end) / period + 1;
	if (__sync_val_compare_and_swap(&bw->period_end, end, end + periods * period) != end)
		return;
	left = bw->left_ns;
	/*
	 * Two quotas fill it up from nothing, as a burst is no more than a quota. The bound
	 * keeps the product from an overflow.
	 */
	most = left < 0 ? -left / quota + 3 : 2;
	then = left + quota * (periods < most ? periods : most);
	kept = waited ? quota : quota / QUOTA_KEPT;
	if (kept < bw->burst_ns)
		kept = bw->burst_ns;
	if (then > (s64)(quota + kept))
		then = quota + kept;
	/* The difference is added, as other CPUs take from it at the same time. */
	__sync_fetch_and_add(&bw->left_ns, then - left);
}

/*
 * What is left of @bw at @now, in ns; BANDWIDTH_NO_LIMIT: it has no quota. @waited: tasks
 * of it are runnable.
 */
static __always_inline s64 bandwidth_left(struct vmland_bandwidth *bw, u64 now, bool waited)
{
	if (!bw->quota_ns)
		return BANDWIDTH_NO_LIMIT;
	if (!time_before(now, bw->period_end))
		bandwidth_refill(bw, now, waited);
	return bw->left_ns;
}

/* The end of the period, if @bw has no CPU time left at @now; else 0. */
static __always_inline u64 bandwidth_throttled_until(struct vmland_bandwidth *bw, u64 now,
						     bool waited)
{
	return bandwidth_left(bw, now, waited) > 0 ? 0 : bw->period_end;
}

static __always_inline void bandwidth_consume(struct vmland_bandwidth *bw, s64 ns)
{
	if (bw->quota_ns)
		__sync_fetch_and_sub(&bw->left_ns, ns);
}

#endif /* VMLAND_CGROUP_BANDWIDTH_BPF_H */
