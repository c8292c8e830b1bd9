/* SPDX-License-Identifier: GPL-2.0-only */
/* scx_vmland's BPF part as a native object: the scheduler, and its probes on KVM's IPIs. */
#include "scx/common.bpf.h"

/* What the loader writes before it loads is const to BPF, but not to us. */
#define const
#define _license _license_of_scheduler
#include "vmland.bpf.c"
#undef _license
#define _license _license_of_probes
#include "ipi.bpf.c"
#undef const

#include "check.h"
