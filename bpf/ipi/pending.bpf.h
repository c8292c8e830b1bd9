/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Receivers of IPIs run first.
 *
 * Problem. A vCPU that sends an IPI often waits for the answer, or for what the receiver
 * does next. KVM's hints do not know the receiver (ipi.bpf.c).
 *
 * Mechanism. ipi.bpf.c remembers the last IPIs of each vCPU. A receiver is pending while it
 * waits for a CPU and has not run since the IPI, within the window (ipi_window). A vCPU with
 * a pending receiver hands its CPU to it:
 *
 *   the sender ...                              who acts
 *   spins, and KVM has a target                 ops.yield() takes the receiver instead
 *   spins, and KVM has no target                the pause exit makes the sender schedule
 *   sleeps, or its slice ends                   ops.dispatch() looks for a receiver
 *
 * within the limits of a directed yield (handoff/yield.bpf.h). Sender and receiver are then
 * sticky (handoff/sticky.bpf.h).
 *
 * Second chance. A target of KVM that woke and has not run since, and that is no pending
 * receiver, cannot be what the yielder waits for. It is refused once, so that KVM tries the
 * next vCPU.
 */
#ifndef VMLAND_IPI_PENDING_BPF_H
#define VMLAND_IPI_PENDING_BPF_H

#include <scx/common.bpf.h>
#include "../context/task.bpf.h"
#include "receivers.bpf.h"

/* Receivers examined in one hand-off, which bounds its cost; the next one goes on. */
#define IPI_SCAN 4

/*
 * The last pending receiver of IPIs of @sender; NULL: there is none. Later IPIs, whose
 * receivers are not pending, are forgotten. The caller releases the receiver.
 */
static __noinline struct task_struct *pending_receiver(struct task_struct *sender,
						       struct vmland_task_ctx *senderc)
{
	struct vmland_sent *sent;
	u64 now = scx_bpf_now();
	struct task_struct *receiver;
	u32 last;
	int i;

	if (!senderc->ipi_window_ns)
		return NULL;
	sent = bpf_task_storage_get(&vmland_sent, sender, NULL, 0);
	if (!sent)
		return NULL;
	bpf_for(i, 0, IPI_SCAN) {
		if (!sent->top)
			break;
		last = (sent->top - 1) % IPI_RECEIVERS;
		if (!time_before(now, sent->to[last].at + senderc->ipi_window_ns)) {
			sent->top = 0;
			break;
		}
		receiver = last_receiver(senderc, sent);
		if (receiver)
			return receiver;
		sent->top--;
	}
	return NULL;
}

#endif /* VMLAND_IPI_PENDING_BPF_H */
