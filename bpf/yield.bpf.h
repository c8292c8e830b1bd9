/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Directed yield: a vCPU that spins gives its CPU to the sibling it waits for.
 *
 * Problem. On a pause exit KVM picks a sibling and calls yield_to(). A
 * scheduler that does not take the hint leaves the spinner on the CPU.
 *
 * Mechanism. ops.yield() runs with both run queues locked and can move nobody:
 * it makes the yielder pay, takes its slice, and notes the target for this CPU.
 * The yielder calls schedule() next, and ops.dispatch() serves the note before
 * anything else, wherever the target waits.
 *
 * Together. Of a VM whose vCPUs are to run together (siblings.bpf.h) the target takes
 * another CPU, if one can be had, and the yielder goes on.
 *
 * Payment. The yielder is not to come back before the target, as in "Prevent CFS from
 * ignoring boost requests from KVM" (RFC, April 2021). There the yielder pays with
 * vruntime, the target is given nothing, and a VM whose vCPUs yield loses what they pay.
 * Here a target that is next at once is met half way: it is given what the yielder pays,
 * and the VM has had as much as before.
 *
 * Limit. Out of turn a target runs only while it is less than HANDOFF_SLICES ahead of its
 * share, while there is something left of the turn (turn.bpf.h), and as its VM's budget
 * allows (boost.bpf.h). Beyond that the hint is still taken, but in turn: the
 * yielder leaves, its next place in line is behind the target's, and both wait for their
 * VM's time. Nobody pays for that: a VM whose vCPUs changed places by vruntime had them
 * wait where they stood before, and in the end lost 28 % of its share (tests/sim).
 */
#ifndef VMLAND_YIELD_BPF_H
#define VMLAND_YIELD_BPF_H

/* sched_yield(): behind everybody of the same weight, once. */
static __always_inline void yield_plain(struct vmland_task *t,
					const struct vmland_cpu *here)
{
	u64 last = here->clock + slice_vtime(t);

	count(VMLAND_YIELD_PLAIN);
	if (time_before(t->vruntime, last))
		t->vruntime = last;
}

/*
 * @f, who yields, pays at most @vtime, which @t is given: what their VM has had stays the
 * same. Neither leaves its bounds; what does not fit into them is not paid, for it would
 * be lost to the VM. Where the skew of siblings is bounded nothing changes hands: it
 * would part them for good.
 */
static void yield_pay(struct vmland_task *f, struct vmland_task *t, u64 vtime,
		      const struct vmland_cpu *here)
{
	u64 weight_f = f->weight ?: 1, weight_t = t->weight ?: 1;
	s64 room_f = here->clock + DEBT_SLICES * slice_vtime(f) - f->vruntime;
	s64 room_t = t->vruntime - here->clock + CREDIT_SLICES * slice_vtime(t);

	if (f->skew_ns || room_f <= 0 || room_t <= 0)
		return;
	room_t = room_t * weight_t / weight_f;
	if (vtime > (u64)room_f)
		vtime = room_f;
	if (vtime > (u64)room_t)
		vtime = room_t;
	f->vruntime += vtime;
	t->vruntime -= vtime * weight_f / weight_t;
}

/* @f pays @t until they meet, and wait side by side from then on. */
static void meet(struct vmland_task *f, struct vmland_task *t, const struct vmland_cpu *here)
{
	if (!time_after(f->vruntime, t->vruntime))
		yield_pay(f, t, (t->vruntime - f->vruntime) / 2 + 1, here);
}

/* @f makes room for whoever is next; @to comes before it, in turn. */
static void make_way(struct vmland_task *f, const struct task_struct *to,
		     const struct vmland_cpu *here)
{
	/* As late as any place in line, that of who is parked included. */
	u64 most = here->clock + (DEBT_SLICES + 2) * slice_vtime(f) + 1;

	f->not_before = to->scx.dsq_vtime + 1;
	if (time_after(f->not_before, most))
		f->not_before = most;
}

/*
 * A receiver of @from's IPIs that waits is next here, or else in turn. @from makes room
 * for it if it @yields; else it leaves anyway. Returns whether there is one.
 */
static bool receiver_next(struct task_struct *from, struct vmland_task *f,
			  struct vmland_cpu *here, bool yields)
{
	struct task_struct *p;
	struct vmland_task *t;

	p = ipi_receiver(from, f);
	if (!p)
		return false;
	t = task_state(p);
	if (t && may_go_first(t, here->clock) && turn_for_receiver(here)) {
		if (yields)
			meet(f, t, here);
		here->handoff_pid = p->pid;
		stay(f, t);
	} else if (yields) {
		make_way(f, p, here);
	}
	bpf_task_release(p);
	return true;
}

/* Returns whether the hint was taken. */
static bool yield_directed(struct task_struct *from, struct vmland_task *f,
			   struct task_struct *to, struct vmland_cpu *here)
{
	struct vmland_task *t = task_state(to);
	struct vmland_vm *vm;

	count(VMLAND_YIELD_ASKED);
	if (!t)
		return false;
	vcpu_classify(from, f);
	vcpu_classify(to, t);
	if (!is_vcpu(f) || !is_vcpu(t)) {
		count(VMLAND_YIELD_NOT_VCPU);
		return false;
	}
	vm = vm_state(f->vm_slot);
	if (!vm)
		return false;
	__sync_fetch_and_add(&vm->yields_asked, 1);
	if (f->vm_id != t->vm_id) {
		count(VMLAND_YIELD_OTHER_VM);
		return false;
	}
	if (!with(VMLAND_YIELD_TO) || terms_say(f, VMLAND_TERMS_IGNORE_YIELD)) {
		count(VMLAND_YIELD_UNWANTED);
		return false;
	}
	if (t->aside_since) {
		count(VMLAND_YIELD_ASIDE);
		return false;
	}
	if (receiver_next(from, f, here, true)) {
		count(VMLAND_YIELD_RECEIVER);
	} else if (t->woken && !t->passed_over && with(VMLAND_SECOND_CHANCE)) {
		t->passed_over = true;
		count(VMLAND_YIELD_WOKEN);
		return false;
	} else if (may_go_first(t, here->clock) && turn_left(here)) {
		meet(f, t, here);
		here->handoff_pid = to->pid;
		count(VMLAND_YIELD_HONOURED);
	} else {
		make_way(f, to, here);
		count(VMLAND_YIELD_IN_TURN);
	}
	__sync_fetch_and_add(&vm->yields_honoured, 1);
	return true;
}

/*
 * @prev leaves its CPU, by a pause exit (ipi.bpf.c) or as its turn is over or it sleeps:
 * who was sent an IPI by it, and waits, is next. Not static, so that the verifier looks
 * at it once.
 */
__noinline int receiver_serve(struct task_struct *prev __arg_trusted, s32 cpu)
{
	struct vmland_cpu *here = cpu_state(cpu);
	struct vmland_task *f = task_state(prev);
	bool spun;

	if (!here || !f || !is_vcpu(f))
		return 0;
	spun = f->spun;
	f->spun = false;
	if (!with(VMLAND_YIELD_TO) || terms_say(f, VMLAND_TERMS_IGNORE_YIELD))
		return 0;
	if (spun)
		charge(prev, f, scx_bpf_now());
	if (!receiver_next(prev, f, here, spun))
		return 0;
	if (spun) {
		f->yielded = true;
		count(VMLAND_SPIN_RECEIVER);
	} else if (here->handoff_pid) {
		count(VMLAND_LEFT_RECEIVER);
	}
	return 0;
}

/* Where is the target, as far as a hand-off on @cpu is concerned? */
static __always_inline u32 handoff_place(u64 dsq)
{
	if (dsq == SHARED_DSQ)
		return VMLAND_HANDOFF_LINE;
	if (dsq == PARKED_DSQ)
		return VMLAND_HANDOFF_PARKED;
	return VMLAND_HANDOFF_PINNED;
}

/*
 * Moves @p, which waits in @dsq, to @cpu. An iterator moves any task that was on its DSQ
 * when the iterator was made, so this costs the same however long the line is.
 */
static __always_inline bool move_to_cpu(struct task_struct *p, u64 dsq, s32 cpu, u64 slice,
					u64 flags)
{
	struct bpf_iter_scx_dsq it;
	bool moved = false;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		scx_bpf_dsq_move_set_slice(&it, slice);
		moved = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL_ON | cpu, flags);
	}
	bpf_iter_scx_dsq_destroy(&it);
	return moved;
}

/*
 * Puts @p, which waits in @dsq, first on @cpu, or on its own CPU where it may not run on
 * @cpu.
 */
static bool handoff_move(struct task_struct *p, u64 dsq, s32 cpu, u64 slice)
{
	bool here = bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    (!is_pinned(p) || scx_bpf_task_cpu(p) == cpu);
	s32 dest = here ? cpu : scx_bpf_task_cpu(p);
	bool moved = move_to_cpu(p, dsq, dest, slice, here ? 0 : SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);

	if (!moved)
		count(VMLAND_HANDOFF_LOST);
	else
		count(here ? handoff_place(dsq) : VMLAND_HANDOFF_REMOTE);
	return moved && here;
}

/* Puts @p, which waits in @dsq, onto another CPU at once. */
static bool handoff_beside(struct task_struct *p, u64 dsq, s32 cpu, u64 slice)
{
	bool moved = move_to_cpu(p, dsq, cpu, slice, SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);

	if (moved)
		count(VMLAND_HANDOFF_REMOTE);
	return moved;
}

/* Does a hand-off to @t pass on the turn, or has it one of its own? */
static __always_inline bool passes_on_turn(const struct vmland_task *t)
{
	return with(VMLAND_TURNS) && !terms_say(t, VMLAND_TERMS_COSCHED_OFF);
}

/* How long @p, who is handed this CPU, may have it. */
static __always_inline u64 handoff_slice(struct task_struct *p, const struct vmland_cpu *here)
{
	const struct vmland_task *t = task_state(p);

	if (t && !passes_on_turn(t))
		return t->slice_ns;
	return turn_left(here) ?: HANDOFF_MIN_NS;
}

/* What came of a note. */
enum handoff {
	HANDOFF_NONE,
	HANDOFF_HERE,		/* the target is first on this CPU */
	HANDOFF_BESIDE,		/* it has another one, and the yielder may go on */
};

/*
 * Serves the note of @cpu, which is this CPU. Not static, so that the verifier looks at
 * it once.
 */
__noinline int handoff_serve(s32 cpu)
{
	struct vmland_cpu *here = cpu_state(cpu);
	int served = HANDOFF_NONE;
	struct vmland_task *t;
	struct task_struct *p;
	u64 dsq, slice = 0;
	s32 pid, beside = -1;

	if (!here)
		return served;
	pid = here->handoff_pid;
	here->handoff_pid = 0;
	p = bpf_task_from_pid(pid);
	if (!p)
		return served;

	dsq = p->scx.dsq ? p->scx.dsq->id : SCX_DSQ_INVALID;
	t = task_state(p);
	if (dsq == ASIDE_DSQ || (t && held_back(p, t, scx_bpf_now()))) {
		count(VMLAND_HANDOFF_LOST);
	} else if (dsq <= PARKED_DSQ) {
		if (t && t->together)
			beside = sibling_late(p, t, &slice);
		if (beside >= 0 && handoff_beside(p, dsq, beside, slice)) {
			served = HANDOFF_BESIDE;
		} else if (handoff_move(p, dsq, cpu, handoff_slice(p, here))) {
			here->expected_pid = pid;
			served = HANDOFF_HERE;
		}
	} else if (is_queued(p)) {
		/* On a CPU, or in a CPU's local DSQ, which is as good. */
		count(VMLAND_HANDOFF_SERVED);
	} else {
		count(VMLAND_HANDOFF_LOST);
	}
	bpf_task_release(p);
	return served;
}

#endif /* VMLAND_YIELD_BPF_H */
