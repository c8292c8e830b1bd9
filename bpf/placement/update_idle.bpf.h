/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ops.update_idle(): a CPU becomes idle, and looks once more; or ceases to be.
 *
 * Problem. ops.enqueue() wakes an idle CPU for the task that it queues. A CPU that has found
 * nothing in ops.dispatch() is not idle yet: a task that is queued in between sees no idle CPU,
 * and the CPU no task.
 *
 * Mechanism. The kernel sets the CPU's bit in the mask of idle CPUs, and then calls this op.
 * Either ops.enqueue() sees the bit, or the CPU sees here what is in the queues, and schedules
 * again.
 *
 * Late insertions. The kernel inserts a task when ops.enqueue() has returned. If all of the
 * above happens between the op's search for an idle CPU and the insertion, both see nothing.
 * So a search in vain leaves a time, and a CPU that becomes idle soon after it looks again when
 * LATE_NS have passed.
 *
 * Woken for nothing. A CPU that was idle and finds nothing in ops.dispatch() goes on being idle,
 * and the kernel does not call this op. From when it was claimed until then, searches do not see
 * it. So it looks again after LATE_NS, once.
 *
 * Woken for a task, and given another one. The kernel puts a task that ends on a CPU by itself. If
 * that CPU was idle and is woken for a queued task, it finds the other one, and ops.dispatch() is
 * not called. So a CPU that ceases to be idle wakes another one for what waits.
 *
 * A CPU that goes offline becomes idle at the very end, when the kernel has seen to all that was
 * raised there. A kick from it then stays raised for ever, and with it whatever the kernel raises on
 * that CPU later, also when that is online again: nothing is kicked from there.
 *
 *   constant  value   why
 *   LATE_NS   100 us  Interrupts are off between search and insertion, and what is left of the
 *                     op takes less than 1 us there.
 *   MARK_NS   25 us   The time is written at most so often, as all CPUs share it.
 */
#ifndef VMLAND_PLACEMENT_UPDATE_IDLE_BPF_H
#define VMLAND_PLACEMENT_UPDATE_IDLE_BPF_H

#include "../framework.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/cpu_timer.bpf.h"
#include "../context/queues.bpf.h"
#include "../queue/waiting.bpf.h"

#define LATE_NS (100 * 1000ULL)
#define MARK_NS (25 * 1000ULL)

static u64 searched_in_vain_at;	/* scx_bpf_now() */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_idle_timers SEC(".maps");

/* ops.enqueue() has found no idle CPU. */
static __always_inline void mark_search_in_vain(u64 now)
{
	if (time_after(now, searched_in_vain_at + MARK_NS))
		searched_in_vain_at = now;
}

static int idle_timer_fire(void *map, u32 *cpu, struct vmland_cpu_timer *timer)
{
	struct vmland_cpu_ctx *cpuc = cpuc_of(*cpu);

	if (cpuc && any_queued(*cpu)) {
		cpuc->looks_again = true;
		scx_bpf_kick_cpu(*cpu, SCX_KICK_IDLE);
	}
	return 0;
}

static __always_inline void idle_timers_init(void)
{
	cpu_timers_init(vmland_idle_timers, idle_timer_fire);
}

static __always_inline void look_again_soon(void)
{
	struct vmland_cpu_timer *timer = cpu_timer_here(vmland_idle_timers);

	if (timer)
		cpu_timer_start(timer, LATE_NS);
}

/* @cpu, which is this CPU, has become idle. */
static __always_inline void becomes_idle(s32 cpu)
{
	if (any_queued(cpu)) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		return;
	}
	if (!time_after(scx_bpf_now(), searched_in_vain_at + MARK_NS + LATE_NS))
		look_again_soon();
}

/* ops.dispatch() ends on @cpu, which had no task. */
static __always_inline void stays_idle(struct vmland_cpu_ctx *cpuc, s32 cpu)
{
	bool again = cpuc->looks_again;

	cpuc->looks_again = false;
	if (!again && !scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu))
		look_again_soon();
}

#endif /* VMLAND_PLACEMENT_UPDATE_IDLE_BPF_H */
