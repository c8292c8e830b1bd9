/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bandwidth: a quota of CPU time in each period.
 *
 * It is used twice: for the cpu.max of a cgroup, and for the cap of a VM. Running tasks
 * consume the quota. What is left at the end of a period is lost, except for the burst.
 *
 * Debt. Several CPUs consume one quota, and the kernel ends a slice only at a tick. So a
 * quota can be overdrawn. The debt is taken from the quotas of later periods, but each
 * period keeps 1/QUOTA_SURE of its quota. So nobody is throttled for longer than one
 * period. This matters for a vCPU that its siblings wait for.
 *
 * Limit. A quota that is smaller than a tick on each CPU that consumes it is overdrawn
 * in the long run.
 */
#ifndef VMLAND_CGROUP_BANDWIDTH_BPF_H
#define VMLAND_CGROUP_BANDWIDTH_BPF_H

#include <scx/common.bpf.h>
#include "../intf.h"

/*
 * Each period has at least 1/8 of its quota, whatever the debt. A larger part would let
 * a small quota be overdrawn by more, a smaller one would throttle for nearly a period.
 */
#define QUOTA_SURE 8

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

/* Starts the period of @bw that @now is in. */
static __always_inline void bandwidth_refill(struct vmland_bandwidth *bw, u64 now)
{
	s64 quota = bw->quota_ns, left, then;
	u64 end = bw->period_end, periods;

	if (!bw->period_ns)
		return;
	periods = (now - end) / bw->period_ns + 1;
	if (__sync_val_compare_and_swap(&bw->period_end, end,
					end + periods * bw->period_ns) != end)
		return;
	left = bw->left_ns;
	/*
	 * Three quotas fill it up from a debt of one quota, as a burst is no more than a
	 * quota. The bound keeps the product from an overflow.
	 */
	then = left + quota * (s64)(periods < 3 ? periods : 3);
	if (then < quota / QUOTA_SURE)
		then = quota / QUOTA_SURE;
	if (then > quota + (s64)bw->burst_ns)
		then = quota + bw->burst_ns;
	/* The difference is added, as other CPUs consume the quota at the same time. */
	__sync_fetch_and_add(&bw->left_ns, then - left);
}

/* The time at which @bw has CPU time again; 0: it has some now. */
static __always_inline u64 bandwidth_throttled_until(struct vmland_bandwidth *bw, u64 now)
{
	if (!bw->quota_ns)
		return 0;
	if (!time_before(now, bw->period_end))
		bandwidth_refill(bw, now);
	return bw->left_ns > 0 ? 0 : bw->period_end;
}

static __always_inline void bandwidth_consume(struct vmland_bandwidth *bw, u64 ns)
{
	if (bw->quota_ns)
		__sync_fetch_and_sub(&bw->left_ns, ns);
}

#endif /* VMLAND_CGROUP_BANDWIDTH_BPF_H */
