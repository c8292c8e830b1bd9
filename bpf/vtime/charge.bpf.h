/* SPDX-License-Identifier: GPL-2.0-only */
/* Charging: what a task has run for goes to its vruntime, its limits and its VM's accounts. */
#ifndef VMLAND_VTIME_CHARGE_BPF_H
#define VMLAND_VTIME_CHARGE_BPF_H

#include <scx/common.bpf.h>
#include "../cgroup/cgroup.bpf.h"
#include "../cgroup/limits.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../handoff/boost.bpf.h"
#include "../intf.h"
#include "../ipi/receivers.bpf.h"
#include "../params/effective.bpf.h"
#include "../params/params.bpf.h"
#include "lag.bpf.h"
#include "vtime.bpf.h"

/*
 * The task of @taskc has run on @cpu for @ns. Not static, so that the verifier checks it
 * once, and not at each call.
 */
__noinline int charge_ns(struct vmland_task_ctx *taskc __arg_nonnull, u64 ns, s32 cpu)
{
	struct vmland_cgroup_ctx *cgc = taskc->cgroup_slot ? cgc_of(taskc->cgroup_slot) : NULL;
	struct vmland_kvm_counts *counts;
	struct vmland_vm_ctx *vmc;
	u32 key = 0;

	taskc->ran_ns += ns;
	taskc->vruntime += ns_to_vtime(ns, taskc->weight ?: 1);
	if (has_core_sched)
		taskc->core_vruntime += ns_to_vtime(ns, taskc->weight ?: 1);
	if (is_limited(taskc))
		runtime_use(taskc, ns);
	if (cgc)
		account_charge(&cgc->account, ns, taskc->group_weight);
	if (!is_vcpu(taskc))
		return 0;
	vmc = vmc_of(taskc->vm_slot);
	if (!vmc)
		return 0;
	__sync_fetch_and_add(&vmc->cpu_ns, ns);
	account_charge(&vmc->account, ns, taskc->vm_weight);
	boost_account(vmc, taskc, ns);
	counts = bpf_map_lookup_percpu_elem(&vmland_kvm_counts, &key, cpu);
	if (counts && counts->pause_exits) {
		__sync_fetch_and_add(&vmc->pause_exits, counts->pause_exits);
		counts->pause_exits = 0;
	}
	if (counts && counts->ipis) {
		__sync_fetch_and_add(&vmc->ipis, counts->ipis);
		counts->ipis = 0;
	}
	return 0;
}

/* Charges @p, which has run from taskc->run_start to @now. */
static __always_inline void charge(const struct task_struct *p, struct vmland_task_ctx *taskc,
				   u64 now)
{
	u64 ns = now - taskc->run_start;

	if (taskc->cgroup_slot)
		effective_refresh(p, taskc);
	taskc->run_start = now;
	charge_ns(taskc, ns, scx_bpf_task_cpu(p));
}

#endif /* VMLAND_VTIME_CHARGE_BPF_H */
