/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Distance: by how much the deadline of a task counts as later in another domain than its own, in
 * slices of its own.
 *
 *   its queue is of another domain of the node           NEAR_SLICES
 *   of another node                                      FAR_SLICES
 *   and it is at home there, and not here                HOME_SLICES on top
 *
 *   constant      value  why
 *   NEAR_SLICES   1      A cold cache costs less than a hundredth of a slice.
 *   FAR_SLICES    3      Remote memory makes the whole turn slower, by a third.
 *   HOME_SLICES   2      Its siblings are at home, too.
 */
#ifndef VMLAND_DOMAIN_DISTANCE_BPF_H
#define VMLAND_DOMAIN_DISTANCE_BPF_H

#include "../framework.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../vtime/vtime.bpf.h"
#include "domain.bpf.h"
#include "home.bpf.h"

#define NEAR_SLICES 1
#define FAR_SLICES 3
#define HOME_SLICES 2

/* Of the task of @taskc, which belongs to domain @from, in domain @to. */
static __always_inline u64 distance_penalty(const struct vmland_task_ctx *taskc, u32 from, u32 to)
{
	u64 slices;

	if (!many_domains() || from == to)
		return 0;
	slices = same_node(from, to) ? NEAR_SLICES : FAR_SLICES;
	if (has_home(taskc) && at_home(taskc, from) && !at_home(taskc, to))
		slices += HOME_SLICES;
	return slices * slice_vtime(taskc);
}

/* Likewise on @cpu, if the task waits in @dsq. */
static __always_inline u64 queue_penalty(const struct vmland_task_ctx *taskc, u64 dsq, s32 cpu)
{
	return many_domains() && dsq >= DOMAIN_DSQ ?
	       distance_penalty(taskc, dsq - DOMAIN_DSQ, domain_of(cpu)) : 0;
}

#endif /* VMLAND_DOMAIN_DISTANCE_BPF_H */
