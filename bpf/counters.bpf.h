/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters: a per-CPU array indexed by enum vmland_counter (intf.h). */
#ifndef VMLAND_COUNTERS_BPF_H
#define VMLAND_COUNTERS_BPF_H

#include <scx/common.bpf.h>
#include "intf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VMLAND_NR_COUNTERS);
	__type(key, u32);
	__type(value, u64);
} vmland_counters SEC(".maps");

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&vmland_counters, &counter);

	if (value)
		(*value)++;
}

#endif /* VMLAND_COUNTERS_BPF_H */
