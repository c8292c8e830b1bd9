/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The run timer: a timer of each CPU that ends the turn of the running task on time.
 *
 * Problem. The kernel ends slices at ticks, which are 1 to 10 ms apart. That is too far for
 * what is shorter than a tick, or is to be exact.
 *
 *   what ends                                              where
 *   a prolonged turn, and one of less than the least slice  handoff/turn.bpf.h
 *   all turns while there is a gang                        cosched/gang.bpf.h
 *   the first slice of a task that has woken, and the time  placement/preempt.bpf.h,
 *   that a sender gives a receiver                         handoff/yield.bpf.h
 *   what a vCPU runs at a time, if its skew is bounded     cosched/skew.bpf.h
 *   the runtime of a task whose limits are used up          cgroup/limits.bpf.h
 *   all turns on nohz_full CPUs                            alone.bpf.h
 *
 * Cost. The timer is started only for a task to which one of these applies.
 */
#ifndef VMLAND_QUEUE_RUN_TIMER_BPF_H
#define VMLAND_QUEUE_RUN_TIMER_BPF_H

#include <scx/common.bpf.h>
#include "../cgroup/bandwidth.bpf.h"
#include "../cgroup/limits.bpf.h"
#include "../context/clock.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/cpu_timer.bpf.h"
#include "../context/task.bpf.h"
#include "alone.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_run_timers SEC(".maps");

/* Starts the timer of the CPU of @cpuc for what ends first. */
static __always_inline void run_timer_start(const struct vmland_cpu_ctx *cpuc, u64 now,
					    struct vmland_cpu_timer *timer)
{
	u64 end = cpuc->runtime_end;

	if (cpuc->stop_at && (!end || time_before(cpuc->stop_at, end)))
		end = cpuc->stop_at;
	if (end && timer)
		cpu_timer_start(timer, time_before(now, end) ? end - now : 0);
}

/* The task that runs on the CPU of @cpuc gets more runtime. Returns whether there was any. */
static __always_inline bool runtime_renew(struct vmland_cpu_ctx *cpuc, u64 now)
{
	struct task_struct *p = bpf_task_from_pid(cpuc->curr_pid);
	struct vmland_task_ctx *taskc;
	u64 had, has;

	if (!p)
		return false;
	taskc = taskc_of(p);
	had = taskc ? taskc->runtime_ns : 0;
	has = taskc ? runtime_take(taskc, had + RUNTIME_RUNNING_NS, now) : 0;
	bpf_task_release(p);
	cpuc->runtime_end = has == BANDWIDTH_NO_LIMIT ? 0 : cpuc->runtime_end + has - had;
	return has != had;
}

static int run_timer_fire(void *map, u32 *cpu, struct vmland_cpu_timer *timer)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(*cpu);
	u64 now = clock_now();

	if (!cpuc || !cpuc->curr_weight)
		return 0;
	if ((cpuc->stop_at && !time_before(now, cpuc->stop_at)) ||
	    (cpuc->runtime_end && !time_before(now, cpuc->runtime_end) &&
	     !runtime_renew(cpuc, now)))
		scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	else
		run_timer_start(cpuc, now, timer);
	return 0;
}

static __always_inline void run_timers_init(void)
{
	cpu_timers_init(vmland_run_timers, run_timer_fire);
}

/*
 * @p begins to run on its CPU, of @cpuc, or goes on, and its turn is known; @waits: somebody waits
 * for the CPU. With core scheduling this may be its SMT sibling.
 */
static __always_inline void run_timer_begin(struct task_struct *p, struct vmland_task_ctx *taskc,
					    struct vmland_cpu_ctx *cpuc, u64 now, bool waits)
{
	s32 cpu = scx_bpf_task_cpu(p);
	u64 has;

	alone_begin(p, taskc, cpu, cpuc, waits);
	cpuc->runtime_end = 0;
	if (can_be_throttled(p, taskc)) {
		has = runtime_take(taskc, RUNTIME_RUNNING_NS, now);
		if (has < RUNTIME_RESCUED_NS)
			has = RUNTIME_RESCUED_NS;
		if (has != BANDWIDTH_NO_LIMIT)
			cpuc->runtime_end = now + has;
	}
	if (cpuc->runtime_end || cpuc->stop_at)
		run_timer_start(cpuc, now, cpu_timer_of(vmland_run_timers, cpu));
}

#endif /* VMLAND_QUEUE_RUN_TIMER_BPF_H */
