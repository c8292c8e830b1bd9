/* SPDX-License-Identifier: GPL-2.0-only */
/* Claiming an idle CPU, to wake it for a task. */
#ifndef VMLAND_PLACEMENT_CLAIM_BPF_H
#define VMLAND_PLACEMENT_CLAIM_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"

/* Attempts, of which each but the last one meets a CPU that is offline. */
#define CLAIM_ATTEMPTS 4

static __always_inline bool is_offline(s32 cpu)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	return cpuc && cpuc->offline;
}

/*
 * Claims an idle CPU of @cpus; negative: there is none. The kernel's mask has CPUs that have gone
 * offline, too (hotplug.bpf.h): such a CPU leaves it here.
 */
static __always_inline s32 claim_idle(const struct cpumask *cpus)
{
	s32 cpu = -1;
	int i;

	bpf_for(i, 0, CLAIM_ATTEMPTS) {
		cpu = scx_bpf_pick_idle_cpu(cpus, 0);
		if (cpu < 0 || !is_offline(cpu))
			return cpu;
	}
	return -1;
}

#endif /* VMLAND_PLACEMENT_CLAIM_BPF_H */
