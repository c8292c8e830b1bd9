/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM's guests wait for: who sent an IPI to whom, and who spins.
 *
 * Problem. A vCPU that waits for the answer to an IPI spins until the receiver
 * runs. KVM's candidates for a directed yield know nothing of that: a receiver
 * that was preempted in the guest's user mode is left out whenever the spinner is
 * in the guest's kernel, and if no candidate is left the scheduler is not asked.
 *
 * Mechanism. KVM names the vector when a guest sends an IPI (by the APIC, by
 * paravirtual or Hyper-V hypercall), and then each receiver that it is delivered
 * to. A receiver that is off its CPU at that moment is put into a list of the
 * sender's, by pid, and stays pending until it has run (ipi.bpf.h). When the
 * sender comes back from a pause exit and its receivers still wait, it is made to
 * schedule, and ops.dispatch() hands its CPU to one of them.
 *
 * Left out: device interrupts and timers, whose vector is not that of the IPI
 * being sent; self-IPIs; other VMs. A paravirtual TLB flush of a descheduled vCPU
 * sends no IPI and nobody waits for it. IPIs that the hardware delivers without
 * an exit (AMD AVIC, Intel IPI virtualisation) are not seen: there KVM's own
 * hint is what is left.
 *
 * This object holds kvm.ko in memory, as a VM does: user space keeps it loaded
 * only while there are VMs.
 */
#include <scx/common.bpf.h>
#include "intf.h"
#include "task.bpf.h"

char _license[] SEC("license") = "GPL";

/* KVM's number of the hypercall that sends IPIs (uapi/linux/kvm_para.h). */
#define KVM_HC_SEND_IPI 10

/* The IPI that is being sent on a CPU. */
struct vmland_sending {
	s32 pid;
	u32 vector;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct vmland_sending);
} vmland_sending SEC(".maps");

static __always_inline struct vmland_sending *sending_here(void)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&vmland_sending, &key);
}

static __always_inline int sends(u32 vector)
{
	struct vmland_sending *sending = sending_here();

	if (sending) {
		sending->pid = bpf_get_current_task_btf()->pid;
		sending->vector = vector & 0xff;
	}
	return 0;
}

SEC("tp_btf/kvm_apic_ipi")
int BPF_PROG(on_apic_ipi, u32 icr_low, u32 dest)
{
	return sends(icr_low);
}

SEC("tp_btf/kvm_hypercall")
int BPF_PROG(on_hypercall, unsigned long nr, unsigned long a0, unsigned long a1,
	     unsigned long a2, unsigned long a3)
{
	return nr == KVM_HC_SEND_IPI ? sends(a3) : 0;
}

SEC("tp_btf/kvm_hv_send_ipi")
int BPF_PROG(on_hv_ipi, u32 vector, u64 mask)
{
	return sends(vector);
}

SEC("tp_btf/kvm_hv_send_ipi_ex")
int BPF_PROG(on_hv_ipi_ex, u32 vector, u64 format, u64 mask)
{
	return sends(vector);
}

/* @p, off its CPU, has to answer an IPI of the vCPU @from, which runs as @pid. */
static __always_inline void receiver_waits(struct task_struct *p, s32 pid,
					   struct vmland_task *from)
{
	struct vmland_task *t = task_state(p);

	if (!t || p->on_cpu)
		return;
	if (!t->ipi_at) {
		t->ipi_from = pid;
		t->ipi_next = from->ipi_to;
		from->ipi_to = p->pid;
	}
	t->ipi_at = scx_bpf_now();
}

/* An interrupt with @vector has been accepted for the vCPU with this APIC id. */
SEC("tp_btf/kvm_apic_accept_irq")
int BPF_PROG(on_accept_irq, u32 apic_id, u16 delivery, u16 trigger, u8 vector)
{
	struct task_struct *me = bpf_get_current_task_btf(), *p;
	struct vmland_sending *sending = sending_here();
	struct vmland_vcpu_key key = { .vcpu_id = apic_id };
	struct vmland_task *from;
	s32 *pid;

	if (!sending || sending->pid != me->pid || sending->vector != vector)
		return 0;
	from = task_state(me);
	if (!from || !is_vcpu(from))
		return 0;
	key.vm_id = from->vm_id;
	pid = bpf_map_lookup_elem(&vmland_vcpu_pids, &key);
	if (!pid || *pid == me->pid)
		return 0;
	p = bpf_task_from_pid(*pid);
	if (!p)
		return 0;
	receiver_waits(p, me->pid, from);
	bpf_task_release(p);
	return 0;
}

static __always_inline bool receiver_still_waits(s32 receiver, s32 sender)
{
	struct task_struct *p = bpf_task_from_pid(receiver);
	struct vmland_task *t;
	bool waits;

	if (!p)
		return false;
	t = task_state(p);
	waits = t && t->ipi_at && t->ipi_from == sender &&
		(p->scx.flags & SCX_TASK_QUEUED) && !p->on_cpu;
	bpf_task_release(p);
	return waits;
}

/*
 * Back from a pause exit, after KVM has looked for somebody to yield to. If it has
 * found a receiver, that one has run, and it is pending no more.
 */
SEC("fexit/kvm_vcpu_on_spin")
int BPF_PROG(on_spin)
{
	struct task_struct *me = bpf_get_current_task_btf();
	struct vmland_task *t;
	u32 key = 0;
	u64 *pauses;

	pauses = bpf_map_lookup_elem(&vmland_pauses, &key);
	if (pauses)
		(*pauses)++;
	t = task_state(me);
	if (!t || !t->ipi_to || t->spun || !receiver_still_waits(t->ipi_to, me->pid))
		return 0;
	t->spun = true;
	scx_bpf_kick_cpu(bpf_get_smp_processor_id(), SCX_KICK_PREEMPT);
	return 0;
}
