/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_vmland: the ops table, and how the parts meet.
 *
 *   ops.select_cpu   an idle CPU is used at once, one that the VM prefers first
 *                    (prefer.bpf.h)
 *   ops.enqueue      a vCPU whose slice is over: ask the policy (policy.bpf.h);
 *                    all else: a line (vtime.bpf.h); without CPU time left: aside
 *                    (throttle.bpf.h), from where a timer fetches it (watchdog.bpf.h)
 *   ops.yield        note a directed yield (yield.bpf.h)
 *   ops.dispatch     hand-off, user scheduler, earliest deadline
 *   ops.cgroup_*     weights and quotas of cgroups (cgroup_ops.bpf.h)
 *   ops.running/stopping   charge (vtime.bpf.h), classify (vcpu.bpf.h),
 *                look at the terms anew (params.bpf.h)
 */
#include "framework.bpf.h"
#include "intf.h"
#include "counters.bpf.h"
#include "state.bpf.h"
#include "bandwidth.bpf.h"
#include "cgroup.bpf.h"
#include "vcpu.bpf.h"
#include "prefer.bpf.h"
#include "params.bpf.h"
#include "throttle.bpf.h"
#include "boost.bpf.h"
#include "sticky.bpf.h"
#include "vtime.bpf.h"
#include "turn.bpf.h"
#include "cosched.bpf.h"
#include "skew.bpf.h"
#include "ipi.bpf.h"
#include "yield.bpf.h"
#include "policy.bpf.h"
#include "watchdog.bpf.h"
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
	struct vmland_task_ctx *taskc;

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
	if (any_limit) {
		taskc = taskc_of(p);
		if (taskc && throttled_until(p, taskc, scx_bpf_now()))
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
 * Preempts what runs on @cpu if @taskc deserves the CPU more by a good measure, but
 * not before the turn has lasted for the shortest slice: who has just begun may
 * be about to sleep, as vCPUs that answer each other are. It is the turn that
 * counts, lest siblings that hand it to and fro are always those that have just
 * begun.
 */
static __always_inline void preempt_if_due(const struct vmland_task_ctx *taskc,
					   struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	u64 weight = cpuc->curr_weight, now = scx_bpf_now(), least, vruntime;
	bool at_once = vm_has_flag(taskc, VMLAND_VM_LATENCY_LOW);
	struct task_struct *curr;

	if (!weight || !mechanism_on(VMLAND_PREEMPTION) || vm_has_flag(taskc, VMLAND_VM_LATENCY_BATCH))
		return;
	vruntime = cpuc->curr_vruntime + ns_to_vtime(now - cpuc->curr_start, weight);
	if (!time_before(taskc->vruntime + (at_once ? 0 : vmland_slice_min_ns), vruntime))
		return;
	least = cpuc->turn_start + cpuc->curr_slice_min;
	if (at_once || !time_before(now, least)) {
		count(VMLAND_PREEMPT);
		cpuc->turn_end = now;
		cpuc->prolong_left_ns = 0;
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return;
	}
	if (!time_before(least, cpuc->turn_end))
		return;
	cpuc->turn_end = least;
	curr = bpf_task_from_pid(cpuc->curr_pid);
	if (!curr)
		return;
	scx_bpf_task_set_slice(curr, least - now);
	bpf_task_release(curr);
}

void BPF_STRUCT_OPS(vmland_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);
	bool wakeup = enq_flags & SCX_ENQ_WAKEUP, yielded, expired;
	struct vmland_task_ctx *taskc = taskc_of(p);
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u64 now = scx_bpf_now(), until, slice = 0;
	s32 cosched_on;

	if (!taskc || !cpuc) {
		scx_bpf_error("no state for pid %d", p->pid);
		return;
	}
	yielded = taskc->yielded;
	taskc->yielded = false;
	taskc->woken = wakeup;

	if (is_usersched_task(p)) {
		/* It yields when it has nothing to do; else it was interrupted. */
		if (!yielded)
			set_usersched_needed();
		scx_bpf_dsq_insert(p, SCHED_DSQ, slice_ns, enq_flags);
		if (!yielded)
			kick_idle_for_usersched();
		return;
	}
	vcpu_classify(p, taskc);
	if (wakeup || !taskc->wait_start)
		taskc->wait_start = now;
	unthrottle(taskc, cpu, now);
	until = throttled_until(p, taskc, now);
	if (until) {
		throttle(taskc, cpu, now);
		scx_bpf_dsq_insert_vtime(p, THROTTLED_DSQ, taskc->slice_ns, until, enq_flags);
		return;
	}
	vcpu_runnable(taskc);
	cgroup_runnable(p, taskc);
	/* Who yields has paid for a place in line, which new terms would move. */
	if (!yielded)
		effective_refresh(p, taskc);
	bound_lag(taskc, cpuc->vtime, wakeup ? 1 : CREDIT_SLICES);

	expired = !wakeup && !yielded && taskc->ran_ns >= taskc->slice_ns;
	if (expired && is_vcpu(taskc) && !is_pinned(p) &&
	    policy_ask(p, taskc, cpu, cpuc->vtime, enq_flags)) {
		scx_bpf_dsq_insert_vtime(p, PARKED_DSQ, taskc->slice_ns,
					 deadline(taskc) + slice_vtime(taskc), enq_flags);
		/* One that may run @p serves both: the user scheduler, then @p. */
		if (!kick_idle(p))
			kick_idle_for_usersched();
		return;
	}
	__sync_fetch_and_add(&nr_kernel_dispatches, 1);
	if (wakeup && taskc->cosched && !any_idle_for(p)) {
		cosched_on = cosched_late(p, taskc, &slice);
		if (cosched_on >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cosched_on, slice,
					   enq_flags | SCX_ENQ_HEAD | SCX_ENQ_PREEMPT);
			return;
		}
	}
	scx_bpf_dsq_insert_vtime(p, queue_of(p, cpu), taskc->slice_ns, deadline(taskc), enq_flags);

	if (!kick_idle(p) && wakeup)
		preempt_if_due(taskc, cpuc, cpu);
}

/* Could @prev, which had the CPU, go on? */
static __always_inline bool can_continue(const struct task_struct *prev)
{
	return prev && is_queued(prev) && !is_usersched_task(prev);
}

/*
 * May @prev, who had @cpu, go on rather than @best, the first of those that wait for
 * it? It may have come from where the clock is slower, so its lag is bounded first.
 * Not static, so that the verifier looks at it once.
 */
__noinline int keep_prev(struct task_struct *prev __arg_trusted,
			 const struct queue_head *best __arg_nonnull, s32 cpu)
{
	struct vmland_task_ctx *taskc = taskc_of(prev);
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u64 now = scx_bpf_now(), least, slice;

	if (!taskc || !cpuc)
		return false;
	charge(prev, taskc, now);
	if (throttled_until(prev, taskc, now))
		return false;
	if (best->found) {
		least = best->vruntime - slice_vtime(taskc) -
			DEBT_SLICES * (best->deadline - best->vruntime);
		if (time_before(taskc->vruntime, least))
			taskc->vruntime = least;
		if (!time_before(deadline(taskc) + deadline_penalty(prev, taskc, cpu), best->least))
			return false;
		vtime_advance(cpuc, time_before(best->vruntime, taskc->vruntime) ?
			      best->vruntime : taskc->vruntime);
	} else if (time_after(taskc->vruntime, cpuc->vtime)) {
		taskc->vruntime = cpuc->vtime;
	}
	effective_refresh(prev, taskc);
	taskc->boosted = taskc->yielded = false;
	taskc->min_deadline = 0;
	slice = slice_within_limits(taskc, taskc->slice_ns);
	scx_bpf_task_set_slice(prev, slice_within_skew(taskc, slice));
	turn_begin(cpuc, taskc->run_start, slice);
	count(VMLAND_DISPATCH_KEPT);
	return true;
}

/* Gives @cpu, which @prev is leaving, to the most deserving task of all lines. */
static void serve_queues(struct vmland_cpu_ctx *cpuc, s32 cpu, struct task_struct *prev)
{
	struct queue_head best = {};

	if (any_limit) {
		throttle_heads(SHARED_DSQ, cpu);
		throttle_heads(cpu, cpu);
		throttle_heads(PARKED_DSQ, cpu);
	}
	/* Mostly one line is all there is, and nobody to weigh its head against. */
	if (!can_continue(prev) && !policy_open && !any_preferred && !any_cosched &&
	    (!any_sticky || scx_bpf_dsq_nr_queued(SHARED_DSQ) < 2) &&
	    !scx_bpf_dsq_nr_queued(cpu)) {
		queue_take(SHARED_DSQ, cpuc);
		return;
	}
	queue_peek(SHARED_DSQ, cpu, &best);
	queue_peek(cpu, cpu, &best);
	queue_peek(PARKED_DSQ, cpu, &best);
	if (can_continue(prev) && keep_prev(prev, &best, cpu))
		return;
	if (!best.found)
		return;
	if (best.overtakes ? queue_take_best(&best, cpuc) : queue_take(best.dsq, cpuc)) {
		if (best.gang) {
			cosched_siblings(SHARED_DSQ, best.gang, cpu, best.slice_ns);
			cosched_siblings(PARKED_DSQ, best.gang, cpu, best.slice_ns);
		}
		return;
	}
	/* Another CPU was faster. */
	if (!queue_take(SHARED_DSQ, cpuc) && !queue_take(cpu, cpuc))
		queue_take(PARKED_DSQ, cpuc);
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
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	int served;

	if (!cpuc)
		return;
	policy_drain();
	if (prev && !cpuc->handoff_pid)
		handoff_on_leave(prev, cpu);
	if (cpuc->handoff_pid) {
		served = handoff_serve(cpu);
		if (served == HANDOFF_ELSEWHERE && can_continue(prev)) {
			scx_bpf_task_set_slice(prev, turn_left(cpuc) ?: HANDOFF_MIN_NS);
			return;
		}
		if (served == HANDOFF_HERE)
			return;
	}
	if (usersched_serve())
		return;
	if (any_skew && can_continue(prev) && skew_rotate(prev, cpu))
		return;
	serve_queues(cpuc, cpu, prev);
	if (prev && is_usersched_task(prev) && is_queued(prev) && usersched_wanted()) {
		usersched_needed = 0;
		scx_bpf_task_set_slice(prev, slice_ns);
	}
}

void BPF_STRUCT_OPS(vmland_running, struct task_struct *p)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	struct vmland_task_ctx *taskc = taskc_of(p);
	bool handed;

	if (!taskc || !cpuc)
		return;
	taskc->run_start = scx_bpf_now();
	taskc->ran_ns = 0;
	if (is_usersched_task(p)) {
		usersched_last_run_at = taskc->run_start;
		cpuc->curr_weight = 0;
		return;
	}
	handed = cpuc->expected_pid == p->pid;
	taskc->woken = taskc->passed_over = taskc->spun = false;
	taskc->wait_start = taskc->min_deadline = 0;
	vcpu_runnable(taskc);
	cgroup_runnable(p, taskc);
	effective_refresh(p, taskc);
	if (is_limited(taskc))
		scx_bpf_task_set_slice(p, slice_within_limits(taskc, p->scx.slice));
	bound_lag(taskc, cpuc->vtime, handed || cpuc->from_queue ? CREDIT_SLICES : 1);
	if (cpuc->from_queue) {
		cpuc->from_queue = false;
		vtime_advance(cpuc, taskc->vruntime);
	}
	cpuc->curr_vruntime = taskc->vruntime;
	cpuc->curr_start = taskc->run_start;
	cpuc->curr_weight = taskc->weight;
	cpuc->curr_slice_min = slice_min_of(taskc);
	cpuc->curr_pid = p->pid;
	cpuc->curr_vm_id = is_vcpu(taskc) ? taskc->vm_id : 0;
	taskc->boosted = handed;
	if (handed)
		count(VMLAND_HANDOFF_NEXT);
	if (!handed || !passes_on_turn(taskc))
		turn_begin(cpuc, taskc->run_start, p->scx.slice);
	else if (cpuc->prolonged)
		turn_begin_prolonged(cpuc);
	if (taskc->skew_ns)
		scx_bpf_task_set_slice(p, slice_within_skew(taskc, p->scx.slice));
	/* A note that ops.dispatch() was not asked about is one no more. */
	cpuc->expected_pid = cpuc->handoff_pid = 0;
}

/* Has @p, of the user scheduler's process, told it to end? As the crate ctrlc names it. */
static __always_inline bool is_signal_thread(const struct task_struct *p)
{
	return !__builtin_memcmp(p->comm, "ctrl-c", sizeof("ctrl-c"));
}

void BPF_STRUCT_OPS(vmland_stopping, struct task_struct *p, bool runnable)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (!taskc || !cpuc)
		return;
	cpuc->curr_weight = 0;
	charge(p, taskc, scx_bpf_now());
	vcpu_classify(p, taskc);
	if (runnable)
		return;
	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
	/* On an idle host the heartbeat would be a second away. */
	if (p->tgid == usersched_pid && is_signal_thread(p))
		set_usersched_needed();
}

bool BPF_STRUCT_OPS(vmland_yield, struct task_struct *from, struct task_struct *to)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(from));
	struct vmland_task_ctx *f = taskc_of(from);

	if (!f || !cpuc)
		return false;
	if (!is_usersched_task(from)) {
		charge(from, f, scx_bpf_now());
		if (!to)
			yield_plain(f, cpuc);
		else if (!yield_directed(from, f, to, cpuc))
			return false;
	}
	f->yielded = true;
	scx_bpf_task_set_slice(from, 0);
	return true;
}

void BPF_STRUCT_OPS(vmland_enable, struct task_struct *p)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (taskc && cpuc)
		taskc->vruntime = cpuc->vtime;
}

s32 BPF_STRUCT_OPS(vmland_init_task, struct task_struct *p,
		   struct scx_init_task_args *args)
{
	struct vmland_task_ctx *taskc = bpf_task_storage_get(&vmland_tasks, p, NULL,
						     BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!taskc)
		return -ENOMEM;
	taskc->vm_slot = VMLAND_NO_VM;
	taskc->weight = VMLAND_NICE_0;
	taskc->slice_ns = slice_ns;
	if (bpf_core_field_exists(args->cgroup))
		taskc->cgroup_slot = cgroup_slot(args->cgroup);
	return ____rustland_init_task(ctx, p, args);
}

/* @p leaves for another scheduling class, or for good. */
void BPF_STRUCT_OPS(vmland_disable, struct task_struct *p)
{
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (!taskc)
		return;
	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
}

void BPF_STRUCT_OPS(vmland_exit_task, struct task_struct *p,
		    struct scx_exit_task_args *args)
{
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (taskc && is_vcpu(taskc))
		vcpu_forget(p, taskc);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vmland_init)
{
	s32 err = ____rustland_init(ctx);

	err = err ?: scx_bpf_create_dsq(PARKED_DSQ, -1);
	err = err ?: scx_bpf_create_dsq(THROTTLED_DSQ, -1);
	return err ?: watchdog_start();
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
