/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF part and user space share. bindgen parses this header, so it
 * stands alone; every quantity carries its unit.
 */
#ifndef VMLAND_INTF_H
#define VMLAND_INTF_H

enum vmland_limits {
	/* VMs known at a time; a further VM's vCPUs run as ordinary tasks. */
	VMLAND_MAX_VMS = 4096,
	/* vCPU threads known at a time, over all VMs. */
	VMLAND_MAX_VCPUS = 65536,
	/* CPUs that a preference can name, in words of 64: as many as the framework's. */
	VMLAND_CPU_WORDS = 16,
	/* cgroups with the cpu controller at a time; what is in a further one counts
	   as being in the root. */
	VMLAND_MAX_CGROUPS = 32768,
};

/* Weight of an ordinary task at nice 0 and of a cgroup whose cpu.weight is 100. */
#define VMLAND_NICE_0 102400

/* The period of which struct vmland_vm_params.cap_ns is a part, in ns. */
#define VMLAND_CAP_PERIOD 100000000ULL

/* vm_slot of a task that is no vCPU. */
#define VMLAND_NO_VM 0xffffffffU

/*
 * Counters, one per-CPU array slot each. They only grow; user space sums them
 * over the CPUs. src/bin/scx_vmland/metrics.rs gives each a name.
 */
enum vmland_counter {
	/* Who is there. */
	VMLAND_VCPUS_SEEN,	/* a thread was recognised as a vCPU */
	VMLAND_VCPUS_GONE,	/* a vCPU's thread or its VM went away */

	/* yield_to(): asked = honoured + in turn + receiver + refused. */
	VMLAND_YIELD_ASKED,
	VMLAND_YIELD_HONOURED,	/* a hand-off was noted */
	VMLAND_YIELD_IN_TURN,	/* accepted, but the target is far ahead of its
				   share: it comes before the yielder, in turn */
	VMLAND_YIELD_NOT_VCPU,	/* refused: one of the two is no vCPU */
	VMLAND_YIELD_OTHER_VM,	/* refused: two VMs */
	VMLAND_YIELD_IGNORED,	/* refused: the VM's terms say so */
	VMLAND_YIELD_THROTTLED,	/* refused: the target has no CPU time left */
	VMLAND_YIELD_WOKEN,	/* refused, once: the target merely woke */
	VMLAND_YIELD_RECEIVER,	/* accepted, but an IPI's receiver goes first */
	VMLAND_SPIN_RECEIVER,	/* a pause exit, which KVM had no candidate for, gave
				   the CPU to an IPI's receiver */
	VMLAND_LEFT_RECEIVER,	/* who went to sleep, or had had its turn, left its CPU to
				   an IPI's receiver */
	VMLAND_YIELD_PLAIN,	/* sched_yield(), no target */

	/* Where a hand-off found its target. */
	VMLAND_HANDOFF_SHARED,	/* in the shared line */
	VMLAND_HANDOFF_PARKED,	/* waiting for the policy's word */
	VMLAND_HANDOFF_PINNED,	/* in a per-CPU line */
	VMLAND_HANDOFF_REMOTE,	/* not allowed here: put first on its own CPU */
	VMLAND_HANDOFF_SERVED,	/* already running, or about to, elsewhere */
	VMLAND_HANDOFF_LOST,	/* gone to sleep, or moved under our hands */
	VMLAND_HANDOFF_NEXT,	/* the target really was next on that CPU */

	/* Who put a task on a CPU. */
	VMLAND_DISPATCH_IDLE,	/* straight to an idle CPU */
	VMLAND_DISPATCH_SHARED,	/* from the shared line */
	VMLAND_DISPATCH_PINNED,	/* from a per-CPU line */
	VMLAND_DISPATCH_PARKED,	/* before the policy's word came */
	VMLAND_DISPATCH_KEPT,	/* went on: nobody deserved the CPU more */

	/* The policy's words. */
	VMLAND_POLICY_ASKED,	/* events sent to user space */
	VMLAND_POLICY_PLACED,	/* decisions applied */
	VMLAND_POLICY_LATE,	/* the task had run or left before the decision */
	VMLAND_POLICY_RING_FULL,/* not asked: the ring was full */

	VMLAND_PREEMPT,		/* a waking task preempted a running one */
	VMLAND_COSCHED_STARTS,	/* a vCPU was put onto a CPU to run beside its sibling */
	VMLAND_THROTTLED,	/* a task was put aside: a quota or a cap was used up */
	VMLAND_RESCUED,		/* a task that had waited for long was put first */

	VMLAND_NR_COUNTERS,
};

/*
 * An entry of the framework's ring of queued tasks may instead tell that a
 * thread became a vCPU or ceased to be one: its flags are then one of these,
 * its vtime the VM's vm_id. No enqueue flag of the kernel's uses these bits.
 * Being in the same ring, it comes before the first decision that needs it.
 */
#define VMLAND_EVENT_VCPU_SEEN 0x2000000000000000ULL
#define VMLAND_EVENT_VCPU_GONE 0x4000000000000000ULL

/* One vCPU thread, by pid, for listings. */
struct vmland_vcpu {
	unsigned int vm_slot;
	unsigned int vm_id;
	int vcpu_id;		/* KVM's, which is its APIC id on x86 */
	int tgid;
};

/* One VM. A slot whose kvm is 0 is free. */
struct vmland_vm_ctx {
	unsigned long long kvm;	/* address of its struct kvm: an identity only */
	unsigned long long cpu_ns;		/* CPU time of its vCPU threads */
	unsigned long long pause_exits;		/* calls of kvm_vcpu_on_spin() */
	unsigned long long yields_asked;
	unsigned long long yields_honoured;
	unsigned long long throttled_ns;	/* its vCPUs were put aside, summed */
	unsigned long long boosted_ns;		/* of cpu_ns, out of turn */
	long long boost_left_ns;		/* that it may run out of turn (boost.bpf.h) */
	unsigned int vm_id;	/* from 1 up, never reused */
	int tgid;		/* the process that runs it */
	unsigned int nr_vcpus;	/* vCPU threads known */
	unsigned int nr_runnable;	/* of these, how many wait or run */
	unsigned int counted_in;	/* 1 + the slot of the cgroup that counts it among
					   its VMs; 0: none does */
	unsigned int pad;
};

/* What a VM may have, for bpf/params.bpf.h. Written by user space alone. */
struct vmland_vm_params {
	unsigned int vm_id;	/* of another VM, or 0: nothing has been said */
	unsigned int weight;	/* 1 to 10000; 100 is that of a VM of which nothing is said */
	unsigned long long slice_ns;		/* 0: --slice-us */
	unsigned long long slice_min_ns;	/* 0: --slice-us-min */
	unsigned long long ipi_window_ns;	/* 0: receivers of IPIs do not come first */
	unsigned long long cap_ns;		/* a VMLAND_CAP_PERIOD; 0: none */
	unsigned long long skew_ns;		/* 0: it does not matter */
	unsigned int flags;	/* VMLAND_TERMS_* */
	unsigned int boost_percent;	/* of its CPU time that may be out of turn */
};

/* yield_to() between its vCPUs is refused. */
#define VMLAND_VM_IGNORE_YIELD 1
/* A vCPU of it that wakes preempts without a lead and without waiting. */
#define VMLAND_VM_LATENCY_LOW 2
/* A vCPU of it that wakes preempts nobody. */
#define VMLAND_VM_LATENCY_BATCH 4
/* It prefers some CPUs, as bpf/prefer.bpf.c was told before. */
#define VMLAND_VM_PREFERS_CPUS 8
/* A hand-off gives a slice of its own, not the turn. */
#define VMLAND_VM_COSCHED_OFF 16
/* Its vCPUs run together. */
#define VMLAND_VM_COSCHED_STRICT 32

/* The CPUs that a VM prefers, for bpf/prefer.bpf.c. */
struct vmland_preference {
	unsigned int vm_slot;
	unsigned int pad;
	unsigned long long cpus[VMLAND_CPU_WORDS];	/* CPU n: bit n % 64 of word n / 64 */
};

/* What --without leaves out, to see what it is worth: bits of vmland_without. */
enum vmland_mechanism {
	VMLAND_YIELD_TO = 1,		/* yield.bpf.h: hints are taken */
	VMLAND_RECEIVERS = 2,		/* ipi.bpf.h: receivers of IPIs come first */
	VMLAND_TURNS = 4,		/* yield.bpf.h: a hand-off passes on the turn */
	VMLAND_SECOND_CHANCE = 8,	/* ipi.bpf.h: who merely woke is passed over */
	VMLAND_PREEMPTION = 16,		/* vmland.bpf.c: who wakes can preempt */
	VMLAND_STICKY = 32,		/* sticky.bpf.h: who answers IPIs stays on a CPU */
	VMLAND_PROLONG = 64,		/* turn.bpf.h: a turn is prolonged for a receiver */
};

/* What user space asks of vmland_override(): a weight in place of a cgroup's cpu.weight. */
struct vmland_override {
	unsigned long long cgroup;	/* its id, which is its directory's inode number */
	unsigned int weight;		/* as cpu.weight; 0: cpu.weight again */
	unsigned int pad;
};

/*
 * Where KVM keeps what classification reads. The scheduler must load where
 * kvm.ko is not (yet) there, so it cannot relocate against KVM's types;
 * bpf/kvm.bpf.c does, when KVM comes, and writes this down.
 */
struct vmland_kvm_layout {
	unsigned int ready;		/* 0: KVM is not there */
	unsigned int vcpu_notifier;	/* offsetof(struct kvm_vcpu, preempt_notifier) */
	unsigned int vcpu_kvm;		/* offsetof(struct kvm_vcpu, kvm) */
	unsigned int vcpu_id;		/* offsetof(struct kvm_vcpu, vcpu_id) */
};

#endif /* VMLAND_INTF_H */
