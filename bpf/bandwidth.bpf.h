/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bandwidth: a quota of CPU time a period.
 *
 * One of these is the cpu.max of a cgroup, or the cap of a VM. Those it is for use it
 * up as they run; what is left over at the end of the period is lost, but for the
 * burst. Several CPUs use up the same quota, and the kernel ends a turn with a tick:
 * what is overdrawn is a debt and paid from the next quota, as far as there remains
 * a part to go on with. So nobody is held back for longer than one period, whoever
 * may be waiting for him, and a quota that is less than a tick on each of those CPUs is
 * overdrawn on the whole.
 */
#ifndef VMLAND_BANDWIDTH_BPF_H
#define VMLAND_BANDWIDTH_BPF_H

/* This part of the quota there always is in a period, whatever the debt: 1/8. */
#define QUOTA_SURE 8

struct vmland_bandwidth {
	u64 quota_ns;		/* 0: no limit */
	u64 period_ns;
	u64 burst_ns;
	u64 period_end;		/* scx_bpf_now() */
	s64 left_ns;		/* below 0: a debt */
};

/* By VM slot: its cap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_bandwidth);
} vmland_caps SEC(".maps");

/* There is, or has been, a limit somewhere. */
static bool any_limit;

static __always_inline void bandwidth_set(struct vmland_bandwidth *b, u64 quota_ns,
					  u64 period_ns, u64 burst_ns)
{
	b->quota_ns = 0;
	b->period_ns = period_ns;
	b->burst_ns = burst_ns;
	b->left_ns = quota_ns;
	b->period_end = scx_bpf_now() + period_ns;
	b->quota_ns = quota_ns;
	if (quota_ns)
		any_limit = true;
}

static __always_inline void cap_set(u32 vm_slot, u64 cap_ns)
{
	struct vmland_bandwidth *cap = bpf_map_lookup_elem(&vmland_caps, &vm_slot);

	if (cap && cap->quota_ns != cap_ns)
		bandwidth_set(cap, cap_ns, VMLAND_CAP_PERIOD, 0);
}

/* The period that was the last is over at @now. */
static __always_inline void bandwidth_refill(struct vmland_bandwidth *b, u64 now)
{
	s64 quota = b->quota_ns, left, then;
	u64 end = b->period_end, periods;

	if (!b->period_ns)
		return;
	periods = (now - end) / b->period_ns + 1;
	if (__sync_val_compare_and_swap(&b->period_end, end,
					end + periods * b->period_ns) != end)
		return;
	left = b->left_ns;
	/* After three there is nothing that could not have been given. */
	then = left + quota * (s64)(periods < 3 ? periods : 3);
	if (then < quota / QUOTA_SURE)
		then = quota / QUOTA_SURE;
	if (then > quota + (s64)b->burst_ns)
		then = quota + b->burst_ns;
	/* By the difference: others use it up at the same time. */
	__sync_fetch_and_add(&b->left_ns, then - left);
}

/* When there will be something left of @b; 0: there is. */
static __always_inline u64 bandwidth_throttled_until(struct vmland_bandwidth *b, u64 now)
{
	if (!b->quota_ns)
		return 0;
	if (!time_before(now, b->period_end))
		bandwidth_refill(b, now);
	return b->left_ns > 0 ? 0 : b->period_end;
}

static __always_inline void bandwidth_consume(struct vmland_bandwidth *b, u64 ns)
{
	if (b->quota_ns)
		__sync_fetch_and_sub(&b->left_ns, ns);
}

#endif /* VMLAND_BANDWIDTH_BPF_H */
