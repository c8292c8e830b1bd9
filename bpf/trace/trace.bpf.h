/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracing: who gets a CPU and why, and why it gives it up, as records for `vmland trace`.
 *
 *   what     pid               other                                     reason
 *   woken    who was woken     0                                         0
 *   runs     who gets the CPU  whose turn is suspended for it; else 0    enum vmland_trace_runs
 *   stops    who had the CPU   0                                         enum vmland_trace_stops
 *   yields   the yielder       to whom the CPU goes, or was to go        enum vmland_trace_yields
 *
 * User space asks for a time, after which this ends by itself, even if user space is gone. The
 * records are in a ring that it maps. One that finds no room is lost, and counted.
 *
 * Cost. While nothing is traced: a load and a branch at each hook. While something is: the ring has
 * one lock for all CPUs, which is why this is off otherwise.
 */
#ifndef VMLAND_TRACE_TRACE_BPF_H
#define VMLAND_TRACE_TRACE_BPF_H

#include <scx/common.bpf.h>
#include "../context/cpu.bpf.h"
#include "../context/task.bpf.h"
#include "../counters.bpf.h"
#include "../handoff/turn.bpf.h"
#include "../intf.h"

/* 26000 records: at a million a second, those of 26 ms. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} vmland_trace SEC(".maps");

/*
 * Until when is traced, by CLOCK_MONOTONIC; 0: nothing is. In a section and so in a map of its
 * own, which user space writes as a whole.
 */
volatile u64 vmland_trace_until SEC(".data.trace");

static __always_inline bool is_tracing(void)
{
	u64 until = vmland_trace_until;

	if (!until)
		return false;
	if (time_before(bpf_ktime_get_ns(), until))
		return true;
	/* Nobody has ended it. The next hook does not ask for the time again. */
	__sync_val_compare_and_swap(&vmland_trace_until, until, 0);
	return false;
}

/* @what: enum vmland_trace_what << 8 | reason. Not static: the verifier checks it once. */
__noinline int trace_write(u32 what, s32 cpu, s32 pid, s32 other, u32 vm_id)
{
	struct vmland_trace_event *event;

	event = bpf_ringbuf_reserve(&vmland_trace, sizeof(*event), 0);
	if (!event) {
		count(VMLAND_TRACE_LOST);
		return 0;
	}
	event->at_ns = bpf_ktime_get_ns();
	event->what = what >> 8;
	event->reason = what & 0xff;
	event->cpu = cpu;
	event->pid = pid;
	event->other = other;
	event->vm_id = vm_id;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline u32 trace_vm_id(const struct vmland_task_ctx *taskc)
{
	return is_vcpu(taskc) ? taskc->vm_id : 0;
}

static __always_inline void trace_woken(const struct task_struct *p,
					const struct vmland_task_ctx *taskc)
{
	if (is_tracing())
		trace_write(VMLAND_TRACE_WOKEN << 8, scx_bpf_task_cpu(p), p->pid, 0,
			    trace_vm_id(taskc));
}

/* ops.running() begins: what it is about to clear tells why @p gets the CPU. */
static __always_inline void trace_runs(const struct task_struct *p,
				       const struct vmland_task_ctx *taskc,
				       const struct vmland_cpu_ctx *cpuc)
{
	s32 suspended = cpuc->suspended_pid;
	u32 reason = VMLAND_RUNS_DIRECT;

	if (!is_tracing())
		return;
	if (cpuc->expected_pid == p->pid)
		reason = VMLAND_RUNS_HANDED;
	else if (suspended == p->pid)
		reason = VMLAND_RUNS_RESUMED;
	else if (suspended)
		reason = VMLAND_RUNS_FIRST;
	else if (cpuc->from_queue)
		reason = VMLAND_RUNS_QUEUE;
	trace_write(VMLAND_TRACE_RUNS << 8 | reason, scx_bpf_task_cpu(p), p->pid,
		    suspended == p->pid ? 0 : suspended, trace_vm_id(taskc));
}

/* ops.stopping() begins. */
static __always_inline void trace_stops(const struct task_struct *p,
					const struct vmland_task_ctx *taskc,
					const struct vmland_cpu_ctx *cpuc, bool runnable)
{
	u32 reason = VMLAND_STOPS_PREEMPTED;
	u64 now = scx_bpf_now();

	if (!is_tracing())
		return;
	if (!runnable)
		reason = VMLAND_STOPS_SLEEPS;
	else if (taskc->yielded)
		reason = VMLAND_STOPS_YIELDED;
	else if (cpuc->suspended_pid == p->pid)
		reason = VMLAND_STOPS_SUSPENDED;
	else if (cpuc->runtime_end && !time_before(now, cpuc->runtime_end))
		reason = VMLAND_STOPS_RUNTIME;
	else if (!turn_left(cpuc))
		reason = VMLAND_STOPS_SLICE;
	trace_write(VMLAND_TRACE_STOPS << 8 | reason, scx_bpf_task_cpu(p), p->pid, 0,
		    trace_vm_id(taskc));
}

/* @prev, which had the CPU, keeps it for another turn. */
static __always_inline void trace_kept(const struct task_struct *prev,
				       const struct vmland_task_ctx *taskc, s32 cpu)
{
	if (!is_tracing())
		return;
	trace_write(VMLAND_TRACE_STOPS << 8 | VMLAND_STOPS_KEEPS, cpu, prev->pid, 0,
		    trace_vm_id(taskc));
	trace_write(VMLAND_TRACE_RUNS << 8 | VMLAND_RUNS_KEPT, cpu, prev->pid, 0,
		    trace_vm_id(taskc));
}

/* yield_to(@target): what became of it. */
static __always_inline void trace_yields(const struct task_struct *yielder,
					 const struct vmland_task_ctx *taskc,
					 const struct task_struct *target,
					 const struct vmland_cpu_ctx *cpuc, bool honoured)
{
	s32 to = cpuc->handoff_pid ?: target->pid;
	u32 reason = VMLAND_YIELDS_REFUSED;

	if (!is_tracing())
		return;
	if (honoured && !cpuc->handoff_pid)
		reason = VMLAND_YIELDS_IN_TURN;
	else if (honoured)
		reason = to == target->pid ? VMLAND_YIELDS_TARGET : VMLAND_YIELDS_RECEIVER;
	trace_write(VMLAND_TRACE_YIELDS << 8 | reason, scx_bpf_task_cpu(yielder), yielder->pid,
		    to, trace_vm_id(taskc));
}

/* @prev leaves @cpu. If a receiver of its IPIs waits, that gets it. */
static __always_inline void trace_leaves(const struct task_struct *prev,
					 const struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	if (cpuc->handoff_pid && is_tracing())
		trace_write(VMLAND_TRACE_YIELDS << 8 | VMLAND_YIELDS_LEAVES, cpu, prev->pid,
			    cpuc->handoff_pid, 0);
}

#endif /* VMLAND_TRACE_TRACE_BPF_H */
