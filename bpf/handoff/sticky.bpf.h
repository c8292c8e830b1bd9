/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Affinity hint: sender and receiver of IPIs stay on one CPU.
 *
 * Problem. Some guests have work for one vCPU at a time: their vCPUs interrupt each other
 * and wait for the answer (TLB shootdown) or for a message (a pipe). On two CPUs such
 * vCPUs hinder each other; on one CPU each finds in the caches what the other left, and
 * no other CPU is interrupted. Guests whose vCPUs contend
 * for a lock or meet at a barrier are the opposite case: siblings on one CPU wait for
 * each other.
 *
 * Mechanism. The two kinds differ in who gets a CPU by hand-off: the receiver of an IPI,
 * or else the target of KVM. After a hand-off to a receiver, sender and receiver are
 * sticky for STICKY_NS: when a CPU other than the one that such a task waits on
 * chooses a waiting task, the task's deadline counts as one slice of its own later.
 *
 * Limits. The hint changes when a vCPU runs, not how much. No CPU idles because of
 * it. Whether a CPU continues with its current task is decided by deadlines without the
 * hint: else the current task would be kept whenever the first waiting task is sticky
 * elsewhere. Without further hand-offs the hint expires. vCPUs of a
 * gang (cosched/gang.bpf.h) are never sticky.
 */
#ifndef VMLAND_HANDOFF_STICKY_BPF_H
#define VMLAND_HANDOFF_STICKY_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "../intf.h"
#include "../params/params.bpf.h"

/*
 * How long after a hand-off, in ns: 100 ms, ten slices. It has to span the time until both
 * have had their next turn, and to end soon after the guest has changed its behaviour.
 */
#define STICKY_NS (100 * 1000 * 1000ULL)

/* Some vCPU is, or was, sticky. Without one, no task is checked for it. */
static bool any_sticky;

/* The sender of an IPI hands its CPU to the receiver. */
static __always_inline void sticky_mark(struct vmland_task_ctx *senderc,
					struct vmland_task_ctx *receiverc)
{
	if (!mechanism_on(VMLAND_STICKY) || receiverc->gang)
		return;
	senderc->sticky_until = receiverc->sticky_until = scx_bpf_now() + STICKY_NS;
	any_sticky = true;
}

static __always_inline bool sticky_elsewhere(const struct task_struct *p,
					     const struct vmland_task_ctx *taskc, s32 cpu)
{
	return any_sticky && scx_bpf_task_cpu(p) != cpu &&
	       time_before(scx_bpf_now(), taskc->sticky_until);
}

#endif /* VMLAND_HANDOFF_STICKY_BPF_H */
