/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VM may have out of turn.
 *
 * A hand-off (yield.bpf.h) or a sibling's turn (siblings.bpf.h) gives a CPU to a vCPU
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

/* @t, of @vm, has run for @ns. */
static __always_inline void boost_pay(struct vmland_vm *vm, const struct vmland_task *t,
				      u64 ns)
{
	s64 change, left;

	if (t->boosted)
		__sync_fetch_and_add(&vm->boosted_ns, ns);
	if (t->boost_percent >= 100)
		return;
	change = ns * t->boost_percent / 100 - (t->boosted ? ns : 0);
	left = __sync_fetch_and_add(&vm->boost_left_ns, change) + change;
	if (left > BOOST_SAVED_NS)
		__sync_fetch_and_sub(&vm->boost_left_ns, left - BOOST_SAVED_NS);
}

static __always_inline bool may_boost(const struct vmland_task *t)
{
	const struct vmland_vm *vm;

	if (t->boost_percent >= 100)
		return true;
	vm = vm_state(t->vm_slot);
	return vm && vm->boost_left_ns > 0;
}

#endif /* VMLAND_BOOST_BPF_H */
