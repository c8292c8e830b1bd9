/* SPDX-License-Identifier: GPL-2.0-only */
/* The thread in user space that runs the planner: when it gets a CPU. */
#ifndef VMLAND_PLANNER_USERSCHED_BPF_H
#define VMLAND_PLANNER_USERSCHED_BPF_H

#include "../framework.bpf.h"

/* Wakes an idle CPU for it, so that it does not have to wait for a busy one. */
static __always_inline void kick_idle_for_usersched(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu = scx_bpf_pick_idle_cpu(online, 0);

	scx_bpf_put_cpumask(online);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

/* ops.enqueue() for it. It yields when it has nothing to do; else it was interrupted. */
static __always_inline void usersched_enqueue(struct task_struct *p, bool yielded, u64 enq_flags)
{
	if (!yielded)
		set_usersched_needed();
	scx_bpf_dsq_insert(p, SCHED_DSQ, slice_ns, enq_flags);
	if (!yielded)
		kick_idle_for_usersched();
}

/*
 * Does it have anything to do? usersched_needed is cleared only when it gets a CPU: the
 * kernel inserts it into its DSQ after ops.enqueue() has returned, and a CPU that looks into
 * the DSQ too early must not clear the flag.
 */
static __always_inline bool usersched_wanted(void)
{
	return usersched_needed || nr_scheduled ||
	       bpf_ringbuf_query(&queued, BPF_RB_AVAIL_DATA) > 0;
}

/* Puts it on this CPU if it has anything to do. */
static __always_inline bool usersched_serve(void)
{
	if (!usersched_wanted() || !scx_bpf_dsq_move_to_local(SCHED_DSQ, 0))
		return false;
	usersched_needed = 0;
	return true;
}

/* Nothing else is to run here: it goes on, if @prev is it and it has anything to do. */
static __always_inline void usersched_keep(struct task_struct *prev)
{
	if (prev && is_usersched_task(prev) && is_queued(prev) && usersched_wanted()) {
		usersched_needed = 0;
		scx_bpf_task_set_slice(prev, slice_ns);
	}
}

/* Is @p the thread that handles the signal to end? The crate ctrlc names it. */
static __always_inline bool is_signal_thread(const struct task_struct *p)
{
	return p->tgid == usersched_pid &&
	       !__builtin_memcmp(p->comm, "ctrl-c", sizeof("ctrl-c"));
}

#endif /* VMLAND_PLANNER_USERSCHED_BPF_H */
