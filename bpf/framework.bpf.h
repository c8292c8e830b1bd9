/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The framework's BPF part: it is included, and not copied.
 *
 * main.bpf.c of scx_rustland_core has the rings to and from user space, the heartbeat, the
 * DSQs and an ops table. All of it is needed except the table. So while it is included,
 * SCX_OPS_DEFINE() expands to nothing, and its ops go to optional sections ("?"): an op that
 * our table does not name is not loaded. A wrapped op is called by its inner name,
 * ____rustland_*().
 */
#ifndef VMLAND_FRAMEWORK_BPF_H
#define VMLAND_FRAMEWORK_BPF_H

#include <scx/common.bpf.h>

#pragma push_macro("SCX_OPS_DEFINE")
#pragma push_macro("BPF_STRUCT_OPS")
#pragma push_macro("BPF_STRUCT_OPS_SLEEPABLE")
#undef SCX_OPS_DEFINE
#undef BPF_STRUCT_OPS
#undef BPF_STRUCT_OPS_SLEEPABLE
#define SCX_OPS_DEFINE(...)
#define BPF_STRUCT_OPS(name, args...) \
	SEC("?struct_ops/" #name) BPF_PROG(name, ##args)
#define BPF_STRUCT_OPS_SLEEPABLE(name, args...) \
	SEC("?struct_ops.s/" #name) BPF_PROG(name, ##args)

#include "main.bpf.c"

#pragma pop_macro("BPF_STRUCT_OPS_SLEEPABLE")
#pragma pop_macro("BPF_STRUCT_OPS")
#pragma pop_macro("SCX_OPS_DEFINE")

#endif /* VMLAND_FRAMEWORK_BPF_H */
