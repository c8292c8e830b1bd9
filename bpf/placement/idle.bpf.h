/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Idle CPUs: a waking task gets one at once, and a queued task has one woken for it. A CPU
 * that the task's VM prefers is chosen first (prefer.bpf.h); then one of its domain
 * (domain/home.bpf.h), then of that one's node; after that it is the framework's choice.
 */
#ifndef VMLAND_PLACEMENT_IDLE_BPF_H
#define VMLAND_PLACEMENT_IDLE_BPF_H

#include "../framework.bpf.h"
#include "../cgroup/limits.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../domain/domain.bpf.h"
#include "../domain/home.bpf.h"
#include "claim.bpf.h"
#include "prefer.bpf.h"

/* On a host without idle CPUs this is cheaper than a search for one. */
static __always_inline bool any_idle_for(const struct task_struct *p)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	bool any = bpf_cpumask_intersects(idle, p->cpus_ptr);

	scx_bpf_put_idle_cpumask(idle);
	return any;
}

/*
 * Claims an idle CPU near @p: an idle core of its domain, an idle CPU there, the same in its node.
 * Negative: there is none. Not static, so that the verifier checks it once. It does so as a part of
 * ops.init() too, which may sleep: hence the lock.
 */
__noinline s32 pick_near(struct task_struct *p __arg_trusted, s32 prev_cpu, u64 wake_flags)
{
	const struct vmland_task_ctx *taskc = taskc_of(p);
	const struct cpumask *cpus;
	u32 domain;
	s32 cpu = -1;

	if (!taskc || is_pinned(p))
		return -1;
	bpf_rcu_read_lock();
	domain = domain_of_task(p, taskc);
	cpus = cpus_of_domain(domain);
	if (cpus)
		cpu = scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, cpus, 0);
	cpus = cpu < 0 ? cpus_of_node(domain) : NULL;
	if (cpus)
		cpu = scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, cpus, 0);
	bpf_rcu_read_unlock();
	return cpu;
}

/*
 * ops.select_cpu() for @p. Claims an idle CPU, returns it and sets *@idle; or returns the CPU
 * whose context @p is to wait in.
 */
static __always_inline s32 select_cpu(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
				      bool *idle)
{
	s32 cpu, this_cpu = bpf_get_smp_processor_id();
	bool may_here = bpf_cpumask_test_cpu(this_cpu, p->cpus_ptr);
	struct vmland_task_ctx *taskc;

	*idle = false;
	if (!bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr))
		prev_cpu = may_here ? this_cpu : (s32)bpf_cpumask_first(p->cpus_ptr);
	if (is_usersched_task(p))
		return prev_cpu;
	/*
	 * Its queue does not depend on the CPU that it waits on. But the kernel
	 * queues it on the CPU that is returned here, and another one than this CPU would be
	 * interrupted for that, out of its guest.
	 */
	if (!any_idle_for(p))
		return may_here && !is_pinned(p) ? this_cpu : prev_cpu;
	if (any_limit) {
		taskc = taskc_of(p);
		if (taskc && throttled_until(p, taskc, scx_bpf_now()))
			return prev_cpu;
	}

	cpu = pick_preferred(p, prev_cpu, wake_flags);
	if (cpu < 0 && many_domains())
		cpu = pick_near(p, prev_cpu, wake_flags);
	if (cpu < 0)
		cpu = pick_idle_cpu(p, prev_cpu, wake_flags);
	/* From one that is offline the kernel would put @p on another CPU, behind others. */
	if (cpu < 0 || is_offline(cpu))
		return prev_cpu;
	*idle = true;
	return cpu;
}

/*
 * The task of @taskc gets @cpu, which is idle: nobody competes with it, so that it keeps no
 * debt. Else it would gather one while vtime stands still, and stand behind all others when
 * the host fills up.
 */
static __always_inline void no_debt_on_idle_cpu(struct vmland_task_ctx *taskc, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (!cpuc)
		return;
	vtime_catch_up(cpuc);
	if (time_after(taskc->vruntime, cpuc->vtime))
		taskc->vruntime = cpuc->vtime;
}

/* Wakes an idle CPU that may run @p, if there is one. */
static __always_inline bool kick_idle(struct task_struct *p)
{
	s32 cpu = pick_preferred(p, scx_bpf_task_cpu(p), 0);

	if (cpu < 0 && many_domains() && any_idle_for(p))
		cpu = pick_near(p, scx_bpf_task_cpu(p), 0);
	if (cpu < 0 || is_offline(cpu))
		cpu = claim_idle(p->cpus_ptr);
	if (cpu < 0)
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	return true;
}

#endif /* VMLAND_PLACEMENT_IDLE_BPF_H */
