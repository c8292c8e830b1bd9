/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Skew: how far a VM's vCPUs may get apart, where an administrator bounds it.
 *
 * Of the siblings that wait, the first in line is the one that is most behind. One that
 * is ahead of where that was by more than the skew is handed no CPU out of turn, and a
 * yielder does not pay its target (yield.bpf.h), which would part them for good. The rest
 * is up to the line: a slice, either way. Shorter turns did not bring them closer, since
 * the kernel ends turns by ticks. Who sleeps is not waited for.
 */
#ifndef VMLAND_SKEW_BPF_H
#define VMLAND_SKEW_BPF_H

/* @t was taken from a line. */
static __always_inline void skew_note(const struct vmland_task *t)
{
	struct vmland_vm *vm = t->skew_ns ? vm_state(t->vm_slot) : NULL;

	if (vm)
		vm->line_vruntime = t->vruntime;
}

static __always_inline bool is_skewed(const struct vmland_task *t)
{
	const struct vmland_vm *vm = t->skew_ns ? vm_state(t->vm_slot) : NULL;

	return vm && time_after(t->vruntime,
				vm->line_vruntime + weighted(t->skew_ns, t->weight ?: 1));
}

#endif /* VMLAND_SKEW_BPF_H */
