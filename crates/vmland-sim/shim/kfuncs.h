/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's functions that a sched_ext scheduler calls. */
#ifndef SIM_KFUNCS_H
#define SIM_KFUNCS_H

#define K sim_host->kernel

/* Time, CPUs and tasks. */
#define scx_bpf_now() (sim_host->rq_now_ns)
#define bpf_ktime_get_ns() (sim_host->now_ns)
#define scx_bpf_nr_cpu_ids() ((u32)sim_host->nr_cpus)
#define bpf_get_smp_processor_id() (sim_host->cpu)
#define bpf_get_current_task_btf() (sim_host->current)
#define bpf_task_from_pid(pid) sim_host->task_from_pid(K, pid)
#define bpf_task_release(p) ((void)(p))
#define scx_bpf_task_cpu(p) (sim_point("task_cpu"), (p)->cpu)
#define scx_bpf_task_running(p) (sim_point("task_running"), (p)->on_cpu)
#define scx_bpf_task_set_slice(p, slice) sim_host->set_slice(K, p, slice)
#define scx_bpf_task_set_dsq_vtime(p, vtime) ((p)->scx.dsq_vtime = (vtime))
#define is_migration_disabled(p) ((p)->migration_disabled)
#define __COMPAT_is_enq_cpu_selected(flags) ((flags) & SCX_ENQ_CPU_SELECTED)
#define scx_bpf_error(...) sim_error(__VA_ARGS__)
#define scx_bpf_dump(...) sim_text(dump, __VA_ARGS__)

#define sim_error(...) sim_text(error, __VA_ARGS__)
#define sim_text(to, ...) do {						\
	char text[200];							\
									\
	snprintf(text, sizeof(text), __VA_ARGS__);			\
	sim_host->to(K, text);						\
} while (0)

/* cgroups. */
#define bpf_cgroup_from_id(id) sim_host->cgroup_from_id(K, id)
#define bpf_cgroup_release(cgrp) ((void)(cgrp))

static inline struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, s32 level)
{
	if (level < 0)
		return NULL;
	while (cgrp && cgrp->level > level)
		cgrp = cgrp->parent;
	return cgrp;
}

/* CPU masks and idle CPUs. */
static inline bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask)
{
	sim_point("cpumask_test_cpu");
	return mask->bits[cpu / 64] >> cpu % 64 & 1;
}

static inline bool bpf_cpumask_intersects(const struct cpumask *a, const struct cpumask *b)
{
	sim_point("cpumask_intersects");
	for (s32 i = 0; i * 64 < sim_host->nr_cpus; i++)
		if (a->bits[i] & b->bits[i])
			return true;
	return false;
}

static inline bool bpf_cpumask_empty(const struct cpumask *mask)
{
	sim_point("cpumask_empty");
	for (s32 i = 0; i * 64 < sim_host->nr_cpus; i++)
		if (mask->bits[i])
			return false;
	return true;
}

static inline u32 bpf_cpumask_first(const struct cpumask *mask)
{
	for (s32 i = 0; i * 64 < sim_host->nr_cpus; i++)
		if (mask->bits[i])
			return i * 64 + __builtin_ctzl(mask->bits[i]);
	return sim_host->nr_cpus;
}

static inline u32 bpf_cpumask_weight(const struct cpumask *mask)
{
	u32 weight = 0;

	for (s32 i = 0; i * 64 < sim_host->nr_cpus; i++)
		weight += __builtin_popcountl(mask->bits[i]);
	return weight;
}

static inline struct bpf_cpumask *bpf_cpumask_create(void)
{
	return sim_zeroed(1, sizeof(struct bpf_cpumask));
}

static inline void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *mask)
{
	mask->cpumask.bits[cpu / 64] |= 1UL << cpu % 64;
}

/* sim_release() frees it. */
#define bpf_cpumask_release(mask) ((void)(mask))

#define bpf_kptr_xchg(to, mask) ({						\
	typeof(*(to)) was__ = *(to);						\
										\
	*(to) = (mask);								\
	was__;									\
})

#define scx_bpf_get_idle_cpumask() ((const struct cpumask *)sim_host->idle)
#define scx_bpf_get_idle_smtmask() ((const struct cpumask *)sim_host->idle_cores)
#define scx_bpf_put_idle_cpumask(mask) ((void)(mask))
#define scx_bpf_get_online_cpumask() ((const struct cpumask *)sim_host->online)
#define scx_bpf_put_cpumask(mask) ((void)(mask))

#define scx_bpf_cpu_node(cpu) (sim_host->nodes[cpu])

/* No scheduler here sets SCX_OPS_BUILTIN_IDLE_PER_NODE. */
#define scx_bpf_pick_idle_cpu_node(mask, node, flags) ({		\
	sim_error("per-node idle tracking is disabled");		\
	-EBUSY;								\
})
#define scx_bpf_pick_idle_cpu(mask, flags) sim_host->pick_idle(K, mask, flags)
#define __COMPAT_HAS_scx_bpf_select_cpu_and true

/* Of the CPUs in @mask those that @p may use, too. */
static inline s32 sim_select_cpu_and(const struct task_struct *p, s32 prev,
				     const struct cpumask *mask, u64 flags)
{
	struct cpumask both = {};

	for (s32 i = 0; i * 64 < sim_host->nr_cpus; i++)
		both.bits[i] = mask->bits[i] & p->cpus_ptr->bits[i];
	return sim_host->select_idle(K, prev, &both, flags);
}

#define scx_bpf_select_cpu_and(p, prev, wake_flags, mask, flags) \
	sim_select_cpu_and(p, prev, mask, flags)
#define scx_bpf_select_cpu_dfl(p, prev, wake_flags, is_idle) (-EBUSY)
#define scx_bpf_test_and_clear_cpu_idle(cpu) sim_host->claim_idle(K, cpu)
#define scx_bpf_kick_cpu(cpu, flags) sim_host->kick_cpu(K, cpu, flags)

/* Dispatch queues. */
#define scx_bpf_create_dsq(dsq, node) sim_host->dsq_create(K, dsq)
#define scx_bpf_dsq_nr_queued(dsq) sim_host->dsq_nr_queued(K, dsq)
#define scx_bpf_dsq_insert(p, dsq, slice, flags) \
	sim_host->dsq_insert(K, p, dsq, slice, 0, flags)
#define scx_bpf_dsq_insert_vtime(p, dsq, slice, vtime, flags) \
	sim_host->dsq_insert(K, p, dsq, slice, vtime, flags)
#define scx_bpf_dsq_move_to_local(dsq, flags) sim_host->dsq_move_to_local(K, dsq)
#define scx_bpf_reenqueue_local() sim_host->reenqueue_local(K)
#define scx_bpf_dispatch_cancel() sim_error("scx_bpf_dispatch_cancel() is not simulated")
#define scx_bpf_dispatch_nr_slots() 1

static inline struct task_struct *scx_bpf_dsq_peek(u64 dsq)
{
	return sim_host->dsq_peek(K, dsq);
}

/* An iterator, and what the next move through it is to change. */
struct bpf_iter_scx_dsq {
	u64 dsq, slice, vtime;
	u64 seq;	/* tasks that were inserted later are not seen */
	s64 place[2];	/* of the last task, as the simulator has it */
	bool started;
	bool linked;	/* it stands in the DSQ */
};

/* "Unchanged", as the simulator is told. */
#define SIM_SAME (~0UL)

static inline int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq, u64 flags)
{
	*it = (struct bpf_iter_scx_dsq){ .dsq = dsq, .slice = SIM_SAME, .vtime = SIM_SAME };
	sim_host->dsq_iterate(K, it);
	return 0;
}

static inline struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it)
{
	return sim_host->dsq_next(K, it);
}

static inline void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it)
{
	sim_host->dsq_end(K, it);
}

#define bpf_for_each(kind, p, dsq, flags)						\
	for (struct bpf_iter_##kind it__						\
	     __attribute__((cleanup(bpf_iter_##kind##_destroy))) = {}, *once__ = NULL;	\
	     (once__ || (bpf_iter_##kind##_new(once__ = &it__, dsq, flags), 1)) &&	\
	     ((p) = bpf_iter_##kind##_next(once__));)

/* The iterator of the loop around. */
#define BPF_FOR_EACH_ITER (&it__)

#define scx_bpf_dsq_move_set_slice(it, ns) ((it)->slice = (ns))
#define scx_bpf_dsq_move_set_vtime(it, to) ((it)->vtime = (to))
#define scx_bpf_dsq_move(it, p, to, flags) \
	sim_host->dsq_move(K, it, p, to, false, flags)
#define scx_bpf_dsq_move_vtime(it, p, to, flags) \
	sim_host->dsq_move(K, it, p, to, true, flags)

/* Timers. Each fires on the CPU that has started it. */
struct bpf_timer {
	int (*callback)(void *map, u32 *key, void *value);
};

#define BPF_F_TIMER_CPU_PIN 2

static inline int sim_timer_start(struct bpf_timer *timer, u64 ns, u64 flags)
{
	sim_host->timer_start(K, timer, ns, flags);
	return 0;
}

#define bpf_timer_init(timer, map, clock) ((void)(timer), 0)
#define bpf_timer_set_callback(timer, function) \
	((timer)->callback = (int (*)(void *, u32 *, void *))(function), 0)
#define bpf_timer_start(timer, ns, flags) sim_timer_start(timer, ns, flags)

#endif
