/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The boost budget: how much CPU time a VM may have out of turn.
 *
 * Problem. A hand-off (yield.bpf.h) or a gang (cosched/gang.bpf.h) gives a CPU to
 * a vCPU although others have earlier deadlines. The vCPU is charged for it, so nobody
 * loses CPU time in the long run. But the others wait.
 *
 * Mechanism. The parameter boost_percent says what part of a VM's CPU time may be out of turn.
 * The VM earns that part of all that it runs, and spends what it runs out of turn. When
 * the budget is empty, hints are still honoured, but in turn. At 100 % nothing is
 * counted.
 */
#ifndef VMLAND_HANDOFF_BOOST_BPF_H
#define VMLAND_HANDOFF_BOOST_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"

/* The largest budget, in ns: 100 ms, ten slices. So a burst after a calm time is bounded. */
#define BOOST_SAVED_NS (100 * 1000 * 1000LL)

/* The task of @taskc, a vCPU of @vmc, has run for @ns. */
static __always_inline void boost_account(struct vmland_vm_ctx *vmc,
					  const struct vmland_task_ctx *taskc, u64 ns)
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

#endif /* VMLAND_HANDOFF_BOOST_BPF_H */
