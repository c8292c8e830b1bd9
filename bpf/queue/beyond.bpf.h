/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Beyond: taking a task from the queue of another domain.
 *
 * Problem. With a queue for each domain, a CPU would idle while tasks wait in another domain, and
 * tasks of a full domain would get less than their share.
 *
 * Mechanism. A CPU that would idle takes the first task of the nearest queue that has one. A busy
 * CPU looks at the queue of one other domain, at another one each time. The head there is compared
 * with what is here by deadlines, to which the distance is added (domain/distance.bpf.h). So domains
 * are that far apart in virtual time before tasks move, and no further: what a task gets depends on
 * its weight, and not on its domain.
 *
 * Limits. That a queue is late shows after a while: with 16 CPUs a domain and 32 domains, each
 * domain is looked at by each other one every 40 ms.
 *
 *   constant      value  why
 *   LOOK_EVERY    2      A busy CPU looks beyond at each second dispatch: what it looks at comes
 *                        out of another domain's caches.
 */
#ifndef VMLAND_QUEUE_BEYOND_BPF_H
#define VMLAND_QUEUE_BEYOND_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../domain/domain.bpf.h"
#include "queue.bpf.h"

#define LOOK_EVERY 2

/* Is this dispatch on the CPU of @cpuc one of those that look beyond? */
static __always_inline bool looks_beyond(struct vmland_cpu_ctx *cpuc)
{
	return many_domains() && !(++cpuc->dispatches % LOOK_EVERY);
}

/* The queue that @cpu, of @cpuc, is to look at next. */
static __always_inline u64 next_beyond(struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	u32 others = nr_domains - 1, turn = cpuc->looks++ + cpu;

	return domain_queue(domain_near(domain_of(cpu), 1 + turn % (others ?: 1)));
}

/*
 * Nobody waits in the domain of @cpu, so that its vtime stands still. Returns the queue of another
 * domain in which somebody does; 0: there is none.
 */
__noinline u64 nobody_waits_near(struct vmland_cpu_ctx *cpuc __arg_nonnull, s32 cpu)
{
	u64 dsq;
	u32 i;

	vtime_catch_up(cpuc);
	bpf_for(i, 1, nr_domains) {
		dsq = next_beyond(cpuc, cpu);
		if (scx_bpf_dsq_nr_queued(dsq))
			return dsq;
	}
	return 0;
}

/* @cpu, which is this CPU, would idle: takes the nearest task. Returns whether there is one. */
__noinline int take_beyond(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u32 own = domain_of(cpu), i;
	u64 dsq;

	if (!cpuc)
		return false;
	bpf_for(i, 1, nr_domains) {
		dsq = domain_queue(domain_near(own, i));
		if (scx_bpf_dsq_nr_queued(dsq) && queue_take(dsq, cpuc))
			return true;
	}
	return false;
}

#endif /* VMLAND_QUEUE_BEYOND_BPF_H */
