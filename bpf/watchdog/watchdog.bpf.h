/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Watchdog: a timer that examines waiting tasks.
 *
 *   tasks                          what it does
 *   throttled, and the period      unthrottles them, and wakes an idle CPU for each, which
 *   has ended                      nothing else would wake (cgroup/throttle.bpf.h)
 *   queued, when a weight or a     requeues them: their deadline by the old weight may be far
 *   limit has changed              away; or throttles them
 *   queued for RESCUE_NS           rescues them, and puts them first: a task that weighs a
 *                                  thousandth of the others would wait until the kernel
 *                                  ejects the scheduler
 *   alone on a nohz_full CPU       makes them compete, if somebody waits for their CPU, or a limit
 *                                  has changed (queue/alone.bpf.h)
 *
 * If a thousand tasks were put first, the tasks behind them would wait too long. So few are
 * rescued at a time, and all of them take an eighth of a CPU at most. If more have waited for
 * RESCUE_NS, only those are rescued that have waited for longer, up to RESCUE_MOST_NS. Kernel
 * threads do not count: they are rescued after RESCUE_KTHREAD_NS.
 *
 *   constant             value   why
 *   WATCHDOG_NS          100 ms  period of the timer: cheap, and a fraction of the others
 *   UNTHROTTLE_NS        4 ms    the same where there are limits: short against a period of
 *                                100 ms, and not shorter than a tick at 250 Hz
 *   UNTHROTTLE_SCAN      32      throttled tasks that are examined at a time in each of their
 *                                queues: it bounds the time in the timer
 *   UNTHROTTLE_AGAIN_NS  1 ms    when the rest of them are examined
 *   RESCUE_SCAN_NS       250 ms  period of the search for waiting tasks
 *   RESCUES_AT_A_TIME    64      tasks that are rescued then
 *   RESCUE_SLICE_NS      500 us  slice of a rescued task: progress, at little cost for others
 *   RESCUE_STEP_NS       1 s     by which the time after which a task is rescued changes
 *   RESCUE_MOST_NS       25 s    its most: 5 s are left until the kernel ejects the scheduler
 *   RESCUE_KTHREAD_NS    500 ms  the same time for kernel threads, which others wait for
 */
#ifndef VMLAND_WATCHDOG_WATCHDOG_BPF_H
#define VMLAND_WATCHDOG_WATCHDOG_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/bandwidth.bpf.h"
#include "../cgroup/limits.bpf.h"
#include "../cgroup/throttle.bpf.h"
#include "../context/clock.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../params/effective.bpf.h"
#include "../params/params.bpf.h"
#include "../placement/hotplug.bpf.h"
#include "../placement/idle.bpf.h"
#include "../queue/alone.bpf.h"
#include "../vtime/lag.bpf.h"
#include "../vtime/vtime.bpf.h"

#define WATCHDOG_NS (100 * 1000 * 1000ULL)
#define UNTHROTTLE_NS (4 * 1000 * 1000ULL)
#define UNTHROTTLE_SCAN 32
#define UNTHROTTLE_AGAIN_NS (1000 * 1000ULL)
#define RESCUE_SCAN_NS (250 * 1000 * 1000ULL)
#define RESCUES_AT_A_TIME 64
#define RESCUE_STEP_NS (1000 * 1000 * 1000ULL)
#define RESCUE_MOST_NS (25 * 1000 * 1000 * 1000ULL)
#define RESCUE_KTHREAD_NS (500 * 1000 * 1000ULL)
#define RESCUE_SLICE_NS (500 * 1000ULL)

struct vmland_watchdog {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_watchdog);
} vmland_watchdog SEC(".maps");

/* Tasks are to be requeued, as weights have changed. */
static bool requeue_due;

static u64 last_rescue_scan;	/* scx_bpf_now() */

/* The time after which a task is rescued, in ns. */
static u64 rescue_after_ns = RESCUE_NS;

/*
 * How many more tasks are examined, and rescued, in this run of the timer. The verifier would
 * follow each value of a local variable.
 */
static u32 scans_left, rescues_left;

/* The deadline of @taskc, whose lag is bounded as if it were enqueued to @dsq now. */
static __always_inline u64 requeue_deadline(const struct vmland_task_ctx *taskc, u64 dsq, s32 cpu)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx now = { .vruntime = taskc->vruntime, .weight = taskc->weight,
				       .slice_ns = taskc->slice_ns,
				       .vm_slot = taskc->vm_slot };

	if (cpuc)
		bound_lag(&now, queue_vtime(dsq, cpuc, cpu), CREDIT_SLICES);
	return deadline(&now);
}

/*
 * Unthrottles the tasks in @dsq whose period has ended, as far as their limits have runtime for them.
 * Returns after how many ns that is due again, at most UNTHROTTLE_NS. This function and
 * watchdog_scan() are static: before Linux 7 a global function that is called by an op that
 * may sleep, as ops.init() may, cannot iterate over a DSQ.
 */
static u64 unthrottle_expired(u64 dsq, u64 now)
{
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	u64 until, queue;
	s32 cpu;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return UNTHROTTLE_NS;
	scans_left = UNTHROTTLE_SCAN;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (time_before(now, p->scx.dsq_vtime))
			return p->scx.dsq_vtime - now < UNTHROTTLE_NS ?
			       p->scx.dsq_vtime - now : UNTHROTTLE_NS;
		if (!scans_left--)
			return UNTHROTTLE_AGAIN_NS;
		taskc = taskc_of(p);
		if (!taskc)
			continue;
		/*
		 * Not its weight: it is not counted as runnable until it runs. If a thousand
		 * that share a quota were, each of the few that get runtime would wait for so
		 * long that the quota could not be used (tests/sim/crowd.rs).
		 */
		cap_refresh(taskc, params_of(taskc));
		until = throttled_until(p, taskc, now);
		if (until) {
			scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER,
						   throttled_place(taskc, until, now));
			scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
			continue;
		}
		cpu = scx_bpf_task_cpu(p);
		if (has_waited(taskc, RESCUE_THROTTLED_NS, now) && taskc->throttled_lag > 0)
			taskc->throttled_lag = 0;
		unthrottle(taskc, cpu, now);
		queue = queue_of(p, taskc, cpu);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, requeue_deadline(taskc, queue, cpu));
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, queue, 0))
			wake_cpu_for(p);
	}
	return UNTHROTTLE_NS;
}

/* Is @p, which waits in a queue, to be rescued? */
static __always_inline bool is_rescued(const struct task_struct *p,
				       const struct vmland_task_ctx *taskc, u64 now)
{
	if (p->flags & PF_KTHREAD)
		return has_waited(taskc, RESCUE_KTHREAD_NS, now);
	if (!rescues_left || !has_waited(taskc, rescue_after_ns, now))
		return false;
	rescues_left--;
	return true;
}

/* Rescues tasks in @dsq, and requeues or throttles the others if asked to. */
static int watchdog_scan(u64 dsq, u64 now, bool requeue)
{
	const struct vmland_cpu_ctx *cpuc;
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	u64 at, until;
	s32 cpu;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		taskc = taskc_of(p);
		cpu = scx_bpf_task_cpu(p);
		cpuc = cpuc_of(cpu);
		if (!taskc || !cpuc)
			continue;
		if (is_rescued(p, taskc, now)) {
			/* Without its debt, which would move vtime when it runs. */
			taskc->vruntime = queue_vtime(dsq, cpuc, cpu);
			at = taskc->vruntime - RESCUE_NS;
			scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, RESCUE_SLICE_NS);
			count(VMLAND_RESCUED);
		} else if (requeue) {
			effective_refresh(p, taskc);
			until = throttled_until(p, taskc, now);
			if (until) {
				scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER,
							   throttled_place(taskc, until, now));
				if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p,
							   throttled_queue_of(taskc), 0))
					throttle(taskc, cpu, now);
				continue;
			}
			at = requeue_deadline(taskc, dsq, cpu);
		} else {
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, at);
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
	}
	return 0;
}

/* Has the VM of the task that runs on @cpu got or lost a cap since that began to run? */
static bool cap_changed(s32 cpu)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct task_struct *p = cpuc ? bpf_task_from_pid(cpuc->curr_pid) : NULL;
	const struct vmland_vm_params *params;
	struct vmland_task_ctx *taskc;
	bool changed = false;

	if (!p)
		return false;
	taskc = taskc_of(p);
	params = taskc ? params_of(taskc) : NULL;
	if (taskc)
		changed = taskc->has_cap != (params && params->cap_ns);
	bpf_task_release(p);
	return changed;
}

/*
 * Does a task run on @cpu that no timer ends? It is alone; or the kernel kept it without asking,
 * as while it attaches the scheduler, and no tick ends its slice.
 */
static __always_inline bool is_endless(s32 cpu, u64 now)
{
	const struct vmland_cpu_ctx *cpuc = is_nohz_full(cpu) ? cpuc_of(cpu) : NULL;

	return cpuc && cpuc->curr_weight &&
	       (cpuc->alone || time_after(now, cpuc->stop_at + slice_ns));
}

/*
 * Makes tasks on nohz_full CPUs compete that no timer ends: @all; or those for whose CPU a task
 * waits that is bound to it. Not static, so that the verifier checks it once, and not with
 * what is around the call.
 */
__noinline int alone_check(bool all, u64 now)
{
	s32 cpu;

	bpf_for(cpu, 0, nr_cpu_ids) {
		if (is_endless(cpu, now) &&
		    (all || scx_bpf_dsq_nr_queued(cpu) ||
		     scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu) || cap_changed(cpu)))
			scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	}
	return 0;
}

/* Likewise those whose CPU @p may run on, which waits for one. */
__noinline int alone_check_for(struct task_struct *p __arg_trusted, u64 now)
{
	s32 cpu;

	bpf_rcu_read_lock();
	bpf_for(cpu, 0, nr_cpu_ids) {
		if (is_endless(cpu, now) && bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	}
	bpf_rcu_read_unlock();
	return 0;
}

/* Likewise those whose CPU the first task in @dsq may run on. */
static int alone_check_domain(u64 dsq, u64 now)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq, 0) {
		alone_check_for(p, now);
		break;
	}
	return 0;
}

static int watchdog_fire(void *map, int *key, struct bpf_timer *timer)
{
	u64 now = clock_now(), next = WATCHDOG_NS, again;
	bool requeue = requeue_due;
	s32 cpu;
	u32 i;

	/* For Linux 6.16, which verifies a timer's callback like the op that sets the timer up. */
	bpf_rcu_read_lock();
	if (any_limit) {
		bpf_for(i, 0, THROTTLED_DSQS) {
			again = unthrottle_expired(THROTTLED_DSQ + i, now);
			if (again < next)
				next = again;
		}
	}
	if (any_nohz_full) {
		alone_check(requeue, now);
		bpf_for(i, 0, nr_domains)
			alone_check_domain(domain_queue(i), now);
	}
	if (requeue || time_after(now, last_rescue_scan + RESCUE_SCAN_NS)) {
		last_rescue_scan = now;
		requeue_due = false;
		rescues_left = RESCUES_AT_A_TIME;
		bpf_for(cpu, 0, nr_cpu_ids)
			watchdog_scan(cpu, now, requeue);
		bpf_for(i, 0, nr_domains)
			watchdog_scan(domain_queue(i), now, requeue);
		if (!rescues_left && rescue_after_ns < RESCUE_MOST_NS)
			rescue_after_ns += RESCUE_STEP_NS;
		else if (rescues_left && rescue_after_ns > RESCUE_NS)
			rescue_after_ns -= RESCUE_STEP_NS;
	}
	if (any_offline)
		tasks_leave_offline();
	bpf_rcu_read_unlock();
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

/* Weights or limits have changed. Not to be called under a run queue's lock. */
static __always_inline void requeue_soon(void)
{
	u32 key = 0;
	struct vmland_watchdog *watchdog = bpf_map_lookup_elem(&vmland_watchdog, &key);

	requeue_due = true;
	if (watchdog)
		bpf_timer_start(&watchdog->timer, 0, 0);
}

#endif /* VMLAND_WATCHDOG_WATCHDOG_BPF_H */
