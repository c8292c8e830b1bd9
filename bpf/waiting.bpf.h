/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking after those who wait, by a timer.
 *
 *   put aside    come back when the period of what they lacked ends (aside.bpf.h); the
 *                timer finds an idle CPU, which nothing else would wake
 *   in line      get a new place when weights have changed, for the old one may be
 *                long after
 *   for too long get the first place: what weighs a thousandth of the others
 *                would wait until the kernel's watchdog throws us out
 */
#ifndef VMLAND_WAITING_BPF_H
#define VMLAND_WAITING_BPF_H

/* The timer's period, in ns, and where there are limits. */
#define LOOK_NS (100 * 1000 * 1000ULL)
#define LOOK_LIMITS_NS (4 * 1000 * 1000ULL)

/* How often those who wait for too long are looked for, in ns. */
#define RESCUE_LOOK_NS (500 * 1000 * 1000ULL)

/* The turn that they get, in ns. */
#define RESCUE_TURN_NS (1000 * 1000ULL)

struct vmland_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_timer);
} vmland_timer SEC(".maps");

/* How many more times lines are to be sorted anew since weights have changed. */
static u32 sort_lines;

static u64 rescue_looked;

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

/* @t's place in line as its CPU's clock has it, whatever it was put in with. */
static __always_inline u64 place_of(const struct vmland_task *t, s32 cpu)
{
	const struct vmland_cpu *there = cpu_state(cpu);
	struct vmland_task now = { .vruntime = t->vruntime, .weight = t->weight,
				   .slice_ns = t->slice_ns };

	if (there)
		bound_lag(&now, there->clock, CREDIT_SLICES);
	return deadline(&now);
}

/*
 * Returns in how many ns the next one is due, at most LOOK_LIMITS_NS. Static, as is
 * look_after(): before Linux 7 a global function of an op that may sleep, which ops.init
 * is, may not go through a DSQ.
 */
static u64 take_back(u64 now)
{
	struct vmland_task *t;
	struct task_struct *p;
	s32 cpu;

	bpf_for_each(scx_dsq, p, ASIDE_DSQ, 0) {
		if (time_before(now, p->scx.dsq_vtime))
			return p->scx.dsq_vtime - now < LOOK_LIMITS_NS ?
			       p->scx.dsq_vtime - now : LOOK_LIMITS_NS;
		t = task_state(p);
		if (!t)
			continue;
		cpu = scx_bpf_task_cpu(p);
		taken_back(t, cpu, now);
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, place_of(t, cpu));
		if (scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, line_of(p, cpu), 0))
			kick_idle(p);
	}
	return LOOK_LIMITS_NS;
}

static int look_after(u64 dsq, u64 now, bool sort)
{
	const struct vmland_cpu *there;
	struct vmland_task *t;
	struct task_struct *p;
	u64 place;
	s32 cpu;

	if (!scx_bpf_dsq_nr_queued(dsq))
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		t = task_state(p);
		cpu = scx_bpf_task_cpu(p);
		there = cpu_state(cpu);
		if (!t || !there)
			continue;
		if (t->wait_start && time_after(now, t->wait_start + RESCUE_NS)) {
			/* Its debt is forgiven: the clock will not follow it there. */
			t->vruntime = there->clock;
			place = there->clock - RESCUE_NS;
			scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, RESCUE_TURN_NS);
			count(VMLAND_RESCUED);
		} else if (sort) {
			terms_refresh(p, t);
			place = place_of(t, cpu);
			if (dsq == PARKED_DSQ)
				place += slice_vtime(t);
		} else {
			continue;
		}
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, place);
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, dsq, 0);
	}
	return 0;
}

static int look_timer(void *map, int *key, struct bpf_timer *timer)
{
	u64 now = scx_bpf_now(), next = LOOK_NS;
	bool sort = sort_lines;
	s32 cpu;

	if (limits)
		next = take_back(now);
	if (sort || time_after(now, rescue_looked + RESCUE_LOOK_NS)) {
		rescue_looked = now;
		if (sort)
			sort_lines--;
		look_after(SHARED_DSQ, now, sort);
		look_after(PARKED_DSQ, now, sort);
		bpf_for(cpu, 0, nr_cpu_ids)
			look_after(cpu, now, sort);
	}
	if (sort_lines && next > LOOK_NS / 4)
		next = LOOK_NS / 4;
	bpf_timer_start(timer, next, 0);
	return 0;
}

static int look_begin(void)
{
	u32 key = 0;
	struct vmland_timer *it = bpf_map_lookup_elem(&vmland_timer, &key);

	if (!it)
		return -ENOENT;
	bpf_timer_init(&it->timer, &vmland_timer, CLOCK_BOOTTIME);
	bpf_timer_set_callback(&it->timer, look_timer);
	return bpf_timer_start(&it->timer, LOOK_NS, 0);
}

/*
 * Weights have changed. Twice, as the policy may just be deciding by the old ones.
 * Not from where a run queue is locked.
 */
static __always_inline void sort_lines_soon(void)
{
	u32 key = 0;
	struct vmland_timer *it = bpf_map_lookup_elem(&vmland_timer, &key);

	sort_lines = 2;
	if (it)
		bpf_timer_start(&it->timer, 0, 0);
}

#endif /* VMLAND_WAITING_BPF_H */
