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
 * to. The sender's last IPIs are remembered, no more: whether a receiver has run
 * since is looked at only when the sender spins. When it comes back from a pause
 * exit and a receiver still waits, it is soon made to schedule, and ops.dispatch()
 * hands its CPU to that one (ipi.bpf.h).
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
#include "cpu_timer.bpf.h"

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

static __always_inline int note_sending(u32 vector)
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
	return note_sending(icr_low);
}

SEC("tp_btf/kvm_hypercall")
int BPF_PROG(on_hypercall, unsigned long nr, unsigned long a0, unsigned long a1,
	     unsigned long a2, unsigned long a3)
{
	return nr == KVM_HC_SEND_IPI ? note_sending(a3) : 0;
}

SEC("tp_btf/kvm_hv_send_ipi")
int BPF_PROG(on_hv_ipi, u32 vector, u64 mask)
{
	return note_sending(vector);
}

SEC("tp_btf/kvm_hv_send_ipi_ex")
int BPF_PROG(on_hv_ipi_ex, u32 vector, u64 format, u64 mask)
{
	return note_sending(vector);
}

/* An interrupt with @vector has been accepted for the vCPU with this APIC id. */
SEC("tp_btf/kvm_apic_accept_irq")
int BPF_PROG(on_accept_irq, u32 apic_id, u16 delivery, u16 trigger, u8 vector)
{
	struct vmland_sending *sending = sending_here();
	struct task_struct *curr = bpf_get_current_task_btf();
	struct vmland_sent *sent;
	u32 i;

	if (!sending || sending->pid != curr->pid || sending->vector != vector)
		return 0;
	sent = bpf_task_storage_get(&vmland_sent, curr, NULL, 0);
	if (!sent)
		return 0;
	i = sent->top++ % IPI_RECEIVERS;
	sent->to[i].vcpu_id = apic_id;
	sent->to[i].at = scx_bpf_now();
	return 0;
}

/*
 * A task is bound to its CPU while it is inside a probe, and one that is preempted
 * there stays bound for as long as it waits: no other CPU may take it, and the
 * receiver that it makes way for has the only one that it may run on. So it is
 * preempted by a timer, when the probe should have ended.
 */
#define SPIN_PREEMPT_NS (20 * 1000ULL)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_CPU_WORDS * 64);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_spin_timers SEC(".maps");

static int spin_timer_fire(void *map, u32 *cpu, struct vmland_cpu_timer *leave)
{
	struct task_struct *curr = bpf_get_current_task_btf();
	struct vmland_task_ctx *senderc = taskc_of(curr);

	if (!senderc || !senderc->spun)
		return 0;
	if (bpf_core_field_exists(curr->migration_disabled) && curr->migration_disabled)
		cpu_timer_start(leave, SPIN_PREEMPT_NS);
	else
		scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	return 0;
}

/* Notes that @curr is to make way for the receiver of its last IPI, if that one waits. */
static __always_inline bool mark_spinner(struct task_struct *curr, struct vmland_sent *sent)
{
	struct vmland_task_ctx *senderc = taskc_of(curr);
	struct task_struct *p;

	if (!senderc || senderc->spun || !senderc->ipi_window_ns)
		return false;
	p = last_receiver(senderc, sent);
	if (!p) {
		sent->top--;
		return false;
	}
	bpf_task_release(p);
	senderc->spun = true;
	return true;
}

/*
 * Back from a pause exit, after KVM has looked for somebody to yield to. If it has
 * found a receiver, that one has run, and it is pending no more.
 */
SEC("fexit/kvm_vcpu_on_spin")
int BPF_PROG(on_spin)
{
	struct task_struct *curr = bpf_get_current_task_btf();
	struct vmland_cpu_timer *leave;
	struct vmland_sent *sent;
	u32 key = 0;
	u64 *pauses;

	pauses = bpf_map_lookup_elem(&vmland_pauses, &key);
	if (pauses)
		(*pauses)++;
	sent = bpf_task_storage_get(&vmland_sent, curr, NULL, 0);
	if (!sent || !sent->top || !mark_spinner(curr, sent))
		return 0;
	leave = cpu_timer_here(vmland_spin_timers, spin_timer_fire);
	if (leave)
		cpu_timer_start(leave, SPIN_PREEMPT_NS);
	return 0;
}
