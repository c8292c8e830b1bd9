/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's types, as far as the BPF part looks into them, and the constants
 * of sched_ext (include/linux/sched/ext.h, kernel/sched/ext_internal.h).
 *
 * src/abi.rs has the same structures; check.h lets it compare.
 */
#ifndef SIM_TYPES_H
#define SIM_TYPES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define __VMLINUX_H__
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed char s8;
typedef signed short s16;
typedef signed int s32;
typedef signed long s64;
typedef int pid_t;

#define SIM_MAX_CPUS 1024
/* Maps of the kind "task storage" that there are at most. */
#define SIM_STORAGES 4

struct cpumask {
	u64 bits[SIM_MAX_CPUS / 64];
};

/* One that a BPF program has made, and a map can hold. */
struct bpf_cpumask {
	struct cpumask cpumask;
};

#define __kptr

struct hlist_head {
	void *first;
};

/* The only fields of a DSQ and of a task that the BPF part reads. */
struct scx_dispatch_q {
	u64 id;
};

struct sched_ext_entity {
	struct scx_dispatch_q *dsq;	/* where it waits; NULL: nowhere */
	u64 dsq_vtime;
	u64 slice;			/* ns */
	u32 weight;
	u32 flags;			/* SCX_TASK_* */
};

struct task_struct {
	/* First: bpf/classify/vcpu.bpf.h declares a task_struct that has this member only. */
	struct hlist_head preempt_notifiers;
	s32 pid;
	s32 tgid;
	u32 flags;
	s32 nr_cpus_allowed;
	struct cpumask *cpus_ptr;
	s32 cpu;
	s32 on_cpu;
	s32 numa_preferred_nid;
	s32 migration_disabled;	/* never: no probe is ever preempted */
	char comm[16];
	struct {
		struct {
			u64 sig[1];
		} signal;
	} pending;
	struct sched_ext_entity scx;
	void *storage[SIM_STORAGES];
};

/* What KVM's preempt notifier sits in. */
struct sim_kvm_vcpu {
	u64 preempt_notifier;
	u64 kvm;
	s32 vcpu_id;
};

/* Cgroups: the root, and some below it. */
struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
	s32 level;
	struct cgroup *parent;	/* NULL: it is the root */
};

struct scx_init_task_args {
	struct cgroup *cgroup;
};

struct scx_cgroup_init_args {
	u32 weight;
	bool sched_idle;
	u64 bw_period_us, bw_quota_us, bw_burst_us;
};

struct scx_exit_task_args;

enum scx_cpu_preempt_reason {
	SCX_CPU_PREEMPT_RT,
	SCX_CPU_PREEMPT_DL,
	SCX_CPU_PREEMPT_STOP,
};

struct scx_cpu_release_args {
	enum scx_cpu_preempt_reason reason;
};

struct scx_exit_info;

struct scx_dump_ctx {
	u64 at_ns;		/* CLOCK_MONOTONIC */
};

enum {
	SCX_TASK_QUEUED = 1 << 0,
};

enum {
	SCX_KICK_IDLE = 1 << 0,
	SCX_KICK_PREEMPT = 1 << 1,
};

enum {
	SCX_WAKE_TTWU = 8,
	SCX_PICK_IDLE_CORE = 1 << 0,
	SCX_PICK_IDLE_IN_NODE = 1 << 1,
};

#define SCX_ENQ_WAKEUP		0x1ULL
#define SCX_ENQ_HEAD		0x10ULL
#define SCX_ENQ_CPU_SELECTED	(1ULL << 10)
#define SCX_ENQ_REENQ		(1ULL << 40)
#define SCX_ENQ_PREEMPT		(1ULL << 32)

#define SCX_SLICE_INF		(~0ULL)

#define SCX_DSQ_FLAG_BUILTIN	(1ULL << 63)
#define SCX_DSQ_INVALID		SCX_DSQ_FLAG_BUILTIN
#define SCX_DSQ_LOCAL		(SCX_DSQ_FLAG_BUILTIN | 2)
#define SCX_DSQ_LOCAL_ON	(SCX_DSQ_FLAG_BUILTIN | (1ULL << 62))

#define PF_EXITING	0x00000004
#define PF_KSWAPD	0x00020000
#define PF_KCOMPACTD	0x00010000
#define PF_KTHREAD	0x00200000
#define NUMA_NO_NODE	(-1)

#endif
