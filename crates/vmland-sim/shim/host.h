/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The simulated host as the scheduler's object sees it: a table that the
 * simulator fills before it calls anything, and whose clock, CPU and current task
 * it sets before each call. Every copy of the object has its own host.
 *
 * src/abi.rs has the same structure, and says what each function does.
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

struct bpf_iter_scx_dsq;
struct cgroup;

struct sim_host {
	void *kernel;			/* first argument of each function */
	u64 now_ns;
	u64 rq_now_ns;			/* what the run queue has cached */
	s32 cpu;
	s32 nr_cpus;
	struct task_struct *current;
	struct cpumask *online, *idle, *idle_cores;
	const s32 *nodes;

	int (*dsq_create)(void *kernel, u64 dsq);
	void (*dsq_insert)(void *kernel, struct task_struct *p, u64 dsq, u64 slice,
			   u64 vtime, u64 flags);
	bool (*dsq_move)(void *kernel, struct bpf_iter_scx_dsq *it, struct task_struct *p,
			 u64 to, bool set_vtime, u64 flags);
	bool (*dsq_move_to_local)(void *kernel, u64 dsq);
	struct task_struct *(*dsq_peek)(void *kernel, u64 dsq);
	void (*dsq_iterate)(void *kernel, struct bpf_iter_scx_dsq *it);
	struct task_struct *(*dsq_next)(void *kernel, struct bpf_iter_scx_dsq *it);
	void (*dsq_end)(void *kernel, struct bpf_iter_scx_dsq *it);
	s32 (*dsq_nr_queued)(void *kernel, u64 dsq);
	void (*kick_cpu)(void *kernel, s32 cpu, u64 flags);
	bool (*claim_idle)(void *kernel, s32 cpu);
	s32 (*pick_idle)(void *kernel, const struct cpumask *allowed, u64 flags);
	s32 (*select_idle)(void *kernel, s32 prev, const struct cpumask *allowed, u64 flags);
	void (*set_slice)(void *kernel, struct task_struct *p, u64 slice);
	struct task_struct *(*task_from_pid)(void *kernel, s32 pid);
	struct cgroup *(*cgroup_from_id)(void *kernel, u64 id);
	void (*reenqueue_local)(void *kernel);
	void *(*hash)(void *kernel, void *map, u64 key, size_t size, int what);
	void *(*ring_reserve)(void *kernel, void *ring, size_t size);
	void (*ring_submit)(void *kernel, void *record);
	u64 (*ring_used)(void *kernel);
	void *(*user_ring_next)(void *kernel);
	void (*timer_start)(void *kernel, void *timer, u64 ns, u64 flags);
	void (*point)(void *kernel, const char *call);
	void (*dump)(void *kernel, const char *text);
	void (*error)(void *kernel, const char *text);
};

struct sim_host *sim_host;

/*
 * Before a call into the kernel that the simulator does not see otherwise, and before an
 * atomic operation. With SIM_POINTS, another CPU may go on there (src/explore.rs).
 */
#ifdef SIM_POINTS
#define sim_point(call) sim_host->point(sim_host->kernel, call)
#define __sync_fetch_and_add(at, n) (sim_point("atomic"), __sync_fetch_and_add(at, n))
#define __sync_fetch_and_sub(at, n) (sim_point("atomic"), __sync_fetch_and_sub(at, n))
#define __sync_lock_test_and_set(at, n) (sim_point("atomic"), __sync_lock_test_and_set(at, n))
#define __sync_val_compare_and_swap(at, a, b)						\
	(sim_point("atomic"), __sync_val_compare_and_swap(at, a, b))
#else
#define sim_point(call) ((void)0)
#endif

#endif
