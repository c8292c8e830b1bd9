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
 * for STICKY_NS: where another CPU than the one that each waits on chooses among those who
 * wait, its deadline counts as one slice of its own later than it is.
 *
 * Limits. It shifts when a vCPU runs, not how much, and a CPU never stands idle for it.
 * Whether a CPU goes on with whom it has is decided by the deadlines as they are: with a
 * line whose head would rather wait, nobody would make way. Who does not go on answering
 * is free again. Siblings that are to run together (cosched.bpf.h) do not stay.
 */
#ifndef VMLAND_STICKY_BPF_H
#define VMLAND_STICKY_BPF_H

/* How long after a hand-off, in ns: some turns. */
#define STICKY_NS (100 * 1000 * 1000ULL)

/* Some vCPUs stay, or did. */
static bool any_sticky;

static __always_inline void sticky_mark(struct vmland_task_ctx *senderc, struct vmland_task_ctx *receiverc)
{
	if (!mechanism_on(VMLAND_STICKY) || receiverc->cosched)
		return;
	senderc->sticky_until = receiverc->sticky_until = scx_bpf_now() + STICKY_NS;
	any_sticky = true;
}

static __always_inline bool sticky_elsewhere(const struct task_struct *p,
					    const struct vmland_task_ctx *receiverc, s32 cpu)
{
	return any_sticky && scx_bpf_task_cpu(p) != cpu &&
	       time_before(scx_bpf_now(), receiverc->sticky_until);
}

#endif /* VMLAND_STICKY_BPF_H */
