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
 * Together. Of a VM whose vCPUs are to run together (cosched.bpf.h) the target takes
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
static __always_inline void yield_plain(struct vmland_task_ctx *targetc,
					const struct vmland_cpu_ctx *cpuc)
{
	u64 last = cpuc->vtime + slice_vtime(targetc);

	count(VMLAND_YIELD_PLAIN);
	if (time_before(targetc->vruntime, last))
		targetc->vruntime = last;
}

/*
 * @yielderc, who yields, pays at most @vtime, which @targetc is given: what their VM has had stays the
 * same. Neither leaves its bounds; what does not fit into them is not paid, for it would
 * be lost to the VM. Where the skew of siblings is bounded nothing changes hands: it
 * would part them for good.
 */
static void transfer_vruntime(struct vmland_task_ctx *yielderc, struct vmland_task_ctx *targetc, u64 vtime,
		      const struct vmland_cpu_ctx *cpuc)
{
	u64 weight_f = yielderc->weight ?: 1, weight_t = targetc->weight ?: 1;
	s64 room_f = cpuc->vtime + DEBT_SLICES * slice_vtime(yielderc) - yielderc->vruntime;
	s64 room_t = targetc->vruntime - cpuc->vtime + CREDIT_SLICES * slice_vtime(targetc);

	if (yielderc->skew_ns || room_f <= 0 || room_t <= 0)
		return;
	room_t = room_t * weight_t / weight_f;
	if (vtime > (u64)room_f)
		vtime = room_f;
	if (vtime > (u64)room_t)
		vtime = room_t;
	yielderc->vruntime += vtime;
	targetc->vruntime -= vtime * weight_f / weight_t;
}

/* @yielderc pays @targetc until they meet, and wait side by side from then on. */
static void equalize_vruntime(struct vmland_task_ctx *yielderc, struct vmland_task_ctx *targetc, const struct vmland_cpu_ctx *cpuc)
{
	if (!time_after(yielderc->vruntime, targetc->vruntime))
		transfer_vruntime(yielderc, targetc, (targetc->vruntime - yielderc->vruntime) / 2 + 1, cpuc);
}

/* @yielderc makes room for whoever is next; @to comes before it, in turn. */
static void defer_behind(struct vmland_task_ctx *yielderc, const struct task_struct *to,
		     const struct vmland_cpu_ctx *cpuc)
{
	/* As late as any place in line, that of who is parked included. */
	u64 most = cpuc->vtime + (DEBT_SLICES + 2) * slice_vtime(yielderc) + 1;

	yielderc->min_deadline = to->scx.dsq_vtime + 1;
	if (time_after(yielderc->min_deadline, most))
		yielderc->min_deadline = most;
}

/*
 * A receiver of @from's IPIs that waits is next here, or else in turn. @from makes room
 * for it if it @yields; else it leaves anyway. Returns whether there is one.
 */
static bool handoff_to_receiver(struct task_struct *from, struct vmland_task_ctx *yielderc,
			  struct vmland_cpu_ctx *cpuc, bool yields)
{
	struct task_struct *p;
	struct vmland_task_ctx *targetc;

	p = pending_receiver(from, yielderc);
	if (!p)
		return false;
	targetc = taskc_of(p);
	if (targetc && may_run_out_of_turn(targetc, cpuc->vtime) && turn_left_or_prolonged(cpuc)) {
		if (yields)
			equalize_vruntime(yielderc, targetc, cpuc);
		cpuc->handoff_pid = p->pid;
		sticky_mark(yielderc, targetc);
	} else if (yields) {
		defer_behind(yielderc, p, cpuc);
	}
	bpf_task_release(p);
	return true;
}

/* Returns whether the hint was taken. */
static bool yield_directed(struct task_struct *from, struct vmland_task_ctx *yielderc,
			   struct task_struct *to, struct vmland_cpu_ctx *cpuc)
{
	struct vmland_task_ctx *targetc = taskc_of(to);
	struct vmland_vm_ctx *vmc;

	count(VMLAND_YIELD_ASKED);
	if (!targetc)
		return false;
	vcpu_classify(from, yielderc);
	vcpu_classify(to, targetc);
	if (!is_vcpu(yielderc) || !is_vcpu(targetc)) {
		count(VMLAND_YIELD_NOT_VCPU);
		return false;
	}
	vmc = vmc_of(yielderc->vm_slot);
	if (!vmc)
		return false;
	__sync_fetch_and_add(&vmc->yields_asked, 1);
	if (yielderc->vm_id != targetc->vm_id) {
		count(VMLAND_YIELD_OTHER_VM);
		return false;
	}
	if (!mechanism_on(VMLAND_YIELD_TO) || vm_has_flag(yielderc, VMLAND_VM_IGNORE_YIELD)) {
		count(VMLAND_YIELD_IGNORED);
		return false;
	}
	if (targetc->throttled_since) {
		count(VMLAND_YIELD_THROTTLED);
		return false;
	}
	if (handoff_to_receiver(from, yielderc, cpuc, true)) {
		count(VMLAND_YIELD_RECEIVER);
	} else if (targetc->woken && !targetc->passed_over && mechanism_on(VMLAND_SECOND_CHANCE)) {
		targetc->passed_over = true;
		count(VMLAND_YIELD_WOKEN);
		return false;
	} else if (may_run_out_of_turn(targetc, cpuc->vtime) && turn_left(cpuc)) {
		equalize_vruntime(yielderc, targetc, cpuc);
		cpuc->handoff_pid = to->pid;
		count(VMLAND_YIELD_HONOURED);
	} else {
		defer_behind(yielderc, to, cpuc);
		count(VMLAND_YIELD_IN_TURN);
	}
	__sync_fetch_and_add(&vmc->yields_honoured, 1);
	return true;
}

/*
 * @prev leaves its CPU, by a pause exit (ipi.bpf.c) or as its turn is over or it sleeps:
 * who was sent an IPI by it, and waits, is next. Not static, so that the verifier looks
 * at it once.
 */
__noinline int handoff_on_leave(struct task_struct *prev __arg_trusted, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *yielderc = taskc_of(prev);
	bool spun;

	if (!cpuc || !yielderc || !is_vcpu(yielderc))
		return 0;
	spun = yielderc->spun;
	yielderc->spun = false;
	if (!mechanism_on(VMLAND_YIELD_TO) || vm_has_flag(yielderc, VMLAND_VM_IGNORE_YIELD))
		return 0;
	if (spun)
		charge(prev, yielderc, scx_bpf_now());
	if (!handoff_to_receiver(prev, yielderc, cpuc, spun))
		return 0;
	if (spun) {
		yielderc->yielded = true;
		count(VMLAND_SPIN_RECEIVER);
	} else if (cpuc->handoff_pid) {
		count(VMLAND_LEFT_RECEIVER);
	}
	return 0;
}

/* Where is the target, as far as a hand-off on @cpu is concerned? */
static __always_inline u32 handoff_place(u64 dsq)
{
	if (dsq == SHARED_DSQ)
		return VMLAND_HANDOFF_SHARED;
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
	bool cpuc = bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
		    (!is_pinned(p) || scx_bpf_task_cpu(p) == cpu);
	s32 dest = cpuc ? cpu : scx_bpf_task_cpu(p);
	bool moved = move_to_cpu(p, dsq, dest, slice, cpuc ? 0 : SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);

	if (!moved)
		count(VMLAND_HANDOFF_LOST);
	else
		count(cpuc ? handoff_place(dsq) : VMLAND_HANDOFF_REMOTE);
	return moved && cpuc;
}

/* Puts @p, which waits in @dsq, onto another CPU at once. */
static bool handoff_elsewhere(struct task_struct *p, u64 dsq, s32 cpu, u64 slice)
{
	bool moved = move_to_cpu(p, dsq, cpu, slice, SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);

	if (moved)
		count(VMLAND_HANDOFF_REMOTE);
	return moved;
}

/* Does a hand-off to @targetc pass on the turn, or has it one of its own? */
static __always_inline bool passes_on_turn(const struct vmland_task_ctx *targetc)
{
	return mechanism_on(VMLAND_TURNS) && !vm_has_flag(targetc, VMLAND_VM_COSCHED_OFF);
}

/* How long @p, who is handed this CPU, may have it. */
static __always_inline u64 handoff_slice(struct task_struct *p, const struct vmland_cpu_ctx *cpuc)
{
	const struct vmland_task_ctx *targetc = taskc_of(p);

	if (targetc && !passes_on_turn(targetc))
		return targetc->slice_ns;
	return turn_left(cpuc) ?: HANDOFF_MIN_NS;
}

/* What came of a note. */
enum handoff {
	HANDOFF_NONE,
	HANDOFF_HERE,		/* the target is first on this CPU */
	HANDOFF_ELSEWHERE,		/* it has another one, and the yielder may go on */
};

/*
 * Serves the note of @cpu, which is this CPU. Not static, so that the verifier looks at
 * it once.
 */
__noinline int handoff_serve(s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	int served = HANDOFF_NONE;
	struct vmland_task_ctx *targetc;
	struct task_struct *p;
	u64 dsq, slice = 0;
	s32 pid, cosched_on = -1;

	if (!cpuc)
		return served;
	pid = cpuc->handoff_pid;
	cpuc->handoff_pid = 0;
	p = bpf_task_from_pid(pid);
	if (!p)
		return served;

	dsq = p->scx.dsq ? p->scx.dsq->id : SCX_DSQ_INVALID;
	targetc = taskc_of(p);
	if (dsq == THROTTLED_DSQ || (targetc && throttled_until(p, targetc, scx_bpf_now()))) {
		count(VMLAND_HANDOFF_LOST);
	} else if (dsq <= PARKED_DSQ) {
		if (targetc && targetc->cosched)
			cosched_on = cosched_late(p, targetc, &slice);
		if (cosched_on >= 0 && handoff_elsewhere(p, dsq, cosched_on, slice)) {
			served = HANDOFF_ELSEWHERE;
		} else if (handoff_move(p, dsq, cpu, handoff_slice(p, cpuc))) {
			cpuc->expected_pid = pid;
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
