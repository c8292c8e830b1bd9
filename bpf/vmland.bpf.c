/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * scx_vmland: the ops table, and what each op does in which order.
 *
 *   folder      subject
 *   context/    what is kept of each task and CPU; the queues
 *   classify/   which task is a vCPU, and of which VM
 *   params/     parameters of VMs, effective settings of tasks
 *   vtime/      virtual time: vruntime, deadlines, charging, transfer
 *   domain/     which CPUs share a queue; the homes of VMs
 *   queue/      choosing the next task from the queues
 *   handoff/    directed yields, hand-offs, turns, affinity hints, boost budgets
 *   ipi/        senders and receivers of IPIs
 *   cosched/    gangs, bounded skew
 *   cgroup/     weights, quotas and caps; throttling
 *   placement/  idle CPUs, preferred CPUs, wake-up preemption, hotplug, higher classes
 *   planner/    evidence for the planner in user space
 *   watchdog/   a timer that examines waiting tasks
 *   dump/       what the kernel's dump tells of this scheduler
 *   waits/      histograms of how long vCPUs wait
 *   trace/      who gets a CPU and why, for vmland trace
 *
 * Each header includes what it needs, and no two include each other. classify/kvm.bpf.c,
 * ipi/ipi.bpf.c and placement/prefer.bpf.c are objects of their own.
 */
#include "framework.bpf.h"
#include "cgroup/cgroup.bpf.h"
#include "cgroup/cgroup_ops.bpf.h"
#include "cgroup/limits.bpf.h"
#include "cgroup/throttle.bpf.h"
#include "classify/vcpu.bpf.h"
#include "context/clock.bpf.h"
#include "context/cpu.bpf.h"
#include "context/queues.bpf.h"
#include "context/task.bpf.h"
#include "cosched/gang.bpf.h"
#include "cosched/skew.bpf.h"
#include "counters.bpf.h"
#include "domain/domain.bpf.h"
#include "domain/home.bpf.h"
#include "dump/dump.bpf.h"
#include "handoff/handoff.bpf.h"
#include "handoff/turn.bpf.h"
#include "handoff/yield.bpf.h"
#include "intf.h"
#include "params/effective.bpf.h"
#include "params/params.bpf.h"
#include "placement/hotplug.bpf.h"
#include "placement/idle.bpf.h"
#include "placement/kthread.bpf.h"
#include "placement/preempt.bpf.h"
#include "placement/taken.bpf.h"
#include "placement/update_idle.bpf.h"
#include "planner/evidence.bpf.h"
#include "planner/usersched.bpf.h"
#include "queue/alone.bpf.h"
#include "queue/core_sched.bpf.h"
#include "queue/dispatch.bpf.h"
#include "queue/run_timer.bpf.h"
#include "queue/slice.bpf.h"
#include "trace/trace.bpf.h"
#include "vtime/charge.bpf.h"
#include "vtime/lag.bpf.h"
#include "vtime/vtime.bpf.h"
#include "waits/waits.bpf.h"
#include "watchdog/watchdog.bpf.h"

s32 BPF_STRUCT_OPS(vmland_select_cpu, struct task_struct *p, s32 prev_cpu,
		   u64 wake_flags)
{
	struct vmland_task_ctx *taskc = taskc_of(p);
	bool idle;
	s32 cpu = select_cpu(p, prev_cpu, wake_flags, &idle);

	if (idle && taskc) {
		if (is_vcpu(taskc))
			wait_begins(taskc, true, scx_bpf_now());
		trace_woken(p, taskc);
		no_debt_on_idle_cpu(taskc, cpu);
		count(VMLAND_DISPATCH_IDLE);
		__sync_fetch_and_add(&nr_kernel_dispatches, 1);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, taskc->slice_ns, 0);
	}
	return cpu;
}

/* Puts @p into the queue that it is to wait in, or on a CPU. */
void BPF_STRUCT_OPS(vmland_enqueue, struct task_struct *p, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);
	bool wakeup = enq_flags & SCX_ENQ_WAKEUP, yielded;
	struct vmland_task_ctx *taskc = taskc_of(p);
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	u64 now = scx_bpf_now(), until, place, dsq, vtime;

	if (!taskc || !cpuc) {
		scx_bpf_error("no context for pid %d", p->pid);
		return;
	}
	yielded = taskc->yielded;
	taskc->yielded = false;
	taskc->woken = wakeup;

	if (is_usersched_task(p)) {
		usersched_enqueue(p, yielded, enq_flags);
		return;
	}
	vcpu_classify(p, taskc);
	if (wakeup) {
		wait_begins(taskc, true, now);
		trace_woken(p, taskc);
	}
	if (wakeup || !taskc->wait_start)
		taskc->wait_start = now;
	unthrottle(taskc, cpu, now);
	until = throttled_until(p, taskc, now);
	if (until) {
		throttle(taskc, cpu, now);
		scx_bpf_dsq_insert_vtime(p, throttled_queue_of(taskc), taskc->slice_ns,
					 throttled_place(taskc, until, now), enq_flags);
		return;
	}
	vcpu_runnable(taskc);
	cgroup_runnable(p, taskc);
	/* A yielder's deadline is relative to its target's; new settings would change that. */
	if (!yielded)
		effective_refresh(p, taskc);
	vtime_follow(cpuc);
	dsq = queue_of(p, taskc, cpu);
	vtime = queue_vtime(dsq, cpuc, cpu);
	bound_lag(taskc, vtime, wakeup ? 1 : CREDIT_SLICES);
	__sync_fetch_and_add(&nr_kernel_dispatches, 1);
	if (wakeup && runs_next(p, taskc, vtime))
		place = next_place(taskc, vtime);
	else if (wakeup && !any_idle_for(p) && preempt_if_due(p, taskc, enq_flags))
		return;
	else
		place = taskc->gang ? gang_deadline(taskc, vtime, now) : deadline(taskc);
	scx_bpf_dsq_insert_vtime(p, dsq, taskc->slice_ns, place, enq_flags);
	if (!wake_cpu_for(p))
		mark_search_in_vain(now);
}

/* Chooses the next task of @cpu: the target of a hand-off, the user scheduler, a queue. */
void BPF_STRUCT_OPS(vmland_dispatch, s32 cpu, struct task_struct *prev)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (!cpuc)
		return;
	if (any_nohz_full && cpuc->alone && can_continue(prev) && turn_not_alone(prev, cpuc))
		return;
	if (cpuc->suspended_pid && !cpuc->handoff_pid && turn_resume(cpu))
		return;
	if (prev && !cpuc->handoff_pid) {
		handoff_on_leave(prev, cpu);
		trace_leaves(prev, cpuc, cpu);
	}
	if (cpuc->handoff_pid) {
		if (handoff_serve(cpu))
			return;
		if (cpuc->suspended_by_ipi)
			cpuc->suspended_pid = 0;
	}
	if (usersched_serve()) {
		kick_idle_after(cpu, !prev);
		return;
	}
	if (any_skew && can_continue(prev) && skew_rotate(prev, cpu))
		return;
	cpuc->competes = prev;
	if (!prev)
		vtime_catch_up(cpuc);
	serve_queues(cpuc, cpu, prev);
	kick_idle_after(cpu, !prev);
	usersched_keep(prev);
	if (!prev)
		stays_idle(cpuc, cpu);
}

/*
 * @p becomes runnable on a CPU. The kernel may put it there without asking. Left out on hosts
 * without nohz_full CPUs.
 */
void BPF_STRUCT_OPS(vmland_runnable, struct task_struct *p, u64 enq_flags)
{
	alone_end(scx_bpf_task_cpu(p));
}

/* @p begins to run. */
void BPF_STRUCT_OPS(vmland_running, struct task_struct *p)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	struct vmland_task_ctx *taskc = taskc_of(p);
	bool handed;

	if (!taskc || !cpuc)
		return;
	taskc->run_start = scx_bpf_now();
	clock_sample(taskc->run_start);
	trace_runs(p, taskc, cpuc);
	taskc->ran_ns = 0;
	if (is_usersched_task(p)) {
		usersched_last_run_at = taskc->run_start;
		cpuc->curr_weight = 0;
		return;
	}
	handed = cpuc->expected_pid == p->pid;
	wait_ends(taskc, taskc->run_start);
	taskc->woken = taskc->passed_over = taskc->spun = false;
	taskc->wait_start = taskc->min_deadline = 0;
	vcpu_count_running(taskc, true);
	vcpu_runnable(taskc);
	cgroup_runnable(p, taskc);
	effective_refresh(p, taskc);
	home_running(taskc, scx_bpf_task_cpu(p));
	vtime_follow(cpuc);
	bound_lag(taskc, cpuc->vtime, handed || cpuc->from_queue ? CREDIT_SLICES : 1);
	if (cpuc->from_queue) {
		cpuc->from_queue = false;
		/* One that was put before its turn does not stand for the others. */
		if (!time_before(p->scx.dsq_vtime, taskc->vruntime))
			vtime_advance(cpuc, taskc->vruntime);
		domain_advance(cpuc, scx_bpf_task_cpu(p), cpuc->competes);
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
	cpuc->stop_at = 0;
	/* The kernel will not call ops.dispatch(), which resumes a suspended turn. */
	if ((p->flags & PF_EXITING) || cpuc->offline)
		cpuc->suspended_pid = 0;
	if (cpuc->suspended_pid && cpuc->suspended_pid != p->pid) {
		cpuc->stop_at = taskc->run_start + cpuc->first_slice_ns;
	} else if (cpuc->suspended_pid) {
		cpuc->suspended_pid = 0;
		cpuc->stop_at = any_gang ? cpuc->turn_end : 0;
	} else if (!handed || !turn_is_passed_on(taskc)) {
		turn_start(p, taskc, cpuc, slice_to_run(p, taskc, scx_bpf_task_cpu(p),
							slice_at_start(p, cpuc)));
	} else if (cpuc->prolonged) {
		turn_begin_prolonged(cpuc, taskc->run_start);
	} else if (any_gang) {
		cpuc->stop_at = cpuc->turn_end;
	}
	skew_stop(p, taskc, cpuc, taskc->run_start);
	run_timer_begin(p, taskc, cpuc, taskc->run_start,
			any_nohz_full && anybody_waits(scx_bpf_task_cpu(p)));
	/* If the kernel chose @p without ops.dispatch(), a note for that is void. */
	cpuc->expected_pid = cpuc->handoff_pid = 0;
}

/* @p ceases to run; it is still runnable, or sleeps. */
void BPF_STRUCT_OPS(vmland_stopping, struct task_struct *p, bool runnable)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (!taskc || !cpuc)
		return;
	trace_stops(p, taskc, cpuc, runnable);
	cpuc->curr_weight = 0;
	vcpu_count_running(taskc, false);
	charge(p, taskc, scx_bpf_now());
	if (cpuc->alone)
		owe_nothing(taskc, cpuc->vtime);
	alone_set(scx_bpf_task_cpu(p), cpuc, false);
	runtime_return(taskc);
	vcpu_classify(p, taskc);
	if (is_vcpu(taskc))
		evidence_report(taskc, taskc->run_start);
	if (runnable) {
		wait_begins(taskc, false, taskc->run_start);
		return;
	}
	vcpu_quiescent(taskc);
	cgroup_quiescent(taskc);
	/* The user scheduler is to end. On an idle host its heartbeat may be a second away. */
	if (is_signal_thread(p))
		set_usersched_needed();
}

/* yield_to() if there is a @target, else sched_yield(). Returns whether it is honoured. */
bool BPF_STRUCT_OPS(vmland_yield, struct task_struct *yielder, struct task_struct *target)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(yielder));
	struct vmland_task_ctx *yielderc = taskc_of(yielder);
	bool honoured = true;

	if (!yielderc || !cpuc)
		return false;
	if (!is_usersched_task(yielder)) {
		charge(yielder, yielderc, scx_bpf_now());
		if (!target)
			yield_plain(yielderc, cpuc);
		else
			honoured = yield_directed(yielder, yielderc, target, cpuc);
		if (target)
			trace_yields(yielder, yielderc, target, cpuc, honoured);
		if (!honoured)
			return false;
	}
	yielderc->yielded = true;
	scx_bpf_task_set_slice(yielder, 0);
	return true;
}

/* Left out where there is no core scheduling. */
bool BPF_STRUCT_OPS(vmland_core_sched_before, struct task_struct *a, struct task_struct *b)
{
	return core_runs_before(a, b);
}

void BPF_STRUCT_OPS(vmland_enable, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (!taskc || !cpuc)
		return;
	vtime_follow(cpuc);
	taskc->vruntime = cpuc->vtime;
	home_running(taskc, cpu);
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

/* @p leaves for another scheduling class, or ends. */
void BPF_STRUCT_OPS(vmland_disable, struct task_struct *p)
{
	struct vmland_task_ctx *taskc = taskc_of(p);

	if (!taskc)
		return;
	runtime_return(taskc);
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

void BPF_STRUCT_OPS(vmland_cpu_release, s32 cpu, struct scx_cpu_release_args *args)
{
	cpu_is_taken(cpu, args);
}

void BPF_STRUCT_OPS(vmland_update_idle, s32 cpu, bool idle)
{
	if (is_offline(cpu))
		return;
	if (idle)
		becomes_idle(cpu);
	else
		kick_idle_after(cpu, true);
}

/* Its vtime may be long behind: the next task from a queue brings it up to date. */
void BPF_STRUCT_OPS(vmland_cpu_online, s32 cpu)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);

	if (cpuc)
		cpuc->offline = false;
}

void BPF_STRUCT_OPS(vmland_cpu_offline, s32 cpu)
{
	cpu_goes_offline(cpu);
}

void BPF_STRUCT_OPS(vmland_dump, struct scx_dump_ctx *dctx)
{
	u32 slot;

	dump_queues();
	dump_vms_left = DUMP_VMS;
	bpf_for(slot, 0, VMLAND_MAX_VMS)
		dump_vm(slot);
}

void BPF_STRUCT_OPS(vmland_dump_cpu, struct scx_dump_ctx *dctx, s32 cpu, bool idle)
{
	dump_cpu(cpu, idle);
}

void BPF_STRUCT_OPS(vmland_dump_task, struct scx_dump_ctx *dctx, struct task_struct *p)
{
	dump_task(p);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(vmland_init)
{
	s32 err = ____rustland_init(ctx);
	u32 i;

	bpf_for(i, 0, THROTTLED_DSQS)
		err = err ?: scx_bpf_create_dsq(THROTTLED_DSQ + i, -1);
	bpf_for(i, 0, nr_domains)
		err = err ?: scx_bpf_create_dsq(domain_queue(i), -1);
	err = err ?: domains_init();
	err = err ?: vm_slots_init();
	err = err ?: cgroup_slots_init();
	run_timers_init();
	idle_timers_init();
	return err ?: watchdog_start();
}

SCX_OPS_DEFINE(rustland,
	       .select_cpu		= (void *)vmland_select_cpu,
	       .enqueue			= (void *)vmland_enqueue,
	       .dispatch		= (void *)vmland_dispatch,
	       .runnable		= (void *)vmland_runnable,
	       .running			= (void *)vmland_running,
	       .stopping		= (void *)vmland_stopping,
	       .yield			= (void *)vmland_yield,
	       .core_sched_before	= (void *)vmland_core_sched_before,
	       .enable			= (void *)vmland_enable,
	       .disable			= (void *)vmland_disable,
	       .init_task		= (void *)vmland_init_task,
	       .exit_task		= (void *)vmland_exit_task,
	       .dump			= (void *)vmland_dump,
	       .dump_cpu		= (void *)vmland_dump_cpu,
	       .dump_task		= (void *)vmland_dump_task,
	       .cgroup_init		= (void *)vmland_cgroup_init,
	       .cgroup_exit		= (void *)vmland_cgroup_exit,
	       .cgroup_move		= (void *)vmland_cgroup_move,
	       .cgroup_set_weight	= (void *)vmland_cgroup_set_weight,
	       .cgroup_set_bandwidth	= (void *)vmland_cgroup_set_bandwidth,
	       .cgroup_set_idle		= (void *)vmland_cgroup_set_idle,
	       .cpu_online		= (void *)vmland_cpu_online,
	       .cpu_offline		= (void *)vmland_cpu_offline,
	       .cpu_release		= (void *)vmland_cpu_release,
	       .update_idle		= (void *)vmland_update_idle,
	       .init			= (void *)vmland_init,
	       .exit			= (void *)rustland_exit,
	       .timeout_ms		= 30000,
	       .dispatch_max_batch	= MAX_DISPATCH_SLOT,
	       .name			= "vmland");
