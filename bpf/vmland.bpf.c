/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_vmland: the ops table, and how the parts meet.
 *
 *   ops.select_cpu   an idle CPU is used at once, one that the VM prefers first
 *                    (prefer.bpf.h)
 *   ops.enqueue      a vCPU whose slice is over: ask the policy (policy.bpf.h);
 *                    all else: a line (vtime.bpf.h); without CPU time left: aside
 *                    (aside.bpf.h), from where a timer fetches it (waiting.bpf.h)
 *   ops.yield        note a directed yield (yield.bpf.h)
 *   ops.dispatch     hand-off, user scheduler, earliest deadline
 *   ops.cgroup_*     weights and quotas of cgroups (cgroup_ops.bpf.h)
 *   ops.running/stopping   charge (vtime.bpf.h), classify (vcpu.bpf.h),
 *                look at the terms anew (terms.bpf.h)
 */
#include "framework.bpf.h"
#include "intf.h"
#include "counters.bpf.h"
#include "state.bpf.h"
#include "bandwidth.bpf.h"
#include "cgroup.bpf.h"
#include "vcpu.bpf.h"
#include "prefer.bpf.h"
#include "terms.bpf.h"
#include "aside.bpf.h"
#include "boost.bpf.h"
#include "stay.bpf.h"
#include "vtime.bpf.h"
#include "turn.bpf.h"
#include "siblings.bpf.h"
#include "skew.bpf.h"
#include "ipi.bpf.h"
#include "yield.bpf.h"
#include "policy.bpf.h"
#include "waiting.bpf.h"
#include "cgroup_ops.bpf.h"

/* On a full host there is nothing to pick from, and that is told faster. */
static __always_inline bool any_idle_for(const struct task_struct *p)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	bool any = bpf_cpumask_intersects(idle, p->cpus_ptr);

	scx_bpf_put_idle_cpumask(idle);
	return any;
}

s32 BPF_STRUCT_OPS(vmland_select_cpu, struct task_struct *p, s32 prev_cpu,
		   u64 wake_flags)
{
	s32 cpu, this_cpu = bpf_get_smp_processor_id();
	bool may_here = bpf_cpumask_test_cpu(this_cpu, p->cpus_ptr);
	struct vmland_task *t;

	if (!bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr))
		prev_cpu = may_here ? this_cpu : (s32)bpf_cpumask_first(p->cpus_ptr);
	if (is_usersched_task(p))
		return prev_cpu;
	/*
	 * Where it waits makes no difference to who takes it, but to the CPU that has
	 * to queue it there: another one is interrupted for that, in its guest.
	 */
	if (!any_idle_for(p))
		return may_here && !is_pinned(p) ? this_cpu : prev_cpu;
	if (limits) {
		t = task_state(p);
		if (t && held_back(p, t, scx_bpf_now()))
			return prev_cpu;
	}

	cpu = pick_preferred(p, prev_cpu, wake_flags);
	if (cpu < 0)
		cpu = pick_idle_cpu(p, prev_cpu, wake_flags);
	if (cpu < 0)
		return prev_cpu;
	count(VMLAND_DISPATCH_IDLE);
	__sync_fetch_and_add(&nr_kernel_dispatches, 1);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_ns, 0);
	return cpu;
}

/* Wakes an idle CPU for the user scheduler, lest a busy one has to make room. */
static __always_inline void kick_idle_for_usersched(void)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	s32 cpu = scx_bpf_pick_idle_cpu(online, 0);

	scx_bpf_put_cpumask(online);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

/*
 * Preempts what runs on @cpu if @t deserves the CPU more by a good measure, but
 * not before the turn has lasted for the shortest slice: who has just begun may
 * be about to sleep, as vCPUs that answer each other are. It is the turn that
 * counts, lest siblings that hand it to and fro are always those that have just
 * begun.
 */
static __always_inline void preempt_if_due(const struct vmland_task *t,
					   struct vmland_cpu *there, s32 cpu)
{
	u64 weight = there->curr_weight, now = scx_bpf_now(), least, vruntime;
	bool at_once = terms_say(t, VMLAND_TERMS_LATENCY_LOW);
	struct task_struct *curr;

	if (!weight || !with(VMLAND_PREEMPTION) || terms_say(t, VMLAND_TERMS_LATENCY_BATCH))
		return;
	vruntime = there->curr_vruntime + weighted(now - there->curr_start, weight);
	if (!time_before(t->vruntime + (at_once ? 0 : vmland_slice_min_ns), vruntime))
		return;
	least = there->turn_start + there->curr_slice_min;
	if (at_once || !time_before(now, least)) {
		count(VMLAND_PREEMPT);
		there->turn_end = now;
		there->extra_ns = 0;
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return;
	}
	if (!time_before(least, there->turn_end))
		return;
	there->turn_end = least;
	curr = bpf_task_from_pid(there->curr_pid);
	if (!curr)
		return;
	scx_bpf_task_set_slice(curr, least - now);
	bpf_task_release(curr);
}

void BPF_STRUCT_OPS(vmland_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);
	bool wakeup = enq_flags & SCX_ENQ_WAKEUP, yielded, expired;
	struct vmland_task *t = task_state(p);
	struct vmland_cpu *there = cpu_state(cpu);
	u64 now = scx_bpf_now(), until, slice = 0;
	s32 beside;

	if (!t || !there) {
		scx_bpf_error("no state for pid %d", p->pid);
		return;
	}
	yielded = t->yielded;
	t->yielded = false;
	t->woken = wakeup;

	if (is_usersched_task(p)) {
		/* It yields when it has nothing to do; else it was interrupted. */
		if (!yielded)
			set_usersched_needed();
		scx_bpf_dsq_insert(p, SCHED_DSQ, slice_ns, enq_flags);
		if (!yielded)
			kick_idle_for_usersched();
		return;
	}
	vcpu_classify(p, t);
	if (wakeup || !t->wait_start)
		t->wait_start = now;
	taken_back(t, cpu, now);
	until = held_back(p, t, now);
	if (until) {
		put_aside(t, cpu, now);
		scx_bpf_dsq_insert_vtime(p, ASIDE_DSQ, t->slice_ns, until, enq_flags);
		return;
	}
	vcpu_wants(t);
	group_join(p, t);
	/* Who yields has paid for a place in line, which new terms would move. */
	if (!yielded)
		terms_refresh(p, t);
	bound_lag(t, there->clock, wakeup ? 1 : CREDIT_SLICES);

	expired = !wakeup && !yielded && t->ran_ns >= t->slice_ns;
	if (expired && is_vcpu(t) && !is_pinned(p) &&
	    policy_ask(p, t, cpu, there->clock, enq_flags)) {
		scx_bpf_dsq_insert_vtime(p, PARKED_DSQ, t->slice_ns,
					 deadline(t) + slice_vtime(t), enq_flags);
		/* One that may run @p serves both: the user scheduler, then @p. */
		if (!kick_idle(p))
			kick_idle_for_usersched();
		return;
	}
	__sync_fetch_and_add(&nr_kernel_dispatches, 1);
	if (wakeup && t->together && !any_idle_for(p)) {
		beside = sibling_late(p, t, &slice);
		if (beside >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | beside, slice,
					   enq_flags | SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);
			return;
		}
	}
	scx_bpf_dsq_insert_vtime(p, line_of(p, cpu), t->slice_ns, deadline(t), enq_flags);

	if (!kick_idle(p) && wakeup)
		preempt_if_due(t, there, cpu);
}

/* Could @prev, which had the CPU, go on? */
static __always_inline bool wants_on(const struct task_struct *prev)
{
	return prev && is_queued(prev) && !is_usersched_task(prev);
}

/*
 * May @prev, who had @cpu, go on rather than @best, the first of those that wait for
 * it? It may have come from where the clock is slower, so its lag is bounded first.
 * Not static, so that the verifier looks at it once.
 */
__noinline int keep_prev(struct task_struct *prev __arg_trusted,
			 const struct line_head *best __arg_nonnull, s32 cpu)
{
	struct vmland_task *t = task_state(prev);
	struct vmland_cpu *here = cpu_state(cpu);
	u64 now = scx_bpf_now(), least, slice;

	if (!t || !here)
		return false;
	charge(prev, t, now);
	if (held_back(prev, t, now))
		return false;
	if (best->found) {
		least = best->vruntime - slice_vtime(t) -
			DEBT_SLICES * (best->deadline - best->vruntime);
		if (time_before(t->vruntime, least))
			t->vruntime = least;
		if (!time_before(deadline(t) + handicap_of(prev, t, cpu), best->least))
			return false;
		clock_advance(here, time_before(best->vruntime, t->vruntime) ?
			      best->vruntime : t->vruntime);
	} else if (time_after(t->vruntime, here->clock)) {
		t->vruntime = here->clock;
	}
	terms_refresh(prev, t);
	t->boosted = t->yielded = false;
	t->not_before = 0;
	slice = turn_within_limits(t, t->slice_ns);
	scx_bpf_task_set_slice(prev, within_skew(t, slice));
	turn_begin(here, t->run_start, slice);
	count(VMLAND_DISPATCH_KEPT);
	return true;
}

/* Gives @cpu, which @prev is leaving, to the most deserving task of all lines. */
static void serve_lines(struct vmland_cpu *here, s32 cpu, struct task_struct *prev)
{
	struct line_head best = {};

	if (limits) {
		put_heads_aside(SHARED_DSQ, cpu);
		put_heads_aside(cpu, cpu);
		put_heads_aside(PARKED_DSQ, cpu);
	}
	/* Mostly one line is all there is, and nobody to weigh its head against. */
	if (!wants_on(prev) && !policy_open && !preferences && !gangs &&
	    (!stays || scx_bpf_dsq_nr_queued(SHARED_DSQ) < 2) &&
	    !scx_bpf_dsq_nr_queued(cpu)) {
		line_take(SHARED_DSQ, here);
		return;
	}
	line_peek(SHARED_DSQ, cpu, &best);
	line_peek(cpu, cpu, &best);
	line_peek(PARKED_DSQ, cpu, &best);
	if (wants_on(prev) && keep_prev(prev, &best, cpu))
		return;
	if (!best.found)
		return;
	if (best.overtakes ? line_take_past(&best, here) : line_take(best.dsq, here)) {
		if (best.gang) {
			siblings_join(SHARED_DSQ, best.gang, cpu, best.slice_ns);
			siblings_join(PARKED_DSQ, best.gang, cpu, best.slice_ns);
		}
		return;
	}
	/* Another CPU was faster. */
	if (!line_take(SHARED_DSQ, here) && !line_take(cpu, here))
		line_take(PARKED_DSQ, here);
}

/*
 * Is there anything for the user scheduler to do? Its mark is taken away only
 * when it gets a CPU: it is put into its DSQ after ops.enqueue() has returned,
 * and the mark must not be spent by a CPU that looks there too early.
 */
static __always_inline bool usersched_wanted(void)
{
	return usersched_needed || nr_scheduled ||
	       bpf_ringbuf_query(&queued, BPF_RB_AVAIL_DATA) > 0;
}

static __always_inline bool usersched_serve(void)
{
	if (!usersched_wanted() || !scx_bpf_dsq_move_to_local(SCHED_DSQ, 0))
		return false;
	usersched_needed = 0;
	return true;
}

void BPF_STRUCT_OPS(vmland_dispatch, s32 cpu, struct task_struct *prev)
{
	struct vmland_cpu *here = cpu_state(cpu);
	int served;

	if (!here)
		return;
	policy_drain();
	if (prev && !here->handoff_pid)
		receiver_serve(prev, cpu);
	if (here->handoff_pid) {
		served = handoff_serve(cpu);
		if (served == HANDOFF_BESIDE && wants_on(prev)) {
			scx_bpf_task_set_slice(prev, turn_left(here) ?: HANDOFF_MIN_NS);
			return;
		}
		if (served == HANDOFF_HERE)
			return;
	}
	if (usersched_serve())
		return;
	if (skews && wants_on(prev) && skew_goes_round(prev, cpu))
		return;
	serve_lines(here, cpu, prev);
	if (prev && is_usersched_task(prev) && is_queued(prev) && usersched_wanted()) {
		usersched_needed = 0;
		scx_bpf_task_set_slice(prev, slice_ns);
	}
}

void BPF_STRUCT_OPS(vmland_running, struct task_struct *p)
{
	struct vmland_cpu *here = cpu_state(scx_bpf_task_cpu(p));
	struct vmland_task *t = task_state(p);
	bool handed;

	if (!t || !here)
		return;
	t->run_start = scx_bpf_now();
	t->ran_ns = 0;
	if (is_usersched_task(p)) {
		usersched_last_run_at = t->run_start;
		here->curr_weight = 0;
		return;
	}
	handed = here->expected_pid == p->pid;
	t->woken = t->passed_over = t->spun = false;
	t->wait_start = t->not_before = 0;
	vcpu_wants(t);
	group_join(p, t);
	terms_refresh(p, t);
	if (is_limited(t))
		scx_bpf_task_set_slice(p, turn_within_limits(t, p->scx.slice));
	bound_lag(t, here->clock, handed || here->from_line ? CREDIT_SLICES : 1);
	if (here->from_line) {
		here->from_line = false;
		clock_advance(here, t->vruntime);
	}
	here->curr_vruntime = t->vruntime;
	here->curr_start = t->run_start;
	here->curr_weight = t->weight;
	here->curr_slice_min = slice_min_of(t);
	here->curr_pid = p->pid;
	here->curr_vm_id = is_vcpu(t) ? t->vm_id : 0;
	t->boosted = handed;
	if (handed)
		count(VMLAND_HANDOFF_NEXT);
	if (!handed || !passes_on_turn(t))
		turn_begin(here, t->run_start, p->scx.slice);
	else if (here->ends_soon)
		turn_end_soon(here);
	if (t->skew_ns)
		scx_bpf_task_set_slice(p, within_skew(t, p->scx.slice));
	/* A note that ops.dispatch() was not asked about is one no more. */
	here->expected_pid = here->handoff_pid = 0;
}

/* Has @p, of the user scheduler's process, told it to end? As the crate ctrlc names it. */
static __always_inline bool is_signal_thread(const struct task_struct *p)
{
	return !__builtin_memcmp(p->comm, "ctrl-c", sizeof("ctrl-c"));
}

void BPF_STRUCT_OPS(vmland_stopping, struct task_struct *p, bool runnable)
{
	struct vmland_cpu *here = cpu_state(scx_bpf_task_cpu(p));
	struct vmland_task *t = task_state(p);

	if (!t || !here)
		return;
	here->curr_weight = 0;
	charge(p, t, scx_bpf_now());
	vcpu_classify(p, t);
	if (runnable)
		return;
	vcpu_rests(t);
	group_leave(t);
	/* On an idle host the heartbeat would be a second away. */
	if (p->tgid == usersched_pid && is_signal_thread(p))
		set_usersched_needed();
}

bool BPF_STRUCT_OPS(vmland_yield, struct task_struct *from, struct task_struct *to)
{
	struct vmland_cpu *here = cpu_state(scx_bpf_task_cpu(from));
	struct vmland_task *f = task_state(from);

	if (!f || !here)
		return false;
	if (!is_usersched_task(from)) {
		charge(from, f, scx_bpf_now());
		if (!to)
			yield_plain(f, here);
		else if (!yield_directed(from, f, to, here))
			return false;
	}
	f->yielded = true;
	scx_bpf_task_set_slice(from, 0);
	return true;
}

void BPF_STRUCT_OPS(vmland_enable, struct task_struct *p)
{
	struct vmland_cpu *there = cpu_state(scx_bpf_task_cpu(p));
	struct vmland_task *t = task_state(p);

	if (t && there)
		t->vruntime = there->clock;
}

s32 BPF_STRUCT_OPS(vmland_init_task, struct task_struct *p,
		   struct scx_init_task_args *args)
{
	struct vmland_task *t = bpf_task_storage_get(&vmland_tasks, p, NULL,
						     BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -ENOMEM;
	t->vm_slot = VMLAND_NO_VM;
	t->weight = VMLAND_NICE_0;
	t->slice_ns = slice_ns;
	if (bpf_core_field_exists(args->cgroup))
		t->group = group_slot(args->cgroup);
	return ____rustland_init_task(ctx, p, args);
}

/* @p leaves for another scheduling class, or for good. */
void BPF_STRUCT_OPS(vmland_disable, struct task_struct *p)
{
	struct vmland_task *t = task_state(p);

	if (!t)
		return;
	vcpu_rests(t);
	group_leave(t);
}

void BPF_STRUCT_OPS(vmland_exit_task, struct task_struct *p,
		    struct scx_exit_task_args *args)
{
	struct vmland_task *t = task_state(p);

	if (t && is_vcpu(t))
		vcpu_forget(p, t);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vmland_init)
{
	s32 err = ____rustland_init(ctx);

	err = err ?: scx_bpf_create_dsq(PARKED_DSQ, -1);
	err = err ?: scx_bpf_create_dsq(ASIDE_DSQ, -1);
	return err ?: look_begin();
}

SCX_OPS_DEFINE(rustland,
	       .select_cpu		= (void *)vmland_select_cpu,
	       .enqueue			= (void *)vmland_enqueue,
	       .dispatch		= (void *)vmland_dispatch,
	       .running			= (void *)vmland_running,
	       .stopping		= (void *)vmland_stopping,
	       .yield			= (void *)vmland_yield,
	       .enable			= (void *)vmland_enable,
	       .disable			= (void *)vmland_disable,
	       .init_task		= (void *)vmland_init_task,
	       .exit_task		= (void *)vmland_exit_task,
	       .cgroup_init		= (void *)vmland_cgroup_init,
	       .cgroup_exit		= (void *)vmland_cgroup_exit,
	       .cgroup_move		= (void *)vmland_cgroup_move,
	       .cgroup_set_weight	= (void *)vmland_cgroup_set_weight,
	       .cgroup_set_bandwidth	= (void *)vmland_cgroup_set_bandwidth,
	       .cgroup_set_idle		= (void *)vmland_cgroup_set_idle,
	       .init			= (void *)vmland_init,
	       .exit			= (void *)rustland_exit,
	       .timeout_ms		= 5000,
	       .dispatch_max_batch	= MAX_DISPATCH_SLOT,
	       .name			= "vmland");
