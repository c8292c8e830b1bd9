/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's dump tells of this scheduler: when it ejects it, or at SysRq-D.
 *
 *   op         it tells of
 *   dump       the queues, and the VMs that have a runnable vCPU
 *   dump_cpu   a CPU: the queue of tasks that are bound to it, its vtime, who runs since when, the
 *              turn, notes of hand-offs, a suspended turn. Of an idle CPU only what is unusual
 *   dump_task  a running or waiting task: VM and vCPU, weight, lag, wait, throttling
 *
 * Times are in us. "ago" and "in" count from the moment at which the line is written, for CPUs go on
 * during a dump. A lag is how much the task is owed, against the vtime of its CPU.
 *
 * Limits. The kernel keeps 32 KiB of an ejection's dump (--exit-dump-len), and tasks come last. So
 * DUMP_VMS VMs are told of at most: 64, in about 6 KiB. No lock is taken, so numbers of one line
 * may be of two moments.
 */
#ifndef VMLAND_DUMP_DUMP_BPF_H
#define VMLAND_DUMP_DUMP_BPF_H

#include <scx/common.bpf.h>
#include "../classify/vcpu.bpf.h"
#include "../classify/vm.bpf.h"
#include "../context/clock.bpf.h"
#include "../context/cpu.bpf.h"
#include "../context/queues.bpf.h"
#include "../context/task.bpf.h"
#include "../domain/domain.bpf.h"

#define DUMP_VMS 64

/* VMs that are still to be told of. The verifier would follow each value of a local variable. */
static u32 dump_vms_left;

/* From @from to @to, in us. */
static __always_inline s64 dump_us(u64 from, u64 to)
{
	return (s64)(to - from) / 1000;
}

static __always_inline void dump_queues(void)
{
	u32 i, throttled = 0;

	bpf_for(i, 0, THROTTLED_DSQS)
		throttled += scx_bpf_dsq_nr_queued(THROTTLED_DSQ + i);
	scx_bpf_dump("vmland: throttled %u\n", throttled);
	bpf_for(i, 0, nr_domains)
		scx_bpf_dump("vmland: queue of domain %u: %d waiting\n", i,
			     scx_bpf_dsq_nr_queued(domain_queue(i)));
}

/* The VM in @slot, if one of its vCPUs is runnable. Not static: the verifier checks it once. */
__noinline int dump_vm(u32 slot)
{
	const struct vmland_vm_ctx *vmc = vmc_of(slot);

	if (!vmc || !vmc->vm_id || !vmc->nr_runnable || !dump_vms_left)
		return 0;
	if (!--dump_vms_left) {
		scx_bpf_dump("vmland: and more VMs\n");
		return 0;
	}
	scx_bpf_dump("vmland: VM %u slot %u pid %d: vCPUs %u runnable %u running %u weight %llu vruntime %llu us\n",
		     vmc->vm_id, slot, vmc->tgid, vmc->nr_vcpus, vmc->nr_runnable,
		     vmc->nr_running, vmc->weight, vmc->account.vruntime / 1000);
	return 0;
}

/* @cpu, which is idle or not. */
static __always_inline void dump_cpu(s32 cpu, bool idle)
{
	const struct vmland_cpu_ctx *cpuc = cpuc_of(cpu);
	s32 bound = scx_bpf_dsq_nr_queued(cpu);
	u64 now = clock_now();

	if (!cpuc || (idle && !bound && !cpuc->handoff_pid && !cpuc->suspended_pid))
		return;
	scx_bpf_dump("vmland: queue of this CPU %d waiting, vtime %llu us%s\n", bound,
		     cpuc->vtime / 1000, cpuc->offline ? ", offline" : "");
	if (cpuc->curr_weight)
		scx_bpf_dump("vmland: pid %d runs, VM %u, for %lld us, weight %llu; turn began %lld us ago, ends in %lld us\n",
			     cpuc->curr_pid, cpuc->curr_vm_id, dump_us(cpuc->curr_start, now),
			     cpuc->curr_weight, dump_us(cpuc->turn_start, now),
			     dump_us(now, cpuc->turn_end));
	if (cpuc->handoff_pid || cpuc->suspended_pid)
		scx_bpf_dump("vmland: hand-off noted to pid %d; turn of pid %d is suspended\n",
			     cpuc->handoff_pid, cpuc->suspended_pid);
}

/* KVM's id of the vCPU that @p runs; -1: none. */
static __always_inline s32 dump_vcpu_id(const struct task_struct *p)
{
	const struct vmland_vcpu *vcpu;
	s32 pid = p->pid;

	vcpu = bpf_map_lookup_elem(&vmland_vcpus, &pid);
	return vcpu ? vcpu->vcpu_id : -1;
}

static __always_inline void dump_task(struct task_struct *p)
{
	const struct vmland_task_ctx *taskc = taskc_of(p);
	const struct vmland_cpu_ctx *cpuc = cpuc_of(scx_bpf_task_cpu(p));
	u64 now = clock_now();

	if (!taskc || !cpuc)
		return;
	if (is_vcpu(taskc))
		scx_bpf_dump("vmland: vCPU %d of VM %u slot %u%s\n", dump_vcpu_id(p),
			     taskc->vm_id, taskc->vm_slot, taskc->gang ? ", gang" : "");
	scx_bpf_dump("vmland: weight %llu vruntime %llu us lag %lld us slice %llu us%s\n",
		     taskc->weight, taskc->vruntime / 1000,
		     dump_us(taskc->vruntime, cpuc->vtime), taskc->slice_ns / 1000,
		     taskc->boosted ? ", out of turn" : "");
	if (taskc->wait_start)
		scx_bpf_dump("vmland: waits for %lld us\n", dump_us(taskc->wait_start, now));
	if (taskc->throttled_since)
		scx_bpf_dump("vmland: throttled for %lld us, of cgroup slot %u\n",
			     dump_us(taskc->throttled_since, now), taskc->cgroup_slot);
}

#endif /* VMLAND_DUMP_DUMP_BPF_H */
