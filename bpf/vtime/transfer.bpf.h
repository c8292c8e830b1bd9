/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transfer of vruntime: a yielder is not to run again before its target.
 *
 * Problem. A yielder that has the least vruntime is chosen again at once. "Prevent CFS from
 * ignoring boost requests from KVM" (RFC, April 2021) raises the vruntime of the yielder
 * beyond that of the target. Then a VM whose vCPUs yield loses the difference.
 *
 * Mechanism. If the target runs next, the two get the same vruntime: what is added to the
 * yielder's is taken from the target's, by their weights. The VM has the same sum as before.
 * If the target has to wait, no vruntime is transferred; the yielder gets a deadline behind
 * the target's, once. With a transfer, a VM whose vCPUs changed places in the queues waited
 * where it stood before, and lost 28 % of its share in the end (tests/sim).
 */
#ifndef VMLAND_VTIME_TRANSFER_BPF_H
#define VMLAND_VTIME_TRANSFER_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "vtime.bpf.h"

/*
 * Transfers at most @vtime of the yielder's weight to it from the target. Neither leaves
 * the bounds of its lag: what does not fit is not transferred, as it would be lost to the
 * VM. Nothing is transferred where the skew of siblings is bounded (cosched/skew.bpf.h), as
 * a transfer increases the skew for good.
 */
static void transfer_vruntime(struct vmland_task_ctx *yielderc, struct vmland_task_ctx *targetc,
			      u64 vtime, const struct vmland_cpu_ctx *cpuc)
{
	u64 yielder_weight = yielderc->weight ?: 1, target_weight = targetc->weight ?: 1;
	s64 yielder_room = cpuc->vtime + DEBT_SLICES * slice_vtime(yielderc) -
			   yielderc->vruntime;
	s64 target_room = targetc->vruntime - cpuc->vtime +
			  CREDIT_SLICES * slice_vtime(targetc);

	if (yielderc->skew_ns || yielder_room <= 0 || target_room <= 0)
		return;
	target_room = target_room * target_weight / yielder_weight;
	if (vtime > (u64)yielder_room)
		vtime = yielder_room;
	if (vtime > (u64)target_room)
		vtime = target_room;
	yielderc->vruntime += vtime;
	targetc->vruntime -= vtime * yielder_weight / target_weight;
}

/* Gives the yielder and the target the same vruntime, if the yielder's is less. */
static void equalize_vruntime(struct vmland_task_ctx *yielderc, struct vmland_task_ctx *targetc,
			      const struct vmland_cpu_ctx *cpuc)
{
	if (!time_after(yielderc->vruntime, targetc->vruntime))
		transfer_vruntime(yielderc, targetc,
				  (targetc->vruntime - yielderc->vruntime) / 2 + 1, cpuc);
}

/* The yielder may not run before @target, which waits in a queue. */
static void defer_behind(struct vmland_task_ctx *yielderc, const struct task_struct *target,
			 const struct vmland_cpu_ctx *cpuc)
{
	/* The latest deadline that a task can have. */
	u64 most = cpuc->vtime + (DEBT_SLICES + 1) * slice_vtime(yielderc) + 1;

	yielderc->min_deadline = target->scx.dsq_vtime + 1;
	if (time_after(yielderc->min_deadline, most))
		yielderc->min_deadline = most;
}

#endif /* VMLAND_VTIME_TRANSFER_BPF_H */
