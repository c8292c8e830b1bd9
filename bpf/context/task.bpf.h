/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The task context: what the scheduler keeps of each task. The probes on KVM's IPIs
 * (ipi/ipi.bpf.c) share the map.
 */
#ifndef VMLAND_CONTEXT_TASK_BPF_H
#define VMLAND_CONTEXT_TASK_BPF_H

#include <scx/common.bpf.h>
#include "../intf.h"

/*
 * A task that has waited for this long, in ns, is rescued (watchdog/watchdog.bpf.h): 10 s. The
 * kernel ejects a scheduler whose tasks wait for longer than timeout_ms, which is 30 s
 * (vmland.bpf.c) and the longest that it allows.
 */
#define RESCUE_NS (10 * 1000 * 1000 * 1000ULL)

/*
 * A task that has waited for this long, in ns, is not throttled any more (cgroup/limits.bpf.h):
 * 20 s. What it runs for then is beyond its quota, so that it is as late as it can be.
 */
#define RESCUE_THROTTLED_NS (20 * 1000 * 1000 * 1000ULL)

struct vmland_task_ctx {
	/* CPU time times VMLAND_NICE_0 / weight, in ns (vtime/vtime.bpf.h). */
	u64 vruntime;
	u64 owed_until;		/* likewise (vtime/lag.bpf.h) */
	u64 core_vruntime;	/* likewise (queue/core_sched.bpf.h) */
	/*
	 * A running task has been charged up to here; a task that does not run left
	 * its CPU here. scx_bpf_now().
	 */
	u64 run_start;
	u64 ran_ns;		/* since it got its CPU */
	u64 wait_start;		/* of a task that waits, scx_bpf_now() */
	u64 ready_since;	/* likewise, also on the way to an idle CPU
				   (waits/waits.bpf.h) */

	/* Classification (classify/vcpu.bpf.h). */
	u64 notifier;		/* the preempt notifier that it was recognised by */
	u32 vm_slot;		/* VMLAND_NO_VM: the task is no vCPU */
	u32 vm_id;		/* the slot may have a new owner since */

	/* Effective settings (params/effective.bpf.h). */
	u64 weight;		/* VMLAND_NICE_0: an ordinary task at nice 0 */
	u64 vm_weight;		/* of a vCPU: its VM's, of which weight is a part */
	u64 group_weight;	/* of its cgroup as a whole */
	u64 slice_ns;
	u64 ipi_window_ns;	/* 0: receivers of its IPIs do not run first */
	u64 skew_ns;		/* 0: no bound (cosched/skew.bpf.h) */
	u32 boost_percent;	/* of its VM's CPU time that may be out of turn */
	bool has_cap;		/* its VM has a cap (cgroup/bandwidth.bpf.h) */
	bool gang;		/* the turns of its VM are aligned (cosched/gang.bpf.h) */
	bool ready_woken;	/* ready_since is that of a wake-up */
	bool running;		/* its VM counts it as running */
	bool has_preferred;	/* its VM prefers some CPUs (placement/prefer.bpf.h) */

	/* Where it is at home (domain/home.bpf.h). */
	u16 home_first;		/* domain */
	u16 home_domains;	/* how many from there on; 0: it has no home */
	u32 domain;		/* the last one at home that it ran in */
	s32 last_cpu;		/* the last one that it ran on */

	/* cgroups (cgroup/cgroup.bpf.h). */
	u32 cgroup_slot;	/* 0: the root */
	u32 runnable_in;	/* of a runnable vCPU: 1 + the slot of the cgroup that
				   counts it as runnable; 0: none does */
	u64 cgroup_counted;	/* slot << 32 | weight, by which a cgroup counts it as
				   active; 0: none does */
	u64 throttled_since;	/* scx_bpf_now(); 0: it is not throttled */
	s64 throttled_lag;	/* its vruntime less its CPU's vtime at that time */
	u64 runtime_ns;		/* taken from its limits, and not used yet
				   (cgroup/limits.bpf.h) */

	/* Hand-offs (handoff/). */
	u64 min_deadline;	/* until it runs: least deadline, so that it comes behind
				   the target that it deferred to; 0: none */
	u64 sticky_until;	/* scx_bpf_now(): until then it prefers the CPU that it
				   waits on (handoff/sticky.bpf.h) */
	bool boosted;		/* runs out of turn */
	bool yielded;		/* left its CPU by ops.yield() */
	bool woken;		/* has not run since it woke */
	bool passed_over;	/* refused as a target since it woke */
	bool spun;		/* after a pause exit: its CPU is to be handed to a receiver */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct vmland_task_ctx);
} vmland_tasks SEC(".maps");

static __always_inline struct vmland_task_ctx *taskc_of(struct task_struct *p)
{
	return bpf_task_storage_get(&vmland_tasks, p, NULL, 0);
}

static __always_inline bool is_vcpu(const struct vmland_task_ctx *taskc)
{
	return taskc->vm_slot != VMLAND_NO_VM;
}

static __always_inline bool is_pinned(const struct task_struct *p)
{
	return p->nr_cpus_allowed == 1 || is_migration_disabled(p);
}

/* The weight that @p has by its nice level. */
static __always_inline u64 own_weight(const struct task_struct *p)
{
	return (u64)(p->scx.weight ?: 100) * VMLAND_NICE_0 / 100;
}

/* Has the task of @taskc waited for more than @ns? */
static __always_inline bool has_waited(const struct vmland_task_ctx *taskc, u64 ns, u64 now)
{
	return taskc->wait_start && time_after(now, taskc->wait_start + ns);
}

#endif /* VMLAND_CONTEXT_TASK_BPF_H */
