/* SPDX-License-Identifier: GPL-2.0-only */
/* The framework's BPF part as it is: that of scx_rustland, which has no ops.yield. */
#include "scx/common.bpf.h"

/* What the loader writes before it loads is const to BPF, but not to us. */
#define const
#include "main.bpf.c"
#undef const

#include "check.h"
