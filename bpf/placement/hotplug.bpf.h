/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs that go offline and come back.
 *
 * Problem. A scheduler without these ops is ejected whenever a CPU goes or comes.
 *
 * Mechanism. The kernel asks for no decision about a CPU between the two, and takes the CPU's
 * tasks away one by one as they are about to run. But it waits for those in the queues: a task
 * that may use no other CPU would stay there for ever. So all tasks of the CPU go to its local
 * DSQ, from where the kernel moves them to other CPUs; and so do those that get into a queue
 * later, out of another one. And the CPU is not to be claimed as an idle one (claim.bpf.h): the
 * kernel leaves its bit in the mask of idle CPUs, and a task that this CPU was woken for would
 * wait beside others that are idle.
 */
#ifndef VMLAND_PLACEMENT_HOTPLUG_BPF_H
#define VMLAND_PLACEMENT_HOTPLUG_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "claim.bpf.h"

/* Some CPU is, or has been, offline. */
static bool any_offline;

/* The tasks in @queue leave it whose CPUs are offline. */
static int tasks_leave(u64 queue)
{
	struct task_struct *p;
	s32 cpu;

	bpf_for_each(scx_dsq, p, queue, 0) {
		cpu = scx_bpf_task_cpu(p);
		if (is_offline(cpu))
			scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | cpu, 0);
	}
	return 0;
}

/* Likewise those in all queues of domains. A task of any CPU may be in each of them. */
static int tasks_leave_domains(void)
{
	u32 i;

	bpf_for(i, 0, nr_domains)
		tasks_leave(domain_queue(i));
	return 0;
}

/* Tasks may have been put into queues of CPUs that are offline: they leave. */
static int tasks_leave_offline(void)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids)
		if (is_offline(cpu))
			tasks_leave(cpu);
	return tasks_leave_domains();
}

/* ops.cpu_offline(). */
static __always_inline void cpu_goes_offline(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (!cpuc)
		return;
	cpuc->offline = any_offline = true;
	tasks_leave(cpu);
	tasks_leave_domains();
	cpuc->curr_weight = 0;
	cpuc->suspended_pid = 0;
	cpuc->handoff_pid = cpuc->expected_pid = 0;
}

#endif /* VMLAND_PLACEMENT_HOTPLUG_BPF_H */
