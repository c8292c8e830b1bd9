/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF part takes for the kernel and libbpf, on a simulated host.
 *
 *	types.h		the kernel's types and constants
 *	host.h		the table of functions that the simulator gives
 *	macros.h	what marks programs, sections and loops
 *	maps.h		maps and task storage
 *	rings.h		the rings to and from user space
 *	kfuncs.h	the rest of the kernel's functions
 *
 * Only what bpf/ and the framework's main.bpf.c use is there. Everything runs on
 * one thread, so that atomics are plain and locks are none.
 */
#ifndef SIM_COMMON_BPF_H
#define SIM_COMMON_BPF_H

#include "../types.h"
#include "../host.h"
#include "../macros.h"
#include "../maps.h"
#include "../rings.h"
#include "../kfuncs.h"

#endif
