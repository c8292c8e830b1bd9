/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slices: how long a task runs before it competes again. The slice of its settings
 * (params/effective.bpf.h) counts for its deadline and the bounds of its lag. It runs for less
 * than that where a long slice has no use, or where many tasks wait.
 *
 * No siblings. A slice is long so that siblings run at the same time for long
 * (handoff/turn.bpf.h). A task that is no vCPU, and the only vCPU of a VM, run for
 * vmland_slice_min_ns at a time, unless the VM's settings say otherwise. So neither waits long
 * for the other: a vCPU that competes with two threads of its VMM would not run for two long
 * slices after each of its own.
 *
 * Crowd. With more than CROWD_NS / slice tasks on a CPU a round of the queue would take longer
 * than CROWD_NS. So slices get shorter in proportion, but no shorter than CROWD_SLICE_NS.
 *
 *   constant        value  why
 *   CROWD_NS        1 s    Far above what tasks wait for on a host that is of any use, and far
 *                          below the time after which the kernel ejects the scheduler.
 *   CROWD_SLICE_NS  1 ms   Beyond it, context switches would cost too much. 10 000 tasks on a
 *                          CPU come round in 10 s.
 */
#ifndef VMLAND_QUEUE_SLICE_BPF_H
#define VMLAND_QUEUE_SLICE_BPF_H

#include "../framework.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../params/params.bpf.h"

#define CROWD_NS (1000 * 1000 * 1000ULL)
#define CROWD_SLICE_NS (1000 * 1000ULL)

/* Does the task of @taskc have siblings, or a slice of its VM's settings? */
static __always_inline bool needs_whole_slice(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_ctx *vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;

	return taskc->slice_ns != slice_ns || (vmc && vmc->nr_vcpus > 1);
}

/* How long @p, which comes from a queue or goes on, is to run on @cpu of @slice ns. */
static __always_inline u64 slice_to_run(const struct task_struct *p,
					const struct vmland_task_ctx *taskc, s32 cpu, u64 slice)
{
	u64 cpus = many_domains() ? domains[domain_of(cpu)].nr_cpus : p->nr_cpus_allowed;
	u64 waiting = scx_bpf_dsq_nr_queued(cpu) +
		      scx_bpf_dsq_nr_queued(shared_queue_of(cpu)) / (cpus ?: 1), crowd;

	if (slice > vmland_slice_min_ns && !needs_whole_slice(taskc))
		slice = vmland_slice_min_ns;
	if (waiting <= CROWD_NS / slice_ns)
		return slice;
	crowd = CROWD_NS / waiting;
	if (crowd < CROWD_SLICE_NS)
		crowd = CROWD_SLICE_NS;
	return crowd < slice ? crowd : slice;
}

#endif /* VMLAND_QUEUE_SLICE_BPF_H */
