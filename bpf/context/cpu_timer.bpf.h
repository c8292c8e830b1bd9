/* SPDX-License-Identifier: GPL-2.0-only */
/* A timer for each CPU: an entry of an array map, by CPU, that is set up at its first use. */
#ifndef VMLAND_CONTEXT_CPU_TIMER_BPF_H
#define VMLAND_CONTEXT_CPU_TIMER_BPF_H

#include <scx/common.bpf.h>

/* uapi/linux/time.h */
#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif

struct vmland_cpu_timer {
	struct bpf_timer timer;
	bool ready;
};

/* This CPU's timer of @map, which calls @callback; NULL: there is none. */
#define cpu_timer_here(map, callback)							\
({											\
	u32 cpu__ = bpf_get_smp_processor_id();						\
	struct vmland_cpu_timer *it__ = bpf_map_lookup_elem(&(map), &cpu__);		\
											\
	if (it__ && !it__->ready) {							\
		if (bpf_timer_init(&it__->timer, &(map), CLOCK_MONOTONIC) ||		\
		    bpf_timer_set_callback(&it__->timer, callback))			\
			it__ = NULL;							\
		else									\
			it__->ready = true;						\
	}										\
	it__;										\
})

static __always_inline void cpu_timer_start(struct vmland_cpu_timer *it, u64 ns)
{
	bpf_timer_start(&it->timer, ns, BPF_F_TIMER_CPU_PIN);
}

#endif /* VMLAND_CONTEXT_CPU_TIMER_BPF_H */
