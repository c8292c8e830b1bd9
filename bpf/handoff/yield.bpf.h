/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Directed yield: a vCPU that spins gives its CPU to the sibling that it waits for.
 *
 * Problem. On a pause exit KVM picks a sibling and calls yield_to(). A scheduler that
 * ignores this hint leaves the spinning vCPU on its CPU.
 *
 * Mechanism. ops.yield() runs with both run queues locked, and may not move a task. So it
 * charges the yielder, ends its slice, and notes the target for this CPU. The yielder calls
 * schedule() next, and ops.dispatch() serves the note before anything else (handoff.bpf.h).
 * If the receiver of an IPI of the yielder waits (ipi/pending.bpf.h), it is noted in place of
 * the target.
 *
 * Cost. The yielder's vruntime is equalized with that of a target that runs next
 * (vtime/transfer.bpf.h).
 *
 * Limits. A target runs out of turn only within the limits of turn.bpf.h and boost.bpf.h.
 * Beyond them the hint is still honoured, but in turn: the yielder leaves its CPU, defers
 * behind the target, and both wait for their deadlines. So it is where the target would leave
 * its home (domain/home.bpf.h).
 */
#ifndef VMLAND_HANDOFF_YIELD_BPF_H
#define VMLAND_HANDOFF_YIELD_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vcpu.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../domain/home.bpf.h"
#include "../ipi/pending.bpf.h"
#include "../params/params.bpf.h"
#include "../vtime/charge.bpf.h"
#include "../vtime/transfer.bpf.h"
#include "../vtime/vtime.bpf.h"
#include "sticky.bpf.h"
#include "turn.bpf.h"

/*
 * A sender that spins suspends its turn for a receiver, which may hold it up for this long, in
 * ns: 100 us. Where a receiver takes longer, it gets the rest of the turn.
 */
#define RECEIVER_MOST_NS (100 * 1000ULL)

/* sched_yield(): once, behind all tasks of the same weight. */
static __always_inline void yield_plain(struct vmland_task_ctx *taskc,
					const struct vmland_cpu_ctx *cpuc)
{
	u64 last = cpuc->vtime + slice_vtime(taskc);

	count(VMLAND_YIELD_PLAIN);
	if (time_before(taskc->vruntime, last))
		taskc->vruntime = last;
}

/*
 * Notes a waiting receiver of IPIs of @sender for this CPU, or defers the sender behind
 * it. @yields: the sender could go on; else it leaves its CPU anyway, and its vruntime and
 * deadline are not touched. Returns whether a receiver waits.
 */
static bool handoff_to_receiver(struct task_struct *sender, struct vmland_task_ctx *senderc,
				struct vmland_cpu_ctx *cpuc, bool yields)
{
	struct vmland_task_ctx *receiverc;
	struct task_struct *receiver;
	struct vmland_vm_ctx *vmc;

	receiver = pending_receiver(sender, senderc);
	if (!receiver)
		return false;
	receiverc = taskc_of(receiver);
	if (receiverc && may_run_out_of_turn(receiverc, cpuc->vtime) &&
	    handoff_stays_home(receiver, receiverc, scx_bpf_task_cpu(sender)) &&
	    turn_left_or_prolonged(cpuc)) {
		if (yields && !cpuc->suspended_pid && vmland_receiver_ns < RECEIVER_MOST_NS) {
			cpuc->suspended_pid = sender->pid;
			cpuc->suspended_vruntime = senderc->vruntime;
			cpuc->suspended_by_ipi = true;
			cpuc->first_slice_ns = vmland_receiver_ns;
		} else if (yields) {
			equalize_vruntime(senderc, receiverc, cpuc);
		}
		cpuc->handoff_pid = receiver->pid;
		vmc = vmc_of(senderc->vm_slot);
		if (vmc)
			__sync_fetch_and_add(&vmc->receivers, 1);
		sticky_mark(senderc, receiverc);
	} else if (yields) {
		defer_behind(senderc, receiver, cpuc);
	}
	bpf_task_release(receiver);
	return true;
}

/* yield_to(). Returns whether the hint is honoured. */
static bool yield_directed(struct task_struct *yielder, struct vmland_task_ctx *yielderc,
			   struct task_struct *target, struct vmland_cpu_ctx *cpuc)
{
	struct vmland_task_ctx *targetc = taskc_of(target);
	struct vmland_vm_ctx *vmc;

	count(VMLAND_YIELD_ASKED);
	if (!targetc)
		return false;
	vcpu_classify(yielder, yielderc);
	vcpu_classify(target, targetc);
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
	if (handoff_to_receiver(yielder, yielderc, cpuc, true)) {
		count(VMLAND_YIELD_RECEIVER);
	} else if (targetc->woken && !targetc->passed_over &&
		   mechanism_on(VMLAND_SECOND_CHANCE)) {
		targetc->passed_over = true;
		count(VMLAND_YIELD_WOKEN);
		return false;
	} else if (may_run_out_of_turn(targetc, cpuc->vtime) && turn_left(cpuc) &&
		   handoff_stays_home(target, targetc, scx_bpf_task_cpu(yielder))) {
		equalize_vruntime(yielderc, targetc, cpuc);
		cpuc->handoff_pid = target->pid;
		count(VMLAND_YIELD_HONOURED);
	} else if (yielderc->gang) {
		/* Both have the deadline of their gang: there is nothing to defer. */
		count(VMLAND_YIELD_GANG);
		return false;
	} else {
		defer_behind(yielderc, target, cpuc);
		count(VMLAND_YIELD_IN_TURN);
	}
	__sync_fetch_and_add(&vmc->yields_honoured, 1);
	return true;
}

/*
 * @prev leaves @cpu: after a pause exit (ipi/ipi.bpf.c), at the end of its slice, or to
 * sleep. Notes a waiting receiver of its IPIs for this CPU. Not static, so that the verifier
 * checks it once, and not at each call.
 */
__noinline int handoff_on_leave(struct task_struct *prev __arg_trusted, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *senderc = taskc_of(prev);
	bool spun;

	if (!cpuc || !senderc || !is_vcpu(senderc))
		return 0;
	spun = senderc->spun;
	senderc->spun = false;
	if (!mechanism_on(VMLAND_YIELD_TO) || vm_has_flag(senderc, VMLAND_VM_IGNORE_YIELD))
		return 0;
	if (spun)
		charge(prev, senderc, scx_bpf_now());
	if (!handoff_to_receiver(prev, senderc, cpuc, spun))
		return 0;
	if (spun) {
		senderc->yielded = true;
		count(VMLAND_SPIN_RECEIVER);
	} else if (cpuc->handoff_pid) {
		count(VMLAND_LEFT_RECEIVER);
	}
	return 0;
}

#endif /* VMLAND_HANDOFF_YIELD_BPF_H */
