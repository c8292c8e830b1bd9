/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who answers each other's IPIs stays on one CPU.
 *
 * Problem. Guests whose vCPUs interrupt each other and wait for the answer (TLB
 * shootdown) or for a message (a pipe) have work for one vCPU at a time. Side by side
 * their vCPUs are in each other's way; one after the other on one CPU each has what the
 * other left, and no other CPU is interrupted. Guests whose vCPUs contend for a lock or
 * meet at a barrier are the opposite case: siblings that share a CPU wait for each other.
 *
 * Mechanism. The two kinds tell themselves apart by who gets a CPU out of turn: the
 * receiver of an IPI, or else whom KVM proposes. A hand-off to a receiver has both stay
 * for STAY_NS: where another CPU than the one that each waits on chooses among those who
 * wait, its deadline counts as one slice of its own later than it is.
 *
 * Limits. It shifts when a vCPU runs, not how much, and a CPU never stands idle for it.
 * Whether a CPU goes on with whom it has is decided by the deadlines as they are: with a
 * line whose head would rather wait, nobody would make way. Who does not go on answering
 * is free again. Siblings that are to run together (siblings.bpf.h) do not stay.
 */
#ifndef VMLAND_STAY_BPF_H
#define VMLAND_STAY_BPF_H

/* How long after a hand-off, in ns: some turns. */
#define STAY_NS (100 * 1000 * 1000ULL)

/* Some vCPUs stay, or did. */
static bool stays;

static __always_inline void stay(struct vmland_task *f, struct vmland_task *t)
{
	if (!with(VMLAND_STAY) || t->together)
		return;
	f->stays_until = t->stays_until = scx_bpf_now() + STAY_NS;
	stays = true;
}

static __always_inline bool stays_elsewhere(const struct task_struct *p,
					    const struct vmland_task *t, s32 cpu)
{
	return stays && scx_bpf_task_cpu(p) != cpu &&
	       time_before(scx_bpf_now(), t->stays_until);
}

#endif /* VMLAND_STAY_BPF_H */
