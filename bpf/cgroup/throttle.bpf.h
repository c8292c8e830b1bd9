/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Throttling: a task whose quota or cap is used up waits until the period ends.
 *
 * A task is throttled when it becomes runnable, when it leaves its CPU, or when it gets
 * to the head of a queue. It waits in THROTTLED_DSQ, sorted by the end of the period.
 * Then a timer puts it back into its queue (watchdog/watchdog.bpf.h), with the lag that
 * it had. So tasks that share a limit keep their order. It may have to be throttled
 * again when it gets to the head of the queue.
 *
 * A throttled task is not counted as runnable, so its siblings in the cgroup tree get
 * its share.
 */
#ifndef VMLAND_CGROUP_THROTTLE_BPF_H
#define VMLAND_CGROUP_THROTTLE_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vcpu.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "cgroup.bpf.h"
#include "limits.bpf.h"

/* The task of @taskc, which belongs to @cpu, goes to THROTTLED_DSQ. */
static __always_inline void throttle(struct vmland_task_ctx *taskc, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
	taskc->throttled_lag = cpuc ? taskc->vruntime - cpuc->vtime : 0;
	taskc->throttled_since = now;
	count(VMLAND_THROTTLED);
}

/* The task of @taskc leaves THROTTLED_DSQ for a queue of @cpu, if it was there. */
static __always_inline void unthrottle(struct vmland_task_ctx *taskc, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_vm_ctx *vmc;
	u64 since;

	since = taskc->throttled_since ?
		__sync_lock_test_and_set(&taskc->throttled_since, 0) : 0;
	if (!since)
		return;
	if (cpuc)
		taskc->vruntime = cpuc->vtime + taskc->throttled_lag;
	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	if (vmc && time_after(now, since))
		__sync_fetch_and_add(&vmc->throttled_ns, now - since);
}

/* Throttles tasks until the first one in @dsq that may run on @cpu has CPU time left. */
__noinline int throttle_heads(u64 dsq, s32 cpu)
{
	u64 now = scx_bpf_now(), until;
	struct vmland_task_ctx *taskc;
	struct task_struct *p;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		taskc = taskc_of(p);
		if (!taskc)
			break;
		until = throttled_until(p, taskc, now);
		if (!until) {
			if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
				break;
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, until);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, THROTTLED_DSQ, 0))
			throttle(taskc, scx_bpf_task_cpu(p), now);
	}
	return 0;
}

#endif /* VMLAND_CGROUP_THROTTLE_BPF_H */
