/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPI receivers come first.
 *
 * ipi.bpf.c keeps, of each sender, a list of those receivers that were off their
 * CPUs when the IPI came: t->ipi_to is the last, each one's t->ipi_next the one
 * before. A receiver is pending until it has run or the window is over. A
 * spinner with pending receivers hands its CPU to one of them:
 *
 *   KVM proposes somebody   ops.yield() takes the receiver instead
 *   KVM proposes nobody     the pause exit itself makes the spinner schedule
 *
 * in either case on the terms of a directed yield (yield.bpf.h): the spinner
 * pays, the receiver is given nothing.
 *
 * The other way round, a sibling that merely woke and has no IPI to answer cannot
 * hold up anybody: as a candidate of KVM's it is passed over once, after the paper's
 * second chance. KVM then tries its next candidate.
 */
#ifndef VMLAND_IPI_BPF_H
#define VMLAND_IPI_BPF_H

/* How long a receiver stays ahead, in ns; 0: never. Set by user space after load. */
volatile u64 vmland_ipi_window_ns = 50000000;

/* Receivers looked at on one occasion; the others wait for the next. */
#define IPI_LOOKS 4

static __always_inline bool ipi_pending(const struct vmland_task *t)
{
	return t->ipi_at && time_before(scx_bpf_now(), t->ipi_at + vmland_ipi_window_ns);
}

/* A pending receiver of @f, which runs as @pid, that waits for a CPU; released by the caller. */
static __noinline struct task_struct *ipi_receiver(struct vmland_task *f, s32 pid)
{
	struct task_struct *p;
	struct vmland_task *t;
	int i;

	bpf_for(i, 0, IPI_LOOKS) {
		if (!f->ipi_to)
			break;
		p = bpf_task_from_pid(f->ipi_to);
		if (!p) {
			f->ipi_to = 0;
			break;
		}
		t = task_state(p);
		if (t && t->ipi_from == pid && ipi_pending(t) && is_queued(p))
			return p;
		f->ipi_to = 0;
		if (t && t->ipi_from == pid) {
			f->ipi_to = t->ipi_next;
			t->ipi_from = 0;
		}
		bpf_task_release(p);
	}
	return NULL;
}

#endif /* VMLAND_IPI_BPF_H */
