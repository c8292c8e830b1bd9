/* SPDX-License-Identifier: GPL-2.0-only */
/* All simulated CPUs are alike, and share one cache. */
#ifndef SIM_PERCPU_BPF_H
#define SIM_PERCPU_BPF_H

static inline int cpu_llc_id(s32 cpu)
{
	return 0;
}

static inline int cpu_priority(s32 cpu)
{
	return 0;
}

#endif
