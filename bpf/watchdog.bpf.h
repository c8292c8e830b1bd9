/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking after those who wait, by a timer.
 *
 *   put aside    come back when the period of what they lacked ends (throttle.bpf.h); the
 *                timer finds an idle CPU, which nothing else would wake
 *   in line      get a new place when weights have changed, for the old one may be
 *                long after
 *   for too long get the first place: what weighs a thousandth of the others
 *                would wait until the kernel's watchdog throws us out
 */
#ifndef VMLAND_WATCHDOG_BPF_H
#define VMLAND_WATCHDOG_BPF_H

/* The timer's period, in ns, and where there are limits. */
#define WATCHDOG_NS (100 * 1000 * 1000ULL)
#define UNTHROTTLE_NS (4 * 1000 * 1000ULL)

/* How often those who wait for too long are looked for, in ns. */
#define RESCUE_SCAN_NS (500 * 1000 * 1000ULL)

/* The turn that they get, in ns. */
#define RESCUE_SLICE_NS (1000 * 1000ULL)

struct vmland_watchdog {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_watchdog);
} vmland_watchdog SEC(".maps");

/* How many more times lines are to be sorted anew since weights have changed. */
static u32 requeue_rounds;

static u64 last_rescue_scan;

/* Wakes an idle CPU that may run @p, if there is one. */
static __always_inline bool kick_idle(struct task_struct *p)
{
	s32 cpu = pick_preferred(p, scx_bpf_task_cpu(p), 0);

	if (cpu < 0)
		cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (cpu < 0)
		return false;
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	return true;
}

/* @taskc's place in line as its CPU's clock has it, whatever it was put in with. */
static __always_inline u64 requeue_deadline(const struct vmland_task_ctx *taskc, s32 cpu)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx now = { .vruntime = taskc->vruntime, .weight = taskc->weight,
				   .slice_ns = taskc->slice_ns };

	if (cpuc)
		bound_lag(&now, cpuc->vtime, CREDIT_SLICES);
	return deadline(&now);
}

/*
 * Returns in how many ns the next one is due, at most UNTHROTTLE_NS. Static, as is
 * watchdog_scan(): before Linux 7 a global function of an op that may sleep, which ops.init
 * is, may not go through a DSQ.
 */
static u64 unthrottle_expired(u64 now)
{
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	s32 cpu;

	bpf_for_each(scx_dsq, p, THROTTLED_DSQ, 0) {
		if (time_before(now, p->scx.dsq_vtime))
			return p->scx.dsq_vtime - now < UNTHROTTLE_NS ?
			       p->scx.dsq_vtime - now : UNTHROTTLE_NS;
		taskc = taskc_of(p);
		if (!taskc)
			continue;
		cpu = scx_bpf_task_cpu(p);
		unthrottle(taskc, cpu, now);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, requeue_deadline(taskc, cpu));
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, queue_of(p, cpu), 0))
			kick_idle(p);
	}
	return UNTHROTTLE_NS;
}

static int watchdog_scan(u64 dsq, u64 now, bool sort)
{
	const struct vmland_cpu_ctx *cpuc;
	struct vmland_task_ctx *taskc;
	struct task_struct *p;
	u64 place;
	s32 cpu;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		taskc = taskc_of(p);
		cpu = scx_bpf_task_cpu(p);
		cpuc = cpuc_of(cpu);
		if (!taskc || !cpuc)
			continue;
		if (taskc->wait_start && time_after(now, taskc->wait_start + RESCUE_NS)) {
			/* Its debt is forgiven: the clock will not follow it there. */
			taskc->vruntime = cpuc->vtime;
			place = cpuc->vtime - RESCUE_NS;
			scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, RESCUE_SLICE_NS);
			count(VMLAND_RESCUED);
		} else if (sort) {
			effective_refresh(p, taskc);
			place = requeue_deadline(taskc, cpu);
			if (dsq == PARKED_DSQ)
				place += slice_vtime(taskc);
		} else {
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, place);
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
	}
	return 0;
}

static int watchdog_fire(void *map, int *key, struct bpf_timer *timer)
{
	u64 now = scx_bpf_now(), next = WATCHDOG_NS;
	bool sort = requeue_rounds;
	s32 cpu;

	if (any_limit)
		next = unthrottle_expired(now);
	if (sort || time_after(now, last_rescue_scan + RESCUE_SCAN_NS)) {
		last_rescue_scan = now;
		if (sort)
			requeue_rounds--;
		watchdog_scan(SHARED_DSQ, now, sort);
		watchdog_scan(PARKED_DSQ, now, sort);
		bpf_for(cpu, 0, nr_cpu_ids)
			watchdog_scan(cpu, now, sort);
	}
	if (requeue_rounds && next > WATCHDOG_NS / 4)
		next = WATCHDOG_NS / 4;
	bpf_timer_start(timer, next, 0);
	return 0;
}

static int watchdog_start(void)
{
	u32 key = 0;
	struct vmland_watchdog *it = bpf_map_lookup_elem(&vmland_watchdog, &key);

	if (!it)
		return -ENOENT;
	bpf_timer_init(&it->timer, &vmland_watchdog, CLOCK_BOOTTIME);
	bpf_timer_set_callback(&it->timer, watchdog_fire);
	return bpf_timer_start(&it->timer, WATCHDOG_NS, 0);
}

/*
 * Weights have changed. Twice, as the policy may just be deciding by the old ones.
 * Not from where a run queue is locked.
 */
static __always_inline void requeue_soon(void)
{
	u32 key = 0;
	struct vmland_watchdog *it = bpf_map_lookup_elem(&vmland_watchdog, &key);

	requeue_rounds = 2;
	if (it)
		bpf_timer_start(&it->timer, 0, 0);
}

#endif /* VMLAND_WATCHDOG_BPF_H */
