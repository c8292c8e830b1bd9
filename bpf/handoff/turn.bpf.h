/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Turns: how long a CPU is passed on by hand-offs.
 *
 * Definition. A turn of a CPU begins when the CPU takes a task without a hand-off, or keeps
 * its task for another slice. It ends when the slice of that task would have ended, whatever
 * number of hand-offs there are in between.
 *
 * Problem. With a new slice for each hand-off, siblings that waited for each other kept one
 * CPU among them as long as they spun, and did not run at the same time as their siblings
 * on other CPUs.
 *
 * Mechanism. A hand-off passes on what is left of the turn. So all CPUs return to the
 * queues after one slice. There, siblings have nearly the same deadline: they are taken at
 * the same time, and then run at the same time.
 *
 * Prolongation. A turn that is over is prolonged for the receiver of an IPI by PROLONG_NS.
 * Else sender and receiver both wait until their VM's next turn. If the receiver sends an
 * IPI itself, the next receiver follows, until all prolongations of a turn together have
 * taken vmland_slice_min_ns.
 *
 *   constant        value    why
 *   HANDOFF_SLICES  2        see may_run_out_of_turn()
 *   HANDOFF_MIN_NS  100 us   A shorter rest of a turn is not worth two context switches.
 *   PROLONG_NS      300 us   Enough for the receiver to take the interrupt. With a whole
 *                            slice it would itself send IPIs and need another one.
 */
#ifndef VMLAND_HANDOFF_TURN_BPF_H
#define VMLAND_HANDOFF_TURN_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"
#include "../params/params.bpf.h"
#include "../vtime/vtime.bpf.h"
#include "boost.bpf.h"

#define HANDOFF_SLICES 2
#define HANDOFF_MIN_NS (100 * 1000ULL)
#define PROLONG_NS (300 * 1000ULL)

/*
 * May the task of @taskc run out of turn on a CPU of vtime @vtime? It may not if its
 * vruntime is more than HANDOFF_SLICES of its slices above that, so that a VM that yields
 * always cannot exceed its share without bound. It is one slice less than the
 * largest debt.
 */
static __always_inline bool may_run_out_of_turn(const struct vmland_task_ctx *taskc, u64 vtime)
{
	return may_boost(taskc) &&
	       !time_after(taskc->vruntime, vtime + HANDOFF_SLICES * slice_vtime(taskc));
}

static __always_inline void turn_begin(struct vmland_cpu_ctx *cpuc, u64 now, u64 slice)
{
	cpuc->prolong_left_ns = vmland_slice_min_ns;
	cpuc->prolonged = false;
	cpuc->turn_start = now;
	cpuc->turn_end = now + slice;
	cpuc->stop_at = slice < vmland_slice_min_ns ? cpuc->turn_end : 0;
}

/* What is left of the CPU's turn, in ns; 0: too little for a hand-off. */
static __always_inline u64 turn_left(const struct vmland_cpu_ctx *cpuc)
{
	u64 now = scx_bpf_now();

	return time_before(now + HANDOFF_MIN_NS, cpuc->turn_end) ? cpuc->turn_end - now : 0;
}

/* Is something left of the turn for the receiver of an IPI, or can it be prolonged? */
static __always_inline bool turn_left_or_prolonged(struct vmland_cpu_ctx *cpuc)
{
	if (turn_left(cpuc))
		return true;
	if (cpuc->prolong_left_ns < PROLONG_NS || !mechanism_on(VMLAND_PROLONG))
		return false;
	cpuc->prolong_left_ns -= PROLONG_NS;
	cpuc->turn_end = scx_bpf_now() + PROLONG_NS;
	cpuc->prolonged = true;
	return true;
}

/* Does a hand-off to the task of @taskc pass on the turn, or start one of its own? */
static __always_inline bool turn_is_passed_on(const struct vmland_task_ctx *taskc)
{
	return mechanism_on(VMLAND_TURNS) && !vm_has_flag(taskc, VMLAND_VM_COSCHED_OFF);
}

/* The task that begins to run on this CPU has PROLONG_NS. */
static __always_inline void turn_begin_prolonged(struct vmland_cpu_ctx *cpuc, u64 now)
{
	cpuc->prolonged = false;
	cpuc->turn_end = cpuc->stop_at = now + PROLONG_NS;
}

#endif /* VMLAND_HANDOFF_TURN_BPF_H */
