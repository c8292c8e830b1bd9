/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtual time: who deserves a CPU next.
 *
 * Every task, vCPU or not, pays for CPU time with vruntime, at a rate of
 * 1/weight. Who waits, waits in one of three lines, each sorted by deadline:
 *
 *   SHARED_DSQ   tasks that may move between CPUs
 *   cpu (0..)    tasks tied to one CPU
 *   PARKED_DSQ   vCPUs about which the policy in user space has been asked
 *
 * A deadline is the vruntime at which a task will have had one slice more; who makes way
 * for a sibling comes after that one, once (yield.bpf.h). A CPU takes the earliest
 * deadline of the three among the tasks that may run on it, the one that runs there
 * included; where a task had rather not run, its deadline counts as later
 * (prefer.bpf.h, sticky.bpf.h).
 *
 * Each CPU has a clock: the vruntime that those who compete for it have come
 * to. It follows whoever is taken from a line, and stands still while a task
 * has the CPU to itself, which costs that task nothing either. Whoever starts
 * to wait for a CPU, or to run on it, is at most CREDIT_SLICES behind its clock and
 * at most DEBT_SLICES ahead (so that no debt outlives its reason). By the order of
 * deadlines a light task falls behind by nearly a slice of its own before its turn
 * comes, and later where turns end late; what it has waited for it is not to lose. A
 * sleeper has waited for nothing: it is at most one slice behind. The clocks of CPUs
 * that serve the same tasks go together; where affinity parts the host, each part has a
 * time of its own, and the weights in a crowded part are not those of an empty one.
 */
#ifndef VMLAND_VTIME_BPF_H
#define VMLAND_VTIME_BPF_H

/* Largest credit of who waits, and largest debt, in slices of the task. */
#define CREDIT_SLICES 2
#define DEBT_SLICES 3

/* @ns of CPU time as vruntime of a task of @weight, where VMLAND_NICE_0 pays 1:1. */
static __always_inline u64 ns_to_vtime(u64 ns, u64 weight)
{
	return ns * VMLAND_NICE_0 / weight;
}

static __always_inline u64 slice_vtime(const struct vmland_task_ctx *taskc)
{
	return ns_to_vtime(taskc->slice_ns, taskc->weight ?: 1);
}

static __always_inline u64 deadline(const struct vmland_task_ctx *taskc)
{
	u64 own = taskc->vruntime + slice_vtime(taskc);

	return taskc->min_deadline && time_before(own, taskc->min_deadline) ? taskc->min_deadline : own;
}

static __always_inline void vtime_advance(struct vmland_cpu_ctx *cpuc, u64 to)
{
	if (time_after(to, cpuc->vtime))
		cpuc->vtime = to;
}

static __always_inline void bound_lag(struct vmland_task_ctx *taskc, u64 vtime, u64 credit_slices)
{
	u64 slice = slice_vtime(taskc);
	u64 least = vtime - credit_slices * slice, most = vtime + DEBT_SLICES * slice;

	if (time_before(taskc->vruntime, least))
		taskc->vruntime = least;
	else if (time_after(taskc->vruntime, most))
		taskc->vruntime = most;
}

/* @taskc has run on @cpu for @ns. Not static, so that the verifier looks at it once. */
__noinline int charge_ns(struct vmland_task_ctx *taskc __arg_nonnull, u64 ns, s32 cpu)
{
	struct vmland_vm_ctx *vmc;
	u64 *pauses;
	u32 key = 0;

	taskc->ran_ns += ns;
	taskc->vruntime += ns_to_vtime(ns, taskc->weight ?: 1);
	if (is_limited(taskc))
		limits_consume(taskc->cgroup_slot, cap_slot(taskc), ns);
	if (!is_vcpu(taskc))
		return 0;
	vmc = vmc_of(taskc->vm_slot);
	if (!vmc)
		return 0;
	__sync_fetch_and_add(&vmc->cpu_ns, ns);
	boost_account(vmc, taskc, ns);
	pauses = bpf_map_lookup_percpu_elem(&vmland_pauses, &key, cpu);
	if (pauses && *pauses) {
		__sync_fetch_and_add(&vmc->pause_exits, *pauses);
		*pauses = 0;
	}
	return 0;
}

/* @p has run from t->run_start to @now. */
static __always_inline void charge(const struct task_struct *p,
				   struct vmland_task_ctx *taskc, u64 now)
{
	u64 ns = now - taskc->run_start;

	if (taskc->cgroup_slot)
		effective_refresh(p, taskc);
	taskc->run_start = now;
	charge_ns(taskc, ns, scx_bpf_task_cpu(p));
}

static __always_inline bool is_pinned(const struct task_struct *p)
{
	return p->nr_cpus_allowed == 1 || is_migration_disabled(p);
}

/* Which line is @p, on @cpu, to wait in? */
static __always_inline u64 queue_of(const struct task_struct *p, s32 cpu)
{
	return is_pinned(p) ? (u64)cpu : SHARED_DSQ;
}

/* By how much @p's deadline counts as later on @cpu. */
static __always_inline u64 deadline_penalty(const struct task_struct *p,
				       const struct vmland_task_ctx *taskc, s32 cpu)
{
	return prefers_elsewhere(p, taskc, cpu) ? slice_vtime(taskc) : 0;
}

/* The first in line of those that may run on a CPU. */
struct queue_head {
	u64 dsq;
	u64 deadline;
	u64 vruntime;
	u64 order;	/* by which it is chosen: the deadline, or later */
	u64 least;	/* the first place of those looked at, whoever is chosen */
	s32 pid;
	u32 gang;	/* id of its VM, whose vCPUs are to run together; 0: no such */
	u64 slice_ns;
	bool found;
	bool overtakes;	/* others of its line, whose handicap is larger */
};

/*
 * Puts @p, who waits in @dsq, into @best, if it comes first. Returns whether those
 * behind it in @dsq might come before it.
 */
static __always_inline bool queue_compare(struct task_struct *p, u64 dsq, s32 cpu,
					 bool overtakes, struct queue_head *best)
{
	struct vmland_task_ctx *taskc = taskc_of(p);
	u64 place, order;

	if (!taskc)
		return true;
	place = p->scx.dsq_vtime + deadline_penalty(p, taskc, cpu);
	order = sticky_elsewhere(p, taskc, cpu) ? place + slice_vtime(taskc) : place;
	if (!best->found || time_before(place, best->least))
		best->least = place;
	if (best->found && !time_before(order, best->order))
		return order != p->scx.dsq_vtime;
	best->dsq = dsq;
	best->deadline = p->scx.dsq_vtime;
	best->vruntime = taskc->vruntime;
	best->order = order;
	best->pid = p->pid;
	best->gang = taskc->cosched ? taskc->vm_id : 0;
	best->slice_ns = taskc->slice_ns;
	best->found = true;
	best->overtakes = overtakes;
	return order != p->scx.dsq_vtime;
}

/*
 * Puts the first of @dsq that may run on @cpu into @best, if it comes first. Not
 * static, so that the verifier looks at it once and for itself: with all that three
 * calls in a row can make of @best, it had three times as much to do in all.
 */
__noinline int queue_peek(u64 dsq, s32 cpu, struct queue_head *best __arg_nonnull)
{
	struct task_struct *p;
	u32 scanned = 0;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	/* Mostly the very first will do, and to look at that takes no lock. */
	p = bpf_ksym_exists(scx_bpf_dsq_peek) ? scx_bpf_dsq_peek(dsq) : NULL;
	if (p && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	    !queue_compare(p, dsq, cpu, false, best))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (!queue_compare(p, dsq, cpu, scanned, best) || ++scanned == QUEUE_SCAN)
			break;
	}
	return 0;
}

static __always_inline void queue_taken(u64 dsq, struct vmland_cpu_ctx *cpuc)
{
	cpuc->from_queue = true;
	count(dsq == SHARED_DSQ ? VMLAND_DISPATCH_SHARED :
	      dsq == PARKED_DSQ ? VMLAND_DISPATCH_PARKED : VMLAND_DISPATCH_PINNED);
}

/* Takes the first of @dsq that may run on this CPU, whose clock it then moves. */
static __always_inline bool queue_take(u64 dsq, struct vmland_cpu_ctx *cpuc)
{
	if (!scx_bpf_dsq_move_to_local(dsq, 0))
		return false;
	queue_taken(dsq, cpuc);
	return true;
}

/* Takes @best, as queue_take() does, past those before it. */
static bool queue_take_best(const struct queue_head *best, struct vmland_cpu_ctx *cpuc)
{
	struct task_struct *p = bpf_task_from_pid(best->pid);
	struct bpf_iter_scx_dsq it;
	bool moved = false;

	if (!p)
		return false;
	if (!bpf_iter_scx_dsq_new(&it, best->dsq, 0))
		moved = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL, 0);
	bpf_iter_scx_dsq_destroy(&it);
	bpf_task_release(p);
	if (moved)
		queue_taken(best->dsq, cpuc);
	return moved;
}

#endif /* VMLAND_VTIME_BPF_H */
