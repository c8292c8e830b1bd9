/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPI receivers come first.
 *
 * ipi.bpf.c remembers whom each vCPU has sent its last IPIs. A receiver is pending
 * while it waits for a CPU and has not run since, for as long as the window. A
 * vCPU with pending receivers leaves its CPU to one of them:
 *
 *   it spins, and KVM proposes somebody   ops.yield() takes the receiver instead
 *   it spins, and KVM proposes nobody     the pause exit itself makes it schedule
 *   it sleeps, or its turn is over        ops.dispatch() looks for receivers
 *
 * always within the limits of a directed yield (yield.bpf.h), and a spinner pays as for
 * one. Both then stay on that CPU for a while (sticky.bpf.h).
 *
 * The other way round, a sibling that merely woke, and was sent nothing by the
 * spinner, cannot hold it up: as a candidate of KVM's it is passed over once, after
 * the paper's second chance. KVM then tries its next candidate.
 */
#ifndef VMLAND_IPI_BPF_H
#define VMLAND_IPI_BPF_H

/* Receivers looked at on one occasion; the others wait for the next. */
#define IPI_SCAN 4

/*
 * The last receiver of @senderc's IPIs that is pending, to be released by the caller.
 * Those after it are not, and are forgotten.
 */
static __noinline struct task_struct *pending_receiver(struct task_struct *from,
						   struct vmland_task_ctx *senderc)
{
	struct vmland_sent *sent;
	u64 now = scx_bpf_now();
	struct task_struct *p;
	u32 last;
	int i;

	if (!senderc->ipi_window_ns)
		return NULL;
	sent = bpf_task_storage_get(&vmland_sent, from, NULL, 0);
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
		p = last_receiver(senderc, sent);
		if (p)
			return p;
		sent->top--;
	}
	return NULL;
}

#endif /* VMLAND_IPI_BPF_H */
