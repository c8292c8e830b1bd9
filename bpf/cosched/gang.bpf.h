/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Gangs: the vCPUs of a VM have their turns at the same time, where the planner has found
 * that they spin for each other (src/planner.rs).
 *
 * Problem. A vCPU that holds a lock, or is the last to come to a barrier, and has no CPU,
 * makes its siblings spin for the rest of their turns.
 *
 * Mechanism. Two rules make gangs of what the queue does anyway.
 *   Turns end together: while there is a gang, all turns on all CPUs end at multiples of the
 *   slice, by timer. So CPUs choose at the same time.
 *   Siblings wait together: all waiting vCPUs of a gang have one deadline, that of their VM.
 *   So they are neighbours in the queue, and CPUs that choose at the same time take one after
 *   the other. What is left of the CPUs takes the next VM.
 *
 * A vCPU that becomes runnable during its gang's turn has the deadline of that turn, which is
 * earlier than that of anybody who waits.
 */
#ifndef VMLAND_COSCHED_GANG_BPF_H
#define VMLAND_COSCHED_GANG_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vm.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../vtime/lag.bpf.h"
#include "../vtime/vtime.bpf.h"

/* Deadlines of two gangs do not mix: these bits are the slot of the VM. */
#define GANG_DEADLINE_BITS 12

/* A rest of a turn that is shorter, in ns, counts as none. */
#define GANG_REST_NS (100 * 1000ULL)

static __always_inline bool gang_has_turn(const struct vmland_vm_ctx *vmc, u64 now)
{
	return time_before(now + GANG_REST_NS, vmc->turn_end);
}

/* @taskc begins or ceases to run. */
static __always_inline void vm_count_running(struct vmland_task_ctx *taskc, bool runs)
{
	struct vmland_vm_ctx *vmc;

	if (taskc->running == runs)
		return;
	vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	taskc->running = runs && vmc;
	if (!vmc)
		return;
	if (runs)
		__sync_fetch_and_add(&vmc->nr_running, 1);
	else
		__sync_fetch_and_sub(&vmc->nr_running, 1);
}

/*
 * The deadline of the waiting vCPUs of the VM of @taskc. @cpuc is of the CPU that @taskc waits
 * for. The first one whose turn ends computes it: for those that have not been charged yet it
 * adds what they will be.
 */
static __always_inline u64 gang_deadline(const struct vmland_task_ctx *taskc,
					 const struct vmland_cpu_ctx *cpuc, u64 now)
{
	struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);
	u64 vruntime, still;

	if (!vmc)
		return deadline(taskc);
	if (gang_has_turn(vmc, now) || vmc->waits)
		return vmc->turn_deadline;
	still = (u64)(vmc->nr_running - (taskc->running ? 1 : 0)) * (now - vmc->turn_start);
	vruntime = lag_base(taskc, cpuc->vtime, CREDIT_SLICES) +
		   ns_to_vtime(still, taskc->vm_weight ?: 1);
	vmc->turn_deadline = ((vruntime + slice_vtime(taskc)) >> GANG_DEADLINE_BITS <<
			      GANG_DEADLINE_BITS) + taskc->vm_slot % (1 << GANG_DEADLINE_BITS);
	vmc->waits = true;
	return vmc->turn_deadline;
}

/*
 * The end of a turn of @slice ns that begins now. While there is a gang, all turns end at
 * the same time.
 */
static __always_inline u64 turn_end_aligned(u64 now, u64 slice)
{
	return (now + slice + slice_ns / 2) / slice_ns * slice_ns;
}

/* A turn of @taskc, which is of a gang, begins. Returns when it is to end. */
static __always_inline u64 gang_turn_end(const struct vmland_task_ctx *taskc, u64 now, u64 slice)
{
	struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);

	if (!vmc)
		return now + slice;
	if (!gang_has_turn(vmc, now)) {
		vmc->turn_start = now;
		vmc->turn_end = turn_end_aligned(now, slice);
		vmc->waits = false;
	}
	return vmc->turn_end;
}

#endif /* VMLAND_COSCHED_GANG_BPF_H */
