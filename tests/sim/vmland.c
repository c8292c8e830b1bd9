/* SPDX-License-Identifier: GPL-2.0-only */
/* scx_vmland's BPF part as a native object: the scheduler, and its probes on KVM's IPIs. */
#include "scx/common.bpf.h"

/* What the loader writes before it loads is const to BPF, but not to us. */
#define const
#define _license _license_of_scheduler
#include "vmland.bpf.c"
#undef _license
#define _license _license_of_probes
#include "ipi/ipi.bpf.c"
#undef const

#include "check.h"

/* For the simulator's checks: how far the vruntime of @p is beyond its CPU's vtime, in % of
   its slice. */
s64 sim_debt(struct task_struct *p)
{
	struct vmland_task_ctx *taskc = taskc_of(p);

	return (s64)(taskc->vruntime - cpuc_of(p->cpu)->vtime) * 100 / (s64)slice_vtime(taskc);
}
