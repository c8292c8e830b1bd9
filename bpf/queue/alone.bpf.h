/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nohz_full CPUs: no tick where a task has its CPU for itself.
 *
 * Problem. The kernel stops the tick of a nohz_full CPU only for a task with an infinite slice.
 * It looks at the slice when the task begins to run, and not when the task keeps its CPU with
 * another slice.
 *
 * Mechanism. On a nohz_full CPU all slices are infinite, and the run timer (run_timer.bpf.h)
 * ends turns. If nobody waits for the CPU, its task is alone: no timer runs, and the turn goes on.
 *
 *   a task becomes runnable           whose turn goes on no longer
 *   on a CPU whose task is alone      that task's: ops.runnable() also sees what the kernel puts
 *                                     on a CPU without asking, such as tasks that exit
 *   elsewhere, and no CPU idles       a task's that is alone where the new one may run
 *
 * That task keeps its CPU for the rest of its turn, if there is one, and then competes. What it
 * has run for alone it does not owe. Each task that begins to wait in the queue of a domain makes one
 * CPU compete. So all CPUs do before the queue has come round.
 *
 * Limits. A CPU whose task becomes alone while another CPU queues one can miss that. And while the
 * kernel attaches the scheduler it keeps tasks without asking. So the watchdog
 * (watchdog/watchdog.bpf.h) looks for waiting tasks, too. A task under a quota or a cap is
 * interrupted for its runtime (cgroup/limits.bpf.h), and a vCPU of a gang at the end of each turn.
 * The CPU time of a task that is alone is charged when that ends.
 *
 *   constant    value  why
 *   ALONE_SCAN  16     CPUs whose task is alone that are examined for a task that waits. It bounds
 *                      the time of a wake-up.
 */
#ifndef VMLAND_QUEUE_ALONE_BPF_H
#define VMLAND_QUEUE_ALONE_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../intf.h"
#include "../placement/idle.bpf.h"
#include "waiting.bpf.h"

#define ALONE_SCAN 16

/* User space sets both before it loads the scheduler: on other hosts all of this is left out. */
const volatile bool any_nohz_full;
const volatile u64 nohz_full_cpus[VMLAND_CPU_WORDS];

/* CPUs whose task is alone. Who clears a bit interrupts the CPU. */
static u64 alone_cpus[VMLAND_CPU_WORDS];

static __always_inline u32 cpu_word(s32 cpu)
{
	return (u32)cpu / 64 % VMLAND_CPU_WORDS;
}

static __always_inline bool is_nohz_full(s32 cpu)
{
	return any_nohz_full && nohz_full_cpus[cpu_word(cpu)] >> (u32)cpu % 64 & 1;
}

/* Does anybody wait who may be for @cpu? */
static __always_inline bool anybody_waits(s32 cpu)
{
	return any_queued(cpu) || scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu);
}

/*
 * How long @p, which begins to run on the CPU of @cpuc, is to run. One that a higher class has
 * interrupted has the rest of its turn.
 */
static __always_inline u64 slice_at_start(const struct task_struct *p,
					  const struct vmland_cpu_ctx *cpuc)
{
	if (!any_nohz_full || p->scx.slice != SCX_SLICE_INF)
		return p->scx.slice;
	return turn_left(cpuc) ?: HANDOFF_MIN_NS;
}

/* The task that runs on @cpu, of @cpuc, is alone from now on, or is not any more. */
static __always_inline void alone_set(s32 cpu, struct vmland_cpu_ctx *cpuc, bool alone)
{
	u64 bit = 1ULL << (u32)cpu % 64;

	if (!any_nohz_full || cpuc->alone == alone)
		return;
	cpuc->alone = alone;
	if (alone)
		__sync_fetch_and_or(&alone_cpus[cpu_word(cpu)], bit);
	else
		__sync_fetch_and_and(&alone_cpus[cpu_word(cpu)], ~bit);
}

/*
 * @p begins to run on @cpu, of @cpuc, or goes on, and its turn is known; @waits: for the turn to
 * end. Sets its slice and when it stops.
 */
static __always_inline void alone_begin(struct task_struct *p, const struct vmland_task_ctx *taskc,
					s32 cpu, struct vmland_cpu_ctx *cpuc, bool waits)
{
	bool alone = !waits && !taskc->gang;

	if (!is_nohz_full(cpu))
		return;
	scx_bpf_task_set_slice(p, SCX_SLICE_INF);
	if (alone)
		cpuc->stop_at = 0;
	else if (!cpuc->stop_at)
		cpuc->stop_at = cpuc->turn_end;
	alone_set(cpu, cpuc, alone);
}

/* The task on @cpu is to compete, if it is alone. Returns whether it was. */
static __always_inline bool alone_end(s32 cpu)
{
	u64 bit = 1ULL << (u32)cpu % 64;
	u64 *word = &alone_cpus[cpu_word(cpu)];

	if (!any_nohz_full || !(*word & bit) || !(__sync_fetch_and_and(word, ~bit) & bit))
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	return true;
}

/*
 * @p waits, and no CPU idles: a task that is alone where @p may run is to compete. Not static, so
 * that the verifier checks it once, and not at each call. It does so as a part of ops.init() too,
 * which may sleep: hence the lock.
 */
__noinline int alone_end_for(struct task_struct *p __arg_trusted)
{
	s32 cpu = scx_bpf_task_cpu(p);
	u32 first = cpu_word(cpu), scanned = 0, i, bit;
	bool ended = false;
	u64 alone;

	if (is_pinned(p))
		return alone_end(cpu);
	bpf_rcu_read_lock();
	bpf_for(i, 0, VMLAND_CPU_WORDS) {
		alone = alone_cpus[(first + i) % VMLAND_CPU_WORDS];
		if (!alone)
			continue;
		bpf_for(bit, 0, 64) {
			if (!(alone >> bit & 1))
				continue;
			if (scanned++ == ALONE_SCAN)
				goto out;
			cpu = (first + i) % VMLAND_CPU_WORDS * 64 + bit;
			if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr) && alone_end(cpu)) {
				ended = true;
				goto out;
			}
		}
	}
out:
	bpf_rcu_read_unlock();
	return ended;
}

/* @p waits: wakes an idle CPU for it, or makes a task that is alone compete. */
static __always_inline bool wake_cpu_for(struct task_struct *p)
{
	if (kick_idle(p))
		return true;
	if (any_nohz_full)
		alone_end_for(p);
	return false;
}

#endif /* VMLAND_QUEUE_ALONE_BPF_H */
