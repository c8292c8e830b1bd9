/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Watchdog: a timer that examines waiting tasks.
 *
 *   tasks                          what it does
 *   throttled, and the period      unthrottles them, and wakes an idle CPU for each, which
 *   has ended                      nothing else would wake (cgroup/throttle.bpf.h)
 *   queued, when a weight has      requeues them: their deadline by the old weight may be far
 *   changed                        away
 *   queued for RESCUE_NS           puts them first: a task that weighs a thousandth of the
 *                                  others would wait until the kernel ejects the scheduler
 *
 *   constant         value   why
 *   WATCHDOG_NS      100 ms  period of the timer: cheap, and a fraction of the others
 *   UNTHROTTLE_NS    4 ms    the same where there are limits: short against a period of
 *                            100 ms, and not shorter than a tick at 250 Hz
 *   RESCUE_SCAN_NS   500 ms  period of the search for waiting tasks: with RESCUE_NS no task
 *                            waits for more than 2.5 s, half of the kernel's limit
 *   RESCUE_SLICE_NS  1 ms    slice of a rescued task: progress, at little cost for the others
 *   REQUEUE_ROUNDS   2       times that tasks are requeued: the policy may be deciding by the
 *                            old weight at the first time
 */
#ifndef VMLAND_WATCHDOG_WATCHDOG_BPF_H
#define VMLAND_WATCHDOG_WATCHDOG_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/bandwidth.bpf.h"
#include "../cgroup/throttle.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../params/effective.bpf.h"
#include "../placement/hotplug.bpf.h"
#include "../placement/idle.bpf.h"
#include "../vtime/vtime.bpf.h"

#define WATCHDOG_NS (100 * 1000 * 1000ULL)
#define UNTHROTTLE_NS (4 * 1000 * 1000ULL)
#define RESCUE_SCAN_NS (500 * 1000 * 1000ULL)
#define RESCUE_SLICE_NS (1000 * 1000ULL)
#define REQUEUE_ROUNDS 2

struct vmland_watchdog {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_watchdog);
} vmland_watchdog SEC(".maps");

/* How many more times tasks are to be requeued, as weights have changed. */
static u32 requeue_rounds;

static u64 last_rescue_scan;	/* scx_bpf_now() */

/* The deadline of @taskc, whose lag is bounded as if it were enqueued now. */
static __always_inline u64 requeue_deadline(const struct vmland_task_ctx *taskc, s32 cpu)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx now = { .vruntime = taskc->vruntime, .weight = taskc->weight,
				       .slice_ns = taskc->slice_ns };

	if (cpuc)
		bound_lag(&now, cpuc->vtime, CREDIT_SLICES);
	return deadline(&now);
}

/*
 * Unthrottles the tasks whose period has ended. Returns after how many ns that is due
 * again, at most UNTHROTTLE_NS. This function and watchdog_scan() are static: before Linux 7 a
 * global function that is called by an op that may sleep, as ops.init() may, cannot iterate
 * over a DSQ.
 */
static u64 unthrottle_expired(u64 now)
{
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	u64 queue;
	s32 cpu;

	bpf_for_each(scx_dsq, p, THROTTLED_DSQ, 0) {
		if (time_before(now, p->scx.dsq_vtime))
			return p->scx.dsq_vtime - now < UNTHROTTLE_NS ?
			       p->scx.dsq_vtime - now : UNTHROTTLE_NS;
		taskc = taskc_of(p);
		if (!taskc)
			continue;
		cpu = scx_bpf_task_cpu(p);
		unthrottle(taskc, cpu, now);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, requeue_deadline(taskc, cpu));
		queue = queue_of(p, cpu);
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, queue, 0))
			kick_idle(p);
		tasks_leave_offline(queue, cpu);
	}
	return UNTHROTTLE_NS;
}

/* Rescues the tasks in @dsq that have waited too long, and requeues the others if asked to. */
static int watchdog_scan(u64 dsq, u64 now, bool requeue)
{
	const struct vmland_cpu_ctx *cpuc;
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	u64 at;
	s32 cpu;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		taskc = taskc_of(p);
		cpu = scx_bpf_task_cpu(p);
		cpuc = cpuc_of(cpu);
		if (!taskc || !cpuc)
			continue;
		if (waited_too_long(taskc, now)) {
			/* Without its debt, which would move the CPU's vtime when it runs. */
			taskc->vruntime = cpuc->vtime;
			at = cpuc->vtime - RESCUE_NS;
			scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, RESCUE_SLICE_NS);
			count(VMLAND_RESCUED);
		} else if (requeue) {
			effective_refresh(p, taskc);
			at = requeue_deadline(taskc, cpu);
			if (dsq == PARKED_DSQ)
				at += slice_vtime(taskc);
		} else {
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, at);
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
		tasks_leave_offline(dsq, cpu);
	}
	return 0;
}

static int watchdog_fire(void *map, int *key, struct bpf_timer *timer)
{
	u64 now = scx_bpf_now(), next = WATCHDOG_NS;
	bool requeue = requeue_rounds;
	s32 cpu;

	/* For Linux 6.16, which verifies a timer's callback like the op that sets the timer up. */
	bpf_rcu_read_lock();
	if (any_limit)
		next = unthrottle_expired(now);
	if (requeue || time_after(now, last_rescue_scan + RESCUE_SCAN_NS)) {
		last_rescue_scan = now;
		if (requeue)
			requeue_rounds--;
		watchdog_scan(SHARED_DSQ, now, requeue);
		watchdog_scan(PARKED_DSQ, now, requeue);
		bpf_for(cpu, 0, nr_cpu_ids)
			watchdog_scan(cpu, now, requeue);
	}
	bpf_rcu_read_unlock();
	if (requeue_rounds && next > WATCHDOG_NS / 4)
		next = WATCHDOG_NS / 4;
	bpf_timer_start(timer, next, 0);
	return 0;
}

/* To be called by ops.init(): bpf_timer_init() must not be called under a run queue's lock. */
static int watchdog_start(void)
{
	u32 key = 0;
	struct vmland_watchdog *watchdog = bpf_map_lookup_elem(&vmland_watchdog, &key);

	if (!watchdog)
		return -ENOENT;
	bpf_timer_init(&watchdog->timer, &vmland_watchdog, CLOCK_BOOTTIME);
	bpf_timer_set_callback(&watchdog->timer, watchdog_fire);
	return bpf_timer_start(&watchdog->timer, WATCHDOG_NS, 0);
}

/* Weights have changed. Not to be called under a run queue's lock. */
static __always_inline void requeue_soon(void)
{
	u32 key = 0;
	struct vmland_watchdog *watchdog = bpf_map_lookup_elem(&vmland_watchdog, &key);

	requeue_rounds = REQUEUE_ROUNDS;
	if (watchdog)
		bpf_timer_start(&watchdog->timer, 0, 0);
}

#endif /* VMLAND_WATCHDOG_WATCHDOG_BPF_H */
