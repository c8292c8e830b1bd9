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
 * Payment. The yielder's vruntime is raised so that it does not come back before
 * the target, as in "Prevent CFS from ignoring boost requests from KVM" (RFC, April
 * 2021). There the target is given nothing, and a VM whose vCPUs yield loses what
 * they pay. Here the target is given what the yielder pays. A target that is next at
 * once is met half way; one that comes in turn changes places with the yielder.
 * Either way the VM has had as much as before. bound_lag() bounds both.
 *
 * Turns. A hand-off passes on what is left of the yielder's slice, not a slice
 * of its own: the CPU's turn began with somebody taken from a line and ends when
 * that one's slice would have, however often it changed hands. With fresh slices
 * siblings that wait for each other kept one CPU between them as long as they
 * spun, and met their siblings on the other CPUs never. With turns all CPUs come
 * back to the lines after a slice, where siblings stand next to each other: VMs
 * that want to run together fall into step.
 *
 * Limit. Out of turn a target runs only while it is less than HANDOFF_SLICES
 * ahead of its share, and while there is something left of the turn. Beyond that
 * the hint is still taken, but in turn: the yielder leaves, the target comes
 * before it, and both wait for their VM's time.
 */
#ifndef VMLAND_YIELD_BPF_H
#define VMLAND_YIELD_BPF_H

#define HANDOFF_SLICES 2

/* Not worth two context switches. */
#define HANDOFF_MIN_NS (100 * 1000ULL)

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
 * @f, who yields, pays @vtime, which @t is given: what their VM has had stays the
 * same. Neither leaves its bounds, and what does not fit into them is lost.
 */
static __always_inline void yield_pay(struct vmland_task *f, struct vmland_task *t,
				      u64 vtime, const struct vmland_cpu *here)
{
	f->vruntime += vtime;
	t->vruntime -= vtime * (f->weight ?: 1) / (t->weight ?: 1);
	bound_lag(f, here->clock);
	bound_lag(t, here->clock);
}

static __always_inline void turn_begin(struct vmland_cpu *here, u64 now, u64 slice)
{
	here->turn_start = now;
	here->turn_end = now + slice;
}

/* What is left of the CPU's turn, in ns; 0: too little to hand on. */
static __always_inline u64 turn_left(const struct vmland_cpu *here)
{
	u64 now = scx_bpf_now();

	return time_before(now + HANDOFF_MIN_NS, here->turn_end) ?
	       here->turn_end - now : 0;
}

/*
 * Notes that @f makes room for @to. Returns whether @to is next here; else it comes
 * before @f, in turn.
 */
static bool handoff_note(struct vmland_task *f, struct task_struct *to,
			 struct vmland_task *t, struct vmland_cpu *here)
{
	bool in_turn = !turn_left(here) ||
		       time_after(t->vruntime, here->clock + HANDOFF_SLICES * slice_vtime(t));
	u64 behind = t->vruntime;

	if (in_turn) {
		/* Where the target stands in line, which has a grace if parked. */
		if (time_before(behind, to->scx.dsq_vtime - slice_vtime(f)))
			behind = to->scx.dsq_vtime - slice_vtime(f);
		if (!time_after(f->vruntime, behind))
			yield_pay(f, t, behind + 1 - f->vruntime, here);
	} else {
		/* They meet, and wait side by side from then on. */
		if (!time_after(f->vruntime, behind))
			yield_pay(f, t, (behind - f->vruntime) / 2 + 1, here);
		here->handoff_pid = to->pid;
	}
	return !in_turn;
}

/* A receiver of @from's IPIs that waits gets the CPU. Returns whether there is one. */
static bool yield_to_receiver(struct task_struct *from, struct vmland_task *f,
			      struct vmland_cpu *here)
{
	struct task_struct *p;
	struct vmland_task *t;

	p = ipi_receiver(from, f);
	if (!p)
		return false;
	t = task_state(p);
	if (t)
		handoff_note(f, p, t, here);
	bpf_task_release(p);
	return t;
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
	if (yield_to_receiver(from, f, here)) {
		count(VMLAND_YIELD_RECEIVER);
	} else if (t->woken && !t->passed_over && with(VMLAND_SECOND_CHANCE)) {
		t->passed_over = true;
		count(VMLAND_YIELD_WOKEN);
		return false;
	} else {
		count(handoff_note(f, to, t, here) ? VMLAND_YIELD_HONOURED : VMLAND_YIELD_IN_TURN);
	}
	__sync_fetch_and_add(&vm->yields_honoured, 1);
	return true;
}

/* @prev was made to schedule by a pause exit: see ipi.bpf.c. */
static void spin_serve(struct task_struct *prev, struct vmland_cpu *here)
{
	struct vmland_task *f = task_state(prev);

	if (!f || !f->spun)
		return;
	f->spun = false;
	if (!with(VMLAND_YIELD_TO) || terms_say(f, VMLAND_TERMS_IGNORE_YIELD))
		return;
	charge(prev, f, scx_bpf_now());
	if (!yield_to_receiver(prev, f, here))
		return;
	f->yielded = true;
	count(VMLAND_SPIN_RECEIVER);
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
 * Puts @p, which waits in @dsq, first on @cpu, or on its own CPU where it may
 * not run on @cpu. An iterator moves any task that was on its DSQ when the
 * iterator was made, so this costs the same however long the line is.
 */
static bool handoff_move(struct task_struct *p, u64 dsq, s32 cpu, u64 slice)
{
	bool here = bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    (!is_pinned(p) || scx_bpf_task_cpu(p) == cpu);
	s32 dest = here ? cpu : scx_bpf_task_cpu(p);
	struct bpf_iter_scx_dsq it;
	bool moved = false;

	if (!bpf_iter_scx_dsq_new(&it, dsq, 0)) {
		scx_bpf_dsq_move_set_slice(&it, slice);
		moved = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL_ON | dest,
					 here ? 0 : SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (!moved)
		count(VMLAND_HANDOFF_LOST);
	else
		count(here ? handoff_place(dsq) : VMLAND_HANDOFF_REMOTE);
	return moved && here;
}

/* How long @p, who is handed this CPU, may have it. */
static __always_inline u64 handoff_slice(struct task_struct *p, const struct vmland_cpu *here)
{
	const struct vmland_task *t = task_state(p);

	if (!with(VMLAND_TURNS) && t)
		return t->slice_ns;
	return turn_left(here) ?: HANDOFF_MIN_NS;
}

/* Serves this CPU's note. Returns whether the target is now first here. */
static bool handoff_serve(struct vmland_cpu *here, s32 cpu)
{
	struct task_struct *p;
	bool served = false;
	s32 pid = here->handoff_pid;
	u64 dsq;

	if (!pid)
		return false;
	here->handoff_pid = 0;
	p = bpf_task_from_pid(pid);
	if (!p)
		return false;

	dsq = p->scx.dsq ? p->scx.dsq->id : SCX_DSQ_INVALID;
	if (dsq <= PARKED_DSQ) {
		served = handoff_move(p, dsq, cpu, handoff_slice(p, here));
		if (served)
			here->expected_pid = pid;
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
