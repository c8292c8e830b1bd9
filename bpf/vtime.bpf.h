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
 * (prefer.bpf.h, stay.bpf.h).
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
static __always_inline u64 weighted(u64 ns, u64 weight)
{
	return ns * VMLAND_NICE_0 / weight;
}

static __always_inline u64 slice_vtime(const struct vmland_task *t)
{
	return weighted(t->slice_ns, t->weight ?: 1);
}

static __always_inline u64 deadline(const struct vmland_task *t)
{
	u64 own = t->vruntime + slice_vtime(t);

	return t->not_before && time_before(own, t->not_before) ? t->not_before : own;
}

static __always_inline void clock_advance(struct vmland_cpu *here, u64 to)
{
	if (time_after(to, here->clock))
		here->clock = to;
}

static __always_inline void bound_lag(struct vmland_task *t, u64 clock, u64 credit_slices)
{
	u64 slice = slice_vtime(t);
	u64 least = clock - credit_slices * slice, most = clock + DEBT_SLICES * slice;

	if (time_before(t->vruntime, least))
		t->vruntime = least;
	else if (time_after(t->vruntime, most))
		t->vruntime = most;
}

/* @t has run on @cpu for @ns. Not static, so that the verifier looks at it once. */
__noinline int pay(struct vmland_task *t __arg_nonnull, u64 ns, s32 cpu)
{
	struct vmland_vm *vm;
	u64 *pauses;
	u32 key = 0;

	t->ran_ns += ns;
	t->vruntime += weighted(ns, t->weight ?: 1);
	if (is_limited(t))
		limits_use(t->group, cap_slot(t), ns);
	if (!is_vcpu(t))
		return 0;
	vm = vm_state(t->vm_slot);
	if (!vm)
		return 0;
	__sync_fetch_and_add(&vm->cpu_ns, ns);
	boost_pay(vm, t, ns);
	pauses = bpf_map_lookup_percpu_elem(&vmland_pauses, &key, cpu);
	if (pauses && *pauses) {
		__sync_fetch_and_add(&vm->pause_exits, *pauses);
		*pauses = 0;
	}
	return 0;
}

/* @p has run from t->run_start to @now. */
static __always_inline void charge(const struct task_struct *p,
				   struct vmland_task *t, u64 now)
{
	u64 ns = now - t->run_start;

	if (t->group)
		terms_refresh(p, t);
	t->run_start = now;
	pay(t, ns, scx_bpf_task_cpu(p));
}

static __always_inline bool is_pinned(const struct task_struct *p)
{
	return p->nr_cpus_allowed == 1 || is_migration_disabled(p);
}

/* Which line is @p, on @cpu, to wait in? */
static __always_inline u64 line_of(const struct task_struct *p, s32 cpu)
{
	return is_pinned(p) ? (u64)cpu : SHARED_DSQ;
}

/* By how much @p's deadline counts as later on @cpu. */
static __always_inline u64 handicap_of(const struct task_struct *p,
				       const struct vmland_task *t, s32 cpu)
{
	return prefers_elsewhere(p, t, cpu) ? slice_vtime(t) : 0;
}

/* The first in line of those that may run on a CPU. */
struct line_head {
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
static __always_inline bool line_compare(struct task_struct *p, u64 dsq, s32 cpu,
					 bool overtakes, struct line_head *best)
{
	struct vmland_task *t = task_state(p);
	u64 place, order;

	if (!t)
		return true;
	place = p->scx.dsq_vtime + handicap_of(p, t, cpu);
	order = stays_elsewhere(p, t, cpu) ? place + slice_vtime(t) : place;
	if (!best->found || time_before(place, best->least))
		best->least = place;
	if (best->found && !time_before(order, best->order))
		return order != p->scx.dsq_vtime;
	best->dsq = dsq;
	best->deadline = p->scx.dsq_vtime;
	best->vruntime = t->vruntime;
	best->order = order;
	best->pid = p->pid;
	best->gang = t->together ? t->vm_id : 0;
	best->slice_ns = t->slice_ns;
	best->found = true;
	best->overtakes = overtakes;
	return order != p->scx.dsq_vtime;
}

/*
 * Puts the first of @dsq that may run on @cpu into @best, if it comes first. Not
 * static, so that the verifier looks at it once and for itself: with all that three
 * calls in a row can make of @best, it had three times as much to do in all.
 */
__noinline int line_peek(u64 dsq, s32 cpu, struct line_head *best __arg_nonnull)
{
	struct task_struct *p;
	u32 looks = 0;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	/* Mostly the very first will do, and to look at that takes no lock. */
	p = bpf_ksym_exists(scx_bpf_dsq_peek) ? scx_bpf_dsq_peek(dsq) : NULL;
	if (p && bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	    !line_compare(p, dsq, cpu, false, best))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (!line_compare(p, dsq, cpu, looks, best) || ++looks == PREFER_LOOKS)
			break;
	}
	return 0;
}

static __always_inline void line_taken(u64 dsq, struct vmland_cpu *here)
{
	here->from_line = true;
	count(dsq == SHARED_DSQ ? VMLAND_DISPATCH_LINE :
	      dsq == PARKED_DSQ ? VMLAND_DISPATCH_PARKED : VMLAND_DISPATCH_PINNED);
}

/* Takes the first of @dsq that may run on this CPU, whose clock it then moves. */
static __always_inline bool line_take(u64 dsq, struct vmland_cpu *here)
{
	if (!scx_bpf_dsq_move_to_local(dsq, 0))
		return false;
	line_taken(dsq, here);
	return true;
}

/* Takes @best, as line_take() does, past those before it. */
static bool line_take_past(const struct line_head *best, struct vmland_cpu *here)
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
		line_taken(best->dsq, here);
	return moved;
}

#endif /* VMLAND_VTIME_BPF_H */
