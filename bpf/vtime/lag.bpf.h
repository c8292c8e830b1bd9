/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lag: how far a task may be from what it competes with, and a VM or a cgroup from the CPUs.
 *
 * Problem. If each task had its lag bounded by itself, a VM or a cgroup whose tasks sleep in
 * turns would be entitled several times: whichever wakes is as far behind as one that has
 * waited.
 *
 * Mechanism. A VM and a cgroup have an account, with a vruntime of its own: what their tasks
 * have run, by the weight of the whole. The account of a vCPU is its VM's, also where it has a
 * cgroup to itself; that of another task is its cgroup's. The root has none. The lag of the
 * account is bounded by the vtime of the CPU, and that of a task by the vruntime of its account.
 * So what a task is forgiven, its VM or its cgroup still owes.
 *
 * Domains. The vtimes of two domains are apart by a distance (domain/distance.bpf.h), and the vCPUs
 * of a VM, or the tasks of a cgroup, may run in both. Bounded as closely as in one domain, the
 * account would be raised in the one and cut in the other, again and again. So where there are
 * several the bounds are wider.
 *
 *   constant       value  why
 *   SPREAD_SLICES  5      the largest distance
 */
#ifndef VMLAND_VTIME_LAG_BPF_H
#define VMLAND_VTIME_LAG_BPF_H

#include <scx/common.bpf.h>
#include "../cgroup/cgroup.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/task.bpf.h"
#include "../domain/domain.bpf.h"
#include "vtime.bpf.h"

#define SPREAD_SLICES 5

/* @vruntime, in the bounds around @vtime. */
static __always_inline u64 lag_bounded(u64 vruntime, u64 vtime, u64 credit, u64 debt)
{
	if (time_before(vruntime, vtime - credit))
		return vtime - credit;
	if (time_after(vruntime, vtime + debt))
		return vtime + debt;
	return vruntime;
}

/* What has lost credit, as it has had less than its share, is owed up to this vruntime. */
static __always_inline u64 owed_until(u64 vruntime, u64 slice)
{
	return vruntime + slice / 2;
}

static __always_inline struct vmland_account *account_of(const struct vmland_task_ctx *taskc)
{
	struct vmland_vm_ctx *vmc = is_vcpu(taskc) ? vmc_of(taskc->vm_slot) : NULL;
	struct vmland_cgroup_ctx *cgc;

	if (vmc) {
		barrier_var(vmc);
		return &vmc->account;
	}
	cgc = taskc->cgroup_slot ? cgc_of(taskc->cgroup_slot) : NULL;
	if (!cgc)
		return NULL;
	/* The verifier takes no sum of a pointer that may be NULL. */
	barrier_var(cgc);
	return &cgc->account;
}

static __always_inline void account_charge(struct vmland_account *account, u64 ns, u64 weight)
{
	__sync_fetch_and_add(&account->vruntime, ns_to_vtime(ns, weight ?: 1));
}

/*
 * By how many slices more what has waited may be from the vtime of a domain, as domains are apart.
 * What has slept has no claim from another domain.
 */
static __always_inline u64 spread(u64 credit_slices)
{
	return many_domains() && credit_slices > 1 ? SPREAD_SLICES : 0;
}

/* What the lag of the task of @taskc is measured from, on a CPU of vtime @vtime. */
static __always_inline u64 lag_base(const struct vmland_task_ctx *taskc, u64 vtime,
				    u64 credit_slices)
{
	struct vmland_account *account = account_of(taskc);
	u64 slice = slice_vtime(taskc), was, bounded;

	if (!account)
		return vtime;
	was = account->vruntime;
	bounded = lag_bounded(was, vtime, (credit_slices + spread(credit_slices)) * slice,
			      (DEBT_SLICES + spread(CREDIT_SLICES)) * slice);
	if (bounded == was)
		return was;
	__sync_val_compare_and_swap(&account->vruntime, was, bounded);
	if (time_after(bounded, was))
		account->owed_until = owed_until(bounded, slice);
	return bounded;
}

/* Bounds the lag of the task of @taskc, which waits for a CPU of vtime @vtime. */
static __always_inline void bound_lag(struct vmland_task_ctx *taskc, u64 vtime,
				      u64 credit_slices)
{
	u64 slice = slice_vtime(taskc), credit = credit_slices * slice, debt = DEBT_SLICES * slice;
	u64 base = lag_base(taskc, vtime, credit_slices);

	if (taskc->gang) {
		taskc->vruntime = base;
		return;
	}
	if (!account_of(taskc)) {
		credit += spread(credit_slices) * slice;
		debt += spread(CREDIT_SLICES) * slice;
		if (time_before(taskc->vruntime, base - credit))
			taskc->owed_until = owed_until(base - credit, slice);
	}
	taskc->vruntime = lag_bounded(taskc->vruntime, base, credit, debt);
}

/* Has the task of @taskc, or its account, had less than its share? */
static __always_inline bool is_owed(const struct vmland_task_ctx *taskc)
{
	const struct vmland_account *account = account_of(taskc);

	return account ? time_before(account->vruntime, account->owed_until) :
			 time_before(taskc->vruntime, taskc->owed_until);
}

/* The vruntime of the task of @taskc, or of its account, whichever has had more of its share. */
static __always_inline u64 vruntime_with_account(const struct vmland_task_ctx *taskc)
{
	const struct vmland_account *account = account_of(taskc);

	return account && time_after(account->vruntime, taskc->vruntime) ? account->vruntime :
									   taskc->vruntime;
}

/* Nobody waits for what the task of @taskc has had too much: it is forgiven. */
static __always_inline void owe_nothing(struct vmland_task_ctx *taskc, u64 vtime)
{
	struct vmland_account *account = account_of(taskc);

	if (time_after(taskc->vruntime, vtime))
		taskc->vruntime = vtime;
	if (account && time_after(account->vruntime, vtime))
		account->vruntime = vtime;
}

#endif /* VMLAND_VTIME_LAG_BPF_H */
