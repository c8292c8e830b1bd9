/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VM may have out of turn.
 *
 * A hand-off (yield.bpf.h) or a sibling's turn (cosched.bpf.h) gives a CPU to a vCPU
 * that others are before in line. It pays for that as for any CPU time, so nobody loses
 * by it in the long run; but they wait. A VM's budget says what part of its own CPU time
 * may be such. It earns that part of whatever it runs, and spends what it runs out of
 * turn; with nothing left, a hint is still taken, but in turn. Where the budget is the
 * whole there is nothing to count.
 */
#ifndef VMLAND_BOOST_BPF_H
#define VMLAND_BOOST_BPF_H

/* Most that a VM can have earned and not spent, in ns. */
#define BOOST_SAVED_NS (100 * 1000 * 1000LL)

/* @taskc, of @vmc, has run for @ns. */
static __always_inline void boost_account(struct vmland_vm_ctx *vmc, const struct vmland_task_ctx *taskc,
				      u64 ns)
{
	s64 change, left;

	if (taskc->boosted)
		__sync_fetch_and_add(&vmc->boosted_ns, ns);
	if (taskc->boost_percent >= 100)
		return;
	change = ns * taskc->boost_percent / 100 - (taskc->boosted ? ns : 0);
	left = __sync_fetch_and_add(&vmc->boost_left_ns, change) + change;
	if (left > BOOST_SAVED_NS)
		__sync_fetch_and_sub(&vmc->boost_left_ns, left - BOOST_SAVED_NS);
}

static __always_inline bool may_boost(const struct vmland_task_ctx *taskc)
{
	const struct vmland_vm_ctx *vmc;

	if (taskc->boost_percent >= 100)
		return true;
	vmc = vmc_of(taskc->vm_slot);
	return vmc && vmc->boost_left_ns > 0;
}

#endif /* VMLAND_BOOST_BPF_H */
