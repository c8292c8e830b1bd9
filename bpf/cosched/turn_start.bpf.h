/* SPDX-License-Identifier: GPL-2.0-only */
/* A turn begins: when does it end, and how. */
#ifndef VMLAND_COSCHED_TURN_START_BPF_H
#define VMLAND_COSCHED_TURN_START_BPF_H

#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../params/params.bpf.h"
#include "gang.bpf.h"

/* A turn of @slice ns begins on the CPU of @cpuc with @p, which runs there from now on. */
static __always_inline void turn_start(struct task_struct *p, const struct vmland_task_ctx *taskc,
				       struct vmland_cpu_ctx *cpuc, u64 slice)
{
	u64 now = taskc->run_start, end;

	if (!any_gang) {
		turn_begin(cpuc, now, slice);
		return;
	}
	end = taskc->gang ? gang_turn_end(taskc, now, slice) : turn_end_aligned(now, slice);
	if (!time_before(now + GANG_REST_NS, end))
		end += slice_ns;
	scx_bpf_task_set_slice(p, end - now);
	turn_begin(cpuc, now, end - now);
	stop_after(cpuc, end - now);
}

#endif /* VMLAND_COSCHED_TURN_START_BPF_H */
