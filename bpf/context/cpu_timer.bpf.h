/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A timer for each CPU: an entry of an array map, by CPU.
 *
 * bpf_timer_init() allocates memory. Under the lock of a run queue that can deadlock on
 * kernels before 6.16.8 (CVE-2025-39886). So all timers are set up before the first use.
 */
#ifndef VMLAND_CONTEXT_CPU_TIMER_BPF_H
#define VMLAND_CONTEXT_CPU_TIMER_BPF_H

#include <scx/common.bpf.h>

/* uapi/linux/time.h */
#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif

struct vmland_cpu_timer {
	struct bpf_timer timer;
};

/* Sets up the timer of each CPU in @map; @callback is called when one fires. */
#define cpu_timers_init(map, callback)							\
({											\
	struct vmland_cpu_timer *it__;							\
	u32 cpu__;									\
											\
	bpf_for(cpu__, 0, scx_bpf_nr_cpu_ids()) {					\
		it__ = bpf_map_lookup_elem(&(map), &cpu__);				\
		if (!it__)								\
			break;								\
		bpf_timer_init(&it__->timer, &(map), CLOCK_MONOTONIC);			\
		bpf_timer_set_callback(&it__->timer, callback);				\
	}										\
})

/* The timer of @cpu in @map. */
#define cpu_timer_of(map, cpu)								\
({											\
	u32 cpu__ = cpu;								\
											\
	(struct vmland_cpu_timer *)bpf_map_lookup_elem(&(map), &cpu__);			\
})

#define cpu_timer_here(map) cpu_timer_of(map, bpf_get_smp_processor_id())

/* It fires on this CPU. */
static __always_inline void cpu_timer_start(struct vmland_cpu_timer *it, u64 ns)
{
	bpf_timer_start(&it->timer, ns, BPF_F_TIMER_CPU_PIN);
}

#endif /* VMLAND_CONTEXT_CPU_TIMER_BPF_H */
