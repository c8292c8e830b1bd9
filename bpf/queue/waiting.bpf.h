/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether tasks wait in the queue of any domain, from the nearest on. */
#ifndef VMLAND_QUEUE_WAITING_BPF_H
#define VMLAND_QUEUE_WAITING_BPF_H

#include "../framework.bpf.h"
#include "../context/queues.bpf.h"
#include "../domain/domain.bpf.h"

/* Not static, so that the verifier checks it once, and not at each call. */
__noinline int any_domain_waits(s32 cpu)
{
	u32 own = domain_of(cpu), i;

	bpf_for(i, 0, nr_domains)
		if (scx_bpf_dsq_nr_queued(domain_queue(domain_near(own, i))))
			return true;
	return false;
}

/* Does a task wait that @cpu, which would idle, may take? */
static __always_inline bool any_queued(s32 cpu)
{
	return scx_bpf_dsq_nr_queued(shared_queue_of(cpu)) || scx_bpf_dsq_nr_queued(cpu) ||
	       (many_domains() && any_domain_waits(cpu));
}

#endif /* VMLAND_QUEUE_WAITING_BPF_H */
