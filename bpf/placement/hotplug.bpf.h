/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs that go offline and come back.
 *
 * Problem. A scheduler without these ops is ejected whenever a CPU goes or comes.
 *
 * Mechanism. The kernel calls no other op for a CPU between the two, and takes the CPU's
 * tasks away one by one as they are about to run. Other CPUs take what waits in the queues
 * that are for all. Only the tasks that are bound to the CPU would wait for ever: they go to
 * its local DSQ, from where the kernel moves them to another CPU.
 */
#ifndef VMLAND_PLACEMENT_HOTPLUG_BPF_H
#define VMLAND_PLACEMENT_HOTPLUG_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"

/* ops.cpu_offline(). */
static __always_inline void cpu_goes_offline(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, cpu, 0)
		scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | cpu, 0);
	if (!cpuc)
		return;
	cpuc->curr_weight = 0;
	cpuc->handoff_pid = cpuc->expected_pid = 0;
}

#endif /* VMLAND_PLACEMENT_HOTPLUG_BPF_H */
