/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ops.dispatch() without a hand-off: a CPU takes the task with the earliest deadline from the
 * queues, or goes on with its current task if that has an earlier one.
 */
#ifndef VMLAND_QUEUE_DISPATCH_BPF_H
#define VMLAND_QUEUE_DISPATCH_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/limits.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../cosched/gang.bpf.h"
#include "../cosched/skew.bpf.h"
#include "../counters.bpf.h"
#include "../domain/distance.bpf.h"
#include "../domain/domain.bpf.h"
#include "../domain/home.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../params/effective.bpf.h"
#include "../placement/claim.bpf.h"
#include "../placement/idle.bpf.h"
#include "../planner/evidence.bpf.h"
#include "../trace/trace.bpf.h"
#include "../vtime/charge.bpf.h"
#include "../vtime/lag.bpf.h"
#include "../vtime/vtime.bpf.h"
#include "alone.bpf.h"
#include "beyond.bpf.h"
#include "queue.bpf.h"
#include "run_timer.bpf.h"
#include "slice.bpf.h"

/* Is @prev, which had the CPU, still runnable? */
static __always_inline bool can_continue(const struct task_struct *prev)
{
	return prev && is_queued(prev) && !is_usersched_task(prev);
}

/* Is @best, which is found, a task of the domain of @cpu? */
static __always_inline bool is_near(const struct queue_head *best, s32 cpu)
{
	return !many_domains() || best->dsq < MAX_CPUS || best->dsq == shared_queue_of(cpu);
}

/*
 * May @prev keep @cpu, rather than @best take it? If @prev comes from a CPU whose vtime is
 * behind, its lag is bounded first. Not static, so that the verifier checks it once, and not
 * at each call.
 */
__noinline int keep_prev(struct task_struct *prev __arg_trusted,
			 const struct queue_head *best __arg_nonnull, s32 cpu)
{
	struct vmland_task_ctx *taskc = taskc_of(prev);
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u64 now = scx_bpf_now(), least, own;
	bool near;

	if (!taskc || !cpuc)
		return false;
	charge(prev, taskc, now);
	if (cpuc->alone)
		owe_nothing(taskc, cpuc->vtime);
	if (is_vcpu(taskc))
		evidence_report(taskc, now);
	if (throttled_until(prev, taskc, now))
		return false;
	/* One that was put before its turn says nothing of the vruntime of others. */
	if (best->found && time_before(best->deadline, best->vruntime))
		return false;
	near = best->found && is_near(best, cpu);
	/* Virtual time in other domains says nothing of what @prev has waited for. */
	if (near) {
		least = best->vruntime - slice_vtime(taskc) -
			DEBT_SLICES * (best->deadline - best->vruntime);
		if (time_before(taskc->vruntime, least))
			taskc->vruntime = least;
	}
	if (best->found) {
		own = taskc->gang ? gang_deadline(taskc, cpuc->vtime, now) : deadline(taskc);
		own += deadline_penalty(prev, taskc, cpu) +
		       distance_penalty(taskc, domain_of_task(prev, taskc), domain_of(cpu));
		if (!time_before(own, best->least))
			return false;
		/*
		 * @best may be behind by nearly a slice of its own, by the order of deadlines.
		 * If vtime stood there, a heavy @prev beside a light @best would be forgiven
		 * the time that it is ahead: the bound of its debt is slices of its own.
		 */
		if (near) {
			vtime_advance(cpuc, taskc->vruntime);
			domain_advance(cpuc, cpu, true);
		}
	} else {
		owe_nothing(taskc, cpuc->vtime);
	}
	effective_refresh(prev, taskc);
	taskc->boosted = taskc->yielded = false;
	taskc->min_deadline = 0;
	turn_start(prev, taskc, cpuc, slice_to_run(prev, taskc, cpu, taskc->slice_ns));
	skew_stop(prev, taskc, cpuc, now);
	run_timer_begin(prev, taskc, cpuc, now,
			best->found || scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu));
	count(VMLAND_DISPATCH_KEPT);
	trace_kept(prev, taskc, cpu);
	return true;
}

/* Wakes an idle CPU for @p. kick_idle() would call kfuncs that ops.dispatch() must not call. */
static __always_inline bool kick_idle_for(const struct task_struct *p)
{
	s32 cpu = any_idle_for(p) ? claim_idle(p->cpus_ptr) : -1;

	if (cpu < 0)
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	return true;
}

static __always_inline bool any_idle(void)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	bool none = bpf_cpumask_empty(idle);

	scx_bpf_put_idle_cpumask(idle);
	return !none;
}

/*
 * Wakes an idle CPU for a task of @dsq. When that was queued, a CPU may have been woken for it
 * that has taken another task, which came at the same time. The idle CPUs may be
 * for a task behind the first one only. Not static, so that the verifier checks it once.
 */
__noinline int kick_idle_for_waiting(u64 dsq)
{
	struct task_struct *p;
	u32 scanned = 0;

	if (!scx_bpf_dsq_nr_queued(dsq) || !any_idle())
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (kick_idle_for(p) || ++scanned == QUEUE_SCAN)
			break;
	}
	return 0;
}

/*
 * Likewise for tasks of all domains, from that of @cpu on: this CPU may have been woken for one of
 * any. Not static, so that the verifier checks it once.
 */
__noinline int kick_idle_for_domains(s32 cpu)
{
	u32 own = domain_of(cpu), i;

	if (!any_idle())
		return 0;
	bpf_for(i, 0, nr_domains)
		kick_idle_for_waiting(domain_queue(domain_near(own, i)));
	return 0;
}

/* @cpu has chosen a task; @was_idle: it had none before. */
static __always_inline void kick_idle_after(s32 cpu, bool was_idle)
{
	if (many_domains() && was_idle)
		kick_idle_for_domains(cpu);
	else
		kick_idle_for_waiting(shared_queue_of(cpu));
}

/*
 * @prev was alone on @cpu, and somebody waits now: it goes on for the rest of its turn. Returns
 * whether there is one.
 */
static __always_inline bool turn_not_alone(struct task_struct *prev, struct vmland_cpu_ctx *cpuc)
{
	struct vmland_task_ctx *taskc = taskc_of(prev);

	if (!taskc || taskc->yielded || cpuc->handoff_pid || cpuc->runtime_end || !turn_left(cpuc))
		return false;
	run_timer_begin(prev, taskc, cpuc, scx_bpf_now(), true);
	return true;
}

/* Chooses the next task of @cpu, which is this CPU; @prev had it. */
static void serve_queues(struct vmland_cpu_ctx *cpuc, s32 cpu, struct task_struct *prev)
{
	bool continues = can_continue(prev), looks = looks_beyond(cpuc);
	u64 dsq = shared_queue_of(cpu), beyond = 0;
	struct queue_head best = {};

	/* The common case: tasks wait in the domain's queue only, and its head is to be taken. */
	if (!continues && !looks && !any_preferred &&
	    (!any_sticky || scx_bpf_dsq_nr_queued(dsq) < 2) && !scx_bpf_dsq_nr_queued(cpu)) {
		if (!queue_take(dsq, cpuc) && many_domains())
			take_beyond(cpu);
		return;
	}
	queue_peek(dsq, cpu, &best);
	queue_peek(cpu, cpu, &best);
	if (best.found && looks)
		beyond = next_beyond(cpuc, cpu);
	else if (many_domains() && !best.found && continues)
		beyond = nobody_waits_near(cpuc, cpu);
	if (beyond)
		queue_peek(beyond, cpu, &best);
	if (continues && keep_prev(prev, &best, cpu))
		return;
	if (best.found &&
	    (best.overtakes ? queue_take_best(&best, cpuc, cpu) : queue_take(best.dsq, cpuc)))
		return;
	/*
	 * Another CPU has taken it meanwhile, or the watchdog has requeued all tasks: an iterator
	 * does not see those that were inserted after its creation.
	 */
	if (queue_take(dsq, cpuc) || queue_take(cpu, cpuc) || (many_domains() && take_beyond(cpu)))
		return;
	/* Nothing is left: @prev goes on, as nobody would wake this CPU for it. */
	best.found = false;
	if (continues)
		keep_prev(prev, &best, cpu);
}

#endif /* VMLAND_QUEUE_DISPATCH_BPF_H */
