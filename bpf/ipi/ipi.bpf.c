/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Probes on KVM: which vCPU sent an IPI to which, and which vCPU spins.
 *
 * Problem. A vCPU that waits for the answer to an IPI spins until the receiver runs. KVM
 * chooses the target of a directed yield without knowing of IPIs: if the spinning vCPU
 * is in the guest's kernel mode, vCPUs that were preempted in user mode are left out. If
 * no vCPU is left, KVM does not ask the scheduler.
 *
 * Mechanism. When a guest sends an IPI (by the APIC, or by a paravirtual or Hyper-V
 * hypercall), KVM reports its vector, and then each receiver that it is delivered to. The last
 * IPIs of each sender are remembered (receivers.bpf.h). Whether a receiver has run since
 * is examined only when the sender spins. If KVM has handled a pause exit and a receiver still
 * waits, the sender is preempted shortly afterwards, and ops.dispatch() hands its CPU to the
 * receiver (pending.bpf.h).
 *
 * Not included are interrupts of devices and timers, whose vector is not that of the IPI being
 * sent; IPIs to oneself; other VMs. A paravirtual TLB flush of a descheduled vCPU sends no
 * IPI, and no vCPU waits for it.
 *
 * Limits. IPIs that the hardware delivers without an exit (AMD AVIC, Intel IPI
 * virtualisation) are not seen. For them there are KVM's hints only.
 *
 * This object holds kvm.ko in memory, as a VM does. User space keeps it loaded only while
 * there are VMs.
 */
#include <scx/common.bpf.h>
#include "../context/cpu_timer.bpf.h"
#include "../context/task.bpf.h"
#include "../intf.h"
#include "receivers.bpf.h"

char _license[] SEC("license") = "GPL";

/* KVM's number of the hypercall that sends IPIs (uapi/linux/kvm_para.h). */
#define KVM_HC_SEND_IPI 10

/*
 * How long after a pause exit the sender is preempted, in ns: 20 us. By then the probe has
 * returned (see spin_timer_fire()), and the vCPU has not yet executed much.
 */
#define SPIN_PREEMPT_NS (20 * 1000ULL)

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

/* The current task sends an IPI with @vector. */
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

/* What the current vCPU does here. */
static __always_inline struct vmland_kvm_counts *kvm_counts_here(void)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&vmland_kvm_counts, &key);
}

/* The vCPU with this APIC id has accepted an interrupt with @vector. */
SEC("tp_btf/kvm_apic_accept_irq")
int BPF_PROG(on_accept_irq, u32 apic_id, u16 delivery, u16 trigger, u8 vector)
{
	struct vmland_sending *sending = sending_here();
	struct task_struct *sender = bpf_get_current_task_btf();
	struct vmland_kvm_counts *counts;
	struct vmland_sent *sent;
	u32 i;

	if (!sending || sending->pid != sender->pid || sending->vector != vector)
		return 0;
	counts = kvm_counts_here();
	if (counts)
		counts->ipis++;
	sent = bpf_task_storage_get(&vmland_sent, sender, NULL, 0);
	if (!sent)
		return 0;
	i = sent->top++ % IPI_RECEIVERS;
	sent->to[i].vcpu_id = apic_id;
	sent->to[i].at = scx_bpf_now();
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_CPU_WORDS * 64);
	__type(key, u32);
	__type(value, struct vmland_cpu_timer);
} vmland_spin_timers SEC(".maps");

/*
 * Preempts a spinning sender. A timer does it, and not the probe: migration is disabled
 * for a task that is inside a probe. If it were preempted there, it would be bound to its
 * CPU for as long as it waits, and the receiver would have the only CPU that it may run on.
 */
static int spin_timer_fire(void *map, u32 *cpu, struct vmland_cpu_timer *timer)
{
	struct task_struct *curr = bpf_get_current_task_btf();
	struct vmland_task_ctx *taskc = taskc_of(curr);

	if (!taskc || !taskc->spun)
		return 0;
	if (bpf_core_field_exists(curr->migration_disabled) && curr->migration_disabled)
		cpu_timer_start(timer, SPIN_PREEMPT_NS);
	else
		scx_bpf_kick_cpu(*cpu, SCX_KICK_PREEMPT);
	return 0;
}

/* User space runs this once, right after the object is loaded. */
SEC("syscall")
int init_timers(void *ctx)
{
	cpu_timers_init(vmland_spin_timers, spin_timer_fire);
	return 0;
}

/* Marks @sender as spinning if the receiver of its last IPI waits. Returns whether it does. */
static __always_inline bool mark_spinning(struct task_struct *sender, struct vmland_sent *sent)
{
	struct vmland_task_ctx *senderc = taskc_of(sender);
	struct task_struct *receiver;

	if (!senderc || senderc->spun || !senderc->ipi_window_ns)
		return false;
	receiver = last_receiver(senderc, sent);
	if (!receiver) {
		sent->top--;
		return false;
	}
	bpf_task_release(receiver);
	senderc->spun = true;
	return true;
}

/*
 * KVM has handled a pause exit. If it has yielded to a receiver, that one has run, and does
 * not wait any more.
 */
SEC("fexit/kvm_vcpu_on_spin")
int BPF_PROG(on_spin)
{
	struct task_struct *sender = bpf_get_current_task_btf();
	struct vmland_kvm_counts *counts = kvm_counts_here();
	struct vmland_cpu_timer *timer;
	struct vmland_sent *sent;

	if (counts)
		counts->pause_exits++;
	sent = bpf_task_storage_get(&vmland_sent, sender, NULL, 0);
	if (!sent || !sent->top || !mark_spinning(sender, sent))
		return 0;
	timer = cpu_timer_here(vmland_spin_timers);
	if (timer)
		cpu_timer_start(timer, SPIN_PREEMPT_NS);
	return 0;
}
