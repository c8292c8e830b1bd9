/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Gangs: the vCPUs of a VM have their turns at the same time, where the planner has found
 * that they spin for each other (src/planner.rs), or an administrator asks for it (cosched =
 * "strict").
 *
 * Problem. A vCPU that holds a lock, or is the last to come to a barrier, and has no CPU,
 * makes its siblings spin for the rest of their turns.
 *
 * Mechanism. Two rules make gangs of what the queue does anyway.
 *   Turns end at the same time: while there is a gang, all turns on all CPUs end at multiples of the
 *   slice, by timer. So CPUs choose at the same time.
 *   Siblings wait by one deadline: all waiting vCPUs of a gang have that of their VM.
 *   So they are neighbours in the queue, and CPUs that choose at the same time take one after
 *   the other. The CPUs that are left take what comes next.
 * A vCPU that becomes runnable during its gang's turn has the deadline of that turn, and may
 * preempt (placement/preempt.bpf.h).
 *
 * Limits. No CPU idles because of it. A gang that is wider than the CPUs that are free has its
 * turn in parts. Pinned vCPUs wait in the queues of their CPUs, by the same deadline.
 *
 *   constant            value    why
 *   GANG_DEADLINE_BITS  12       Low bits of a deadline that hold the slot of the VM, so that
 *                                the deadlines of two gangs do not mix: 4 us.
 *   GANG_REST_NS        100 us   A shorter rest of a turn counts as none.
 *   GANG_FORGOTTEN_NS   1 s      Turns are aligned for so long after the last gang.
 */
#ifndef VMLAND_COSCHED_GANG_BPF_H
#define VMLAND_COSCHED_GANG_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vm.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../intf.h"
#include "../params/params.bpf.h"
#include "../vtime/lag.bpf.h"
#include "../vtime/vtime.bpf.h"

#define GANG_DEADLINE_BITS 12
#define GANG_REST_NS (100 * 1000ULL)
#define GANG_FORGOTTEN_NS (1000 * 1000 * 1000ULL)

static __always_inline bool gang_has_turn(const struct vmland_vm_ctx *vmc, u64 now)
{
	return time_before(now + GANG_REST_NS, vmc->turn_end);
}

/*
 * The deadline of the waiting vCPUs of the VM of @taskc, which competes at @vtime. The first one
 * whose turn ends computes it: for those that have not been charged yet it adds what they will be.
 */
static __always_inline u64 gang_deadline(const struct vmland_task_ctx *taskc, u64 vtime, u64 now)
{
	struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);
	u64 vruntime, still;

	if (!vmc)
		return deadline(taskc);
	if (gang_has_turn(vmc, now) || vmc->waits)
		return vmc->turn_deadline;
	still = (u64)(vmc->nr_running - (taskc->running ? 1 : 0)) * (now - vmc->turn_start);
	vruntime = lag_base(taskc, vtime, CREDIT_SLICES) +
		   ns_to_vtime(still, taskc->vm_weight ?: 1);
	vmc->turn_deadline = ((vruntime + slice_vtime(taskc)) >> GANG_DEADLINE_BITS <<
			      GANG_DEADLINE_BITS) + taskc->vm_slot % (1 << GANG_DEADLINE_BITS);
	vmc->waits = true;
	return vmc->turn_deadline;
}

/*
 * When a turn of @slice ns that begins now ends, while there is a gang: with all others, at the
 * multiple that is nearest. A shorter turn than usual ends when it is over, or with the others.
 */
static __always_inline u64 turn_end_aligned(u64 now, u64 slice)
{
	u64 whole = slice < slice_ns ? 0 : slice - slice_ns / 2;
	u64 end = ((now + whole) / slice_ns + 1) * slice_ns;

	if (!time_before(now + GANG_REST_NS, end))
		end += slice_ns;
	return slice < slice_ns && time_before(now + slice, end) ? now + slice : end;
}

/* When the turn of @taskc, which is of a gang and begins to run, ends. */
static __always_inline u64 gang_turn_end(const struct vmland_task_ctx *taskc, u64 now)
{
	struct vmland_vm_ctx *vmc = vmc_of(taskc->vm_slot);

	if (!vmc)
		return now + taskc->slice_ns;
	if (!gang_has_turn(vmc, now)) {
		vmc->turn_start = now;
		vmc->turn_end = turn_end_aligned(now, taskc->slice_ns);
		vmc->waits = false;
		count(VMLAND_GANG_TURNS);
	}
	return vmc->turn_end;
}

/*
 * A turn of @slice ns begins on the CPU of @cpuc with @p, which runs there from now on. While
 * there is a gang, it ends with all other turns.
 */
static __always_inline void turn_start(struct task_struct *p, const struct vmland_task_ctx *taskc,
				       struct vmland_cpu_ctx *cpuc, u64 slice)
{
	u64 now = taskc->run_start;

	if (any_gang && time_after(now, last_gang_at + GANG_FORGOTTEN_NS))
		any_gang = false;
	if (any_gang)
		slice = (taskc->gang ? gang_turn_end(taskc, now) :
				       turn_end_aligned(now, slice)) - now;
	scx_bpf_task_set_slice(p, slice);
	turn_begin(cpuc, now, slice);
	if (any_gang)
		cpuc->stop_at = cpuc->turn_end;
}

#endif /* VMLAND_COSCHED_GANG_BPF_H */
