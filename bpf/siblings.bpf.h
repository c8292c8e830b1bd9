/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Siblings together, where an administrator wants them so (cosched = "strict").
 *
 * By themselves a VM's vCPUs fall into step where that helps them, by turns
 * (yield.bpf.h). Here whenever a vCPU's turn begins, those of its siblings
 * that wait are put first on other CPUs until that turn ends, in the place of whoever
 * runs there and has had the shortest slice; so is a sibling that wakes meanwhile. So
 * the VM's vCPUs run at the same time or not at all, as far as there are CPUs; none
 * stands idle for it, and a sibling that is asleep is not waited for. It is out of turn:
 * they pay for it, no sibling that is HANDOFF_SLICES ahead of its share is taken, and the
 * VM's budget bounds it (boost.bpf.h).
 */
#ifndef VMLAND_SIBLINGS_BPF_H
#define VMLAND_SIBLINGS_BPF_H

/* How many that wait are looked at for siblings, and how many CPUs for each. */
#define SIBLING_LOOKS 64

/* When the last turn of a vCPU of VM @vm_id that runs will end; 0: none runs. */
static __always_inline u64 siblings_until(u32 vm_id)
{
	struct vmland_cpu *here = cpu_state(bpf_get_smp_processor_id());
	const struct vmland_cpu *there;
	s32 i;

	if (!here)
		return 0;
	here->until = 0;
	bpf_for(i, 0, SIBLING_LOOKS) {
		if (i == (s32)nr_cpu_ids)
			break;
		there = cpu_state(i);
		if (there && there->curr_weight && there->curr_vm_id == vm_id &&
		    time_after(there->turn_end, here->until))
			here->until = there->turn_end;
	}
	return here->until;
}

/* A CPU other than @cpu that the sibling @p may take from who runs there; -1: none. */
static s32 sibling_cpu(const struct task_struct *p, u32 vm_id, s32 cpu, u64 now)
{
	const struct vmland_cpu *there;
	u32 start = scx_bpf_task_cpu(p), nr = nr_cpu_ids ?: 1;
	s32 at, i;

	bpf_for(i, 0, SIBLING_LOOKS) {
		if (i == (s32)nr)
			break;
		at = (start + i) % nr;
		there = cpu_state(at);
		if (there && at != cpu && bpf_cpumask_test_cpu(at, p->cpus_ptr) &&
		    there->curr_weight && there->curr_vm_id != vm_id &&
		    !time_before(now, there->turn_start + there->curr_slice_min))
			return at;
	}
	return -1;
}

/* @p, of VM @vm_id, is about to take @cpu for @slice ns. */
static __always_inline void sibling_joins(const struct task_struct *p, u32 vm_id, s32 cpu,
					  u64 now, u64 slice)
{
	struct vmland_cpu *there = cpu_state(cpu);

	if (!there)
		return;
	there->expected_pid = p->pid;
	there->curr_vm_id = vm_id;
	turn_begin(there, now, slice);
	count(VMLAND_SIBLING_JOINS);
}

/*
 * A turn of @slice ns of a vCPU of VM @vm_id begins on @cpu: its siblings in @dsq run
 * meanwhile.
 */
__noinline int siblings_join(u64 dsq, u32 vm_id, s32 cpu, u64 slice)
{
	struct vmland_cpu *here = cpu_state(cpu);
	u64 now = scx_bpf_now();
	struct vmland_task *t;
	struct task_struct *p;
	s32 dest;

	if (!here || !scx_bpf_dsq_nr_queued(dsq))
		return 0;
	here->looks = 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (here->looks++ >= SIBLING_LOOKS)
			break;
		t = task_state(p);
		if (!t || !is_vcpu(t) || t->vm_id != vm_id || is_pinned(p) ||
		    !may_go_first(t, here->clock))
			continue;
		dest = sibling_cpu(p, vm_id, cpu, now);
		if (dest < 0)
			break;
		scx_bpf_dsq_move_set_slice(BPF_FOR_EACH_ITER, slice);
		if (scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL_ON | dest,
				     SCX_ENQ_HEAD | SCX_ENQ_PREEMPT))
			sibling_joins(p, vm_id, dest, now, slice);
	}
	return 0;
}

/*
 * @p, which has just woken or is the target of a hand-off, runs beside its siblings if
 * some do, until the last of them has had its turn. Returns the CPU on which to put it,
 * for *@slice ns; -1: none.
 */
__noinline s32 sibling_late(struct task_struct *p __arg_trusted,
			    struct vmland_task *t __arg_nonnull, u64 *slice __arg_nonnull)
{
	const struct vmland_cpu *there = cpu_state(scx_bpf_task_cpu(p));
	u64 now = scx_bpf_now(), until;
	s32 dest;

	if (!there || is_pinned(p) || !may_go_first(t, there->clock))
		return -1;
	until = siblings_until(t->vm_id);
	if (!time_before(now + HANDOFF_MIN_NS, until))
		return -1;
	dest = sibling_cpu(p, t->vm_id, -1, now);
	if (dest < 0)
		return -1;
	*slice = until - now;
	sibling_joins(p, t->vm_id, dest, now, *slice);
	return dest;
}

#endif /* VMLAND_SIBLINGS_BPF_H */
