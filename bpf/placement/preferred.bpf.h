/* SPDX-License-Identifier: GPL-2.0-only */
/* The CPUs that each VM prefers, by its slot. prefer.bpf.c writes it, prefer.bpf.h reads it. */
#ifndef VMLAND_PLACEMENT_PREFERRED_BPF_H
#define VMLAND_PLACEMENT_PREFERRED_BPF_H

#include <scx/common.bpf.h>
#include "../intf.h"

struct vmland_preferred {
	struct bpf_cpumask __kptr *cpus;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_preferred);
} vmland_preferred SEC(".maps");

#endif /* VMLAND_PLACEMENT_PREFERRED_BPF_H */
