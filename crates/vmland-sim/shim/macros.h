/* SPDX-License-Identifier: GPL-2.0-only */
/* What marks programs, sections and loops for libbpf, and means little here. */
#ifndef SIM_MACROS_H
#define SIM_MACROS_H

#define SEC(name)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define barrier_var(var) ((void)(var))
#define __arg_trusted
#define __arg_nonnull
#define preserve_access_index	/* an attribute: nothing is relocated */

#define likely(x) (x)
#define unlikely(x) (x)

/* A program is an ordinary function; the context that libbpf unpacks is unused. */
#define BPF_PROG(name, args...) name(unsigned long long *ctx, ##args)
#define BPF_STRUCT_OPS(name, args...) name(unsigned long long *ctx, ##args)
#define BPF_STRUCT_OPS_SLEEPABLE(name, args...) name(unsigned long long *ctx, ##args)
#define BPF_KPROBE(name, args...) name(unsigned long long *ctx, ##args)
/* As bpf/vmland.bpf.c calls those of the framework's that it wraps. */
#define ____rustland_init rustland_init
#define ____rustland_init_task rustland_init_task

struct sched_ext_ops {
	void *select_cpu, *enqueue, *dispatch, *runnable, *running, *stopping, *yield,
	     *core_sched_before, *enable, *disable, *init_task, *exit_task, *dump, *dump_cpu,
	     *dump_task, *cgroup_init, *cgroup_exit, *cgroup_move, *cgroup_set_weight, *cgroup_set_bandwidth,
	     *cgroup_set_idle, *cpu_online, *cpu_offline, *cpu_release, *update_idle, *init, *exit;
	u32 timeout_ms, dispatch_max_batch;
	const char *name;
};

#define SCX_OPS_DEFINE(ops, ...) struct sched_ext_ops ops = { __VA_ARGS__ }

#define UEI_DEFINE(uei)
#define UEI_RECORD(uei, ei) (void)(ei)

#define bpf_for(i, from, to) for ((i) = (from); (i) < (to); (i)++)
#define bpf_core_field_exists(field) 1
/* Of KVM's structures there is one. */
#define bpf_core_field_offset(type, field) offsetof(struct sim_kvm_vcpu, field)
#define bpf_ksym_exists(symbol) 1
#define bpf_core_read(to, size, from) memcpy(to, from, size)
#define bpf_core_read_str(to, size, from) memcpy(to, from, size)
#define bpf_printk(...)
#define bpf_rcu_read_lock()
#define bpf_rcu_read_unlock()

/* A vCPU thread may leave KVM_RUN while another CPU reads its notifier, which is NULL then. */
static inline long bpf_probe_read_kernel(void *to, size_t size, const void *from)
{
	if ((uintptr_t)from < 4096)
		return -EFAULT;
	memcpy(to, from, size);
	return 0;
}

static inline bool time_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

static inline bool time_after(u64 a, u64 b)
{
	return (s64)(a - b) > 0;
}

static inline s64 time_delta(u64 after, u64 before)
{
	return (s64)(after - before) > 0 ? after - before : 0;
}

#endif
