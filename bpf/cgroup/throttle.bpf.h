/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Throttling: a task whose quota or cap is used up waits until the period ends.
 *
 * A task is throttled when it becomes runnable or leaves its CPU, and gets no runtime
 * (limits.bpf.h). It waits in a queue of its own kind, sorted by the end of the period. Then
 * a timer puts it back into its queue (watchdog/watchdog.bpf.h), with the lag that it had. Of
 * tasks that share a limit, those that have waited the longest come first. The timer gives
 * each task the runtime that it needs to wait for a CPU, and those for which there is none go
 * on waiting. So a thousand tasks do not enter the queues for a quota that is enough for one.
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
#include "../intf.h"
#include "cgroup.bpf.h"

/* Tasks whose period ends at the same time are apart by at most this, in ns: 100 us. */
#define THROTTLED_ORDER_NS (100 * 1000ULL)

/*
 * The place of a task that is throttled until @until in the queue of the throttled: earlier,
 * the longer it has waited. After RESCUE_THROTTLED_NS it is not throttled any more.
 */
static __always_inline u64 throttled_place(const struct vmland_task_ctx *taskc, u64 until,
					   u64 now)
{
	u64 waited = now - taskc->wait_start;
	u64 earlier = waited / (RESCUE_THROTTLED_NS / THROTTLED_ORDER_NS);
	u64 rescue = taskc->wait_start + RESCUE_THROTTLED_NS + 1;

	if (earlier > THROTTLED_ORDER_NS)
		earlier = THROTTLED_ORDER_NS;
	until += THROTTLED_ORDER_NS - earlier;
	return time_before(rescue, until) ? rescue : until;
}

/* The task of @taskc, which belongs to @cpu, goes to the queue of the throttled. */
static __always_inline void throttle(struct vmland_task_ctx *taskc, s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
	taskc->throttled_lag = cpuc ? taskc->vruntime - cpuc->vtime : 0;
	taskc->throttled_since = now;
	count(VMLAND_THROTTLED);
}

/* The task of @taskc leaves that for a queue of @cpu, if it was there. */
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

#endif /* VMLAND_CGROUP_THROTTLE_BPF_H */
