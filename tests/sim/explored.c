/* SPDX-License-Identifier: GPL-2.0-only */
/* scx_vmland's BPF part, with points at which another CPU may go on. */
#define SIM_POINTS
#include "vmland.c"
