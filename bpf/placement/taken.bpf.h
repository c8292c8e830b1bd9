/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs that a higher scheduling class takes.
 *
 * Problem. When a real-time or deadline task takes a CPU, the task that had it, and others in
 * the CPU's local DSQ, wait there until the CPU is free again, also when other CPUs are idle.
 *
 * Mechanism. ops.cpu_release() has the kernel enqueue them again. So they wait in the queues
 * that all CPUs take tasks from, with the deadlines that they have. The CPU's suspended turn
 * ends: no other task is to wait for its first slice there. The stopper does not count: it
 * runs for a moment, mostly to move a task.
 *
 * Limits. The kernel calls this op only where the CPU switches from a task of sched_ext. A task
 * that is put on an idle CPU in the moment in which that CPU is taken waits there.
 */
#ifndef VMLAND_PLACEMENT_TAKEN_BPF_H
#define VMLAND_PLACEMENT_TAKEN_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"

static __always_inline void cpu_is_taken(s32 cpu, const struct scx_cpu_release_args *args)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (args->reason == SCX_CPU_PREEMPT_STOP)
		return;
	if (cpuc)
		cpuc->suspended_pid = 0;
	scx_bpf_reenqueue_local();
}

#endif /* VMLAND_PLACEMENT_TAKEN_BPF_H */
