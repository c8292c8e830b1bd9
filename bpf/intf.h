/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface of the BPF part and user space. bindgen parses this header, so it uses no
 * types of other headers. Each quantity has a unit.
 */
#ifndef VMLAND_INTF_H
#define VMLAND_INTF_H

enum vmland_limits {
	/* VMs at a time. vCPUs of a further VM run as ordinary tasks until a slot is free. */
	VMLAND_MAX_VMS = 4096,
	/* vCPU threads at a time, of all VMs. */
	VMLAND_MAX_VCPUS = 65536,
	/* CPUs that a preference can name, in words of 64; the framework's MAX_CPUS. */
	VMLAND_CPU_WORDS = 16,
	/* cgroups with the cpu controller at a time. A further one counts as its parent. */
	VMLAND_MAX_CGROUPS = 65536,
	/* Domains (domain/domain.bpf.h). LLCs of a larger host share one. */
	VMLAND_MAX_DOMAINS = 64,
};

/* Weight of an ordinary task at nice 0, and of a cgroup whose cpu.weight is 100. */
#define VMLAND_NICE_0 102400

/* The period of vmland_vm_params.cap_ns, in ns: 100 ms, the kernel's default for cpu.max. */
#define VMLAND_CAP_PERIOD 100000000ULL

/* vm_slot of a task that is no vCPU. */
#define VMLAND_NO_VM 0xffffffffU

/*
 * Counters: a slot each in a per-CPU array. They only grow, and user space adds them up over
 * the CPUs. src/metrics.rs gives each a name.
 */
enum vmland_counter {
	/* Classification. */
	VMLAND_VCPUS_SEEN,	/* a thread was recognised as a vCPU */
	VMLAND_VCPUS_GONE,	/* a vCPU thread ended, or its VM did */

	/*
	 * yield_to(): asked = honoured + in turn + receiver + refused (the reasons: not
	 * vCPU, other VM, ignored, throttled, gang, woken).
	 */
	VMLAND_YIELD_ASKED,
	VMLAND_YIELD_HONOURED,	/* a hand-off to the target was noted */
	VMLAND_YIELD_IN_TURN,	/* honoured, but the target may not run out of turn: the
				   yielder deferred behind it */
	VMLAND_YIELD_NOT_VCPU,	/* refused: yielder or target is no vCPU */
	VMLAND_YIELD_OTHER_VM,	/* refused: yielder and target belong to two VMs */
	VMLAND_YIELD_IGNORED,	/* refused: yield_to = "ignore", or --without yield-to */
	VMLAND_YIELD_THROTTLED,	/* refused: the target is throttled */
	VMLAND_YIELD_GANG,	/* refused: the target waits for the turn of its gang */
	VMLAND_YIELD_WOKEN,	/* refused once: the target has not run since it woke */
	VMLAND_YIELD_RECEIVER,	/* honoured, with the receiver of an IPI as target */
	VMLAND_SPIN_RECEIVER,	/* hand-off to the receiver of an IPI after a pause exit for
				   which KVM had no target */
	VMLAND_LEFT_RECEIVER,	/* hand-off to the receiver of an IPI by a sender that went to
				   sleep or used up its slice */
	VMLAND_YIELD_PLAIN,	/* sched_yield(), without a target */

	/* Hand-offs, by where the target was. */
	VMLAND_HANDOFF_SHARED,	/* in the queue of a domain */
	VMLAND_HANDOFF_PINNED,	/* in a per-CPU queue */
	VMLAND_HANDOFF_REMOTE,	/* put first on its own CPU: it may not run here */
	VMLAND_HANDOFF_SERVED,	/* running, or in a local DSQ */
	VMLAND_HANDOFF_LOST,	/* asleep or throttled, or it moved meanwhile */
	VMLAND_HANDOFF_NEXT,	/* the target was the next task to run on the CPU */

	/* Dispatches, by where the task came from. */
	VMLAND_DISPATCH_IDLE,	/* it woke, and got an idle CPU */
	VMLAND_DISPATCH_SHARED,	/* from the queue of the CPU's domain */
	VMLAND_DISPATCH_BEYOND,	/* from that of another domain */
	VMLAND_DISPATCH_PINNED,	/* from a per-CPU queue */
	VMLAND_DISPATCH_KEPT,	/* it had the CPU, and the earliest deadline */

	/* The planner. */
	VMLAND_EVIDENCE_SENT,	/* reports of VMs sent to user space */
	VMLAND_EVIDENCE_LOST,	/* reports not sent: the ring was full */

	VMLAND_PREEMPT,		/* a waking task preempted a running one */
	VMLAND_GANG_TURNS,	/* a turn of a gang began */
	VMLAND_THROTTLED,	/* a task was throttled */
	VMLAND_RESCUED,		/* a task that had waited too long was put first */
	VMLAND_VMS_FULL,	/* a vCPU of a VM that had no slot was seen */
	VMLAND_CGROUPS_FULL,	/* a cgroup had no slot */
	VMLAND_TRACE_LOST,	/* a record of a trace found no room */

	VMLAND_NR_COUNTERS,
};

enum vmland_event_kind {
	VMLAND_EVENT_VCPU_SEEN = 1,	/* a thread became a vCPU */
	VMLAND_EVENT_VCPU_GONE = 2,	/* it ceased to be one */
	VMLAND_EVENT_EVIDENCE = 3,	/* what a VM has done (planner/evidence.bpf.h) */
};

/* An event for user space (planner/event.bpf.h). */
struct vmland_event {
	unsigned int kind;	/* enum vmland_event_kind */
	int pid;		/* of the vCPU thread; 0: the event is of a VM */
	unsigned int vm_slot;
	unsigned int vm_id;	/* of VMLAND_EVENT_EVIDENCE; else 0 */

	/* Of VMLAND_EVENT_EVIDENCE, since the VM was seen; else 0. */
	unsigned long long pause_exits;
	unsigned long long receivers;	/* hand-offs to receivers of IPIs */
	unsigned long long cpu_ns;
	unsigned long long at_ns;	/* scx_bpf_now() */
};

/* A vCPU thread, by pid, for listings. */
struct vmland_vcpu {
	unsigned int vm_slot;
	unsigned int vm_id;
	int vcpu_id;		/* KVM's; on x86 it is the APIC id */
	int tgid;
};

/* What a VM or a cgroup has had of its share (vtime/lag.bpf.h). */
struct vmland_account {
	unsigned long long vruntime;
	unsigned long long owed_until;
};

/* The context of a VM. A slot whose kvm is 0 is free. */
struct vmland_vm_ctx {
	unsigned long long kvm;	/* address of its struct kvm; used as an identity only */
	struct vmland_account account;
	unsigned long long cpu_ns;		/* CPU time of its vCPU threads */
	unsigned long long pause_exits;		/* calls of kvm_vcpu_on_spin() */
	unsigned long long receivers;		/* hand-offs to receivers of IPIs */
	unsigned long long ipis;		/* sent, one for each receiver */
	unsigned long long weight;	/* by which it competes, cgroups included */
	unsigned long long yields_asked;
	unsigned long long yields_honoured;
	unsigned long long throttled_ns;	/* sum over its vCPUs */
	unsigned long long boosted_ns;		/* the part of cpu_ns that was out of turn */
	long long boost_left_ns;		/* its boost budget */
	unsigned int vm_id;	/* from 1 up, never reused */
	int tgid;		/* the process that runs it */
	unsigned int nr_vcpus;	/* vCPU threads known */
	unsigned int nr_runnable;	/* of these, how many are runnable */
	unsigned int nr_running;	/* and how many have a CPU */
	unsigned int counted_in;	/* 1 + the slot of the cgroup that counts it among its
					   VMs; 0: none does */

	/* Reports to the planner (planner/evidence.bpf.h). */
	unsigned long long evidence_due;	/* scx_bpf_now() */
	unsigned long long reported_exits;

	/* The turn of a gang (cosched/gang.bpf.h). */
	unsigned int waits;		/* its waiting vCPUs have turn_deadline already */
	unsigned int pad;
	unsigned long long turn_start;	/* scx_bpf_now() */
	unsigned long long turn_end;
	unsigned long long turn_deadline;
};

/* The buckets of a histogram of waits (waits/waits.bpf.h). */
enum vmland_wait {
	VMLAND_WAIT_SHIFT = 8,	/* the first ones are 2^8 ns wide */
	VMLAND_WAIT_BITS = 2,	/* there are 2^2 for each power of two */
	VMLAND_WAIT_BUCKETS = 109,
};

struct vmland_histogram {
	unsigned long long sum_ns;
	unsigned long long buckets[VMLAND_WAIT_BUCKETS];
};

/* How long the vCPUs of a VM were runnable until they ran. */
struct vmland_waits {
	struct vmland_histogram woken;	/* from a wake-up */
	struct vmland_histogram others;	/* from leaving a CPU */
};

/* A record of a trace (trace/trace.bpf.h). The numbers are those of vmland-control's trace.rs. */
struct vmland_trace_event {
	unsigned long long at_ns;	/* CLOCK_MONOTONIC */
	unsigned int cpu;
	unsigned int what;	/* enum vmland_trace_what */
	unsigned int reason;	/* of the enum for that */
	int pid;
	int other;
	unsigned int vm_id;	/* of pid; 0: it is no vCPU */
};

enum vmland_trace_what {
	VMLAND_TRACE_WOKEN = 1,
	VMLAND_TRACE_RUNS = 2,
	VMLAND_TRACE_STOPS = 3,
	VMLAND_TRACE_YIELDS = 4,
};

/* Why a task gets a CPU. */
enum vmland_trace_runs {
	VMLAND_RUNS_DIRECT = 1,	/* it was put on the CPU as it woke, or the kernel did */
	VMLAND_RUNS_QUEUE,	/* its deadline was the earliest */
	VMLAND_RUNS_HANDED,	/* by a hand-off */
	VMLAND_RUNS_FIRST,	/* it preempted, and the turn of another is suspended */
	VMLAND_RUNS_RESUMED,	/* its suspended turn goes on */
	VMLAND_RUNS_KEPT,	/* it keeps the CPU for another turn */
};

/* Why a task gives up its CPU. */
enum vmland_trace_stops {
	VMLAND_STOPS_SLEEPS = 1,
	VMLAND_STOPS_YIELDED,
	VMLAND_STOPS_SUSPENDED,	/* for one that woke, or that a yielder waits for */
	VMLAND_STOPS_RUNTIME,	/* its quota or cap is used up */
	VMLAND_STOPS_SLICE,	/* its turn is over */
	VMLAND_STOPS_PREEMPTED,	/* before that */
	VMLAND_STOPS_KEEPS,	/* its turn is over, and the next one is its own */
};

/* What becomes of a directed yield, or of leaving a CPU. */
enum vmland_trace_yields {
	VMLAND_YIELDS_TARGET = 1,	/* hand-off to KVM's target */
	VMLAND_YIELDS_RECEIVER,	/* hand-off to the receiver of an IPI */
	VMLAND_YIELDS_IN_TURN,	/* the yielder defers behind the target */
	VMLAND_YIELDS_REFUSED,
	VMLAND_YIELDS_LEAVES,	/* it leaves, and the receiver of its IPI gets the CPU */
};

/* The parameters of a VM. User space writes them. */
struct vmland_vm_params {
	unsigned int vm_id;	/* 0, or another than the VM's: there are no parameters */
	unsigned int weight;	/* 1 to 10000; 100 without parameters */
	unsigned long long slice_ns;		/* 0: --slice-us */
	unsigned long long slice_min_ns;	/* 0: --slice-us-min */
	unsigned long long ipi_window_ns;	/* 0: receivers of IPIs do not run first */
	unsigned long long cap_ns;		/* CPU time in a VMLAND_CAP_PERIOD; 0: no cap */
	unsigned long long skew_ns;		/* 0: no bound */
	unsigned int flags;	/* VMLAND_VM_* */
	unsigned int boost_percent;	/* of its CPU time that may be out of turn */
};

/* How the vCPUs of a VM are scheduled: what the planner decides. */
struct vmland_plan {
	unsigned int vm_id;	/* 0, or another than the VM's: there is no plan */
	unsigned int gang;	/* its turns are aligned (cosched/gang.bpf.h) */
};

/* yield_to() between its vCPUs is refused. */
#define VMLAND_VM_IGNORE_YIELD 1
/* Its waking vCPUs preempt at once. */
#define VMLAND_VM_LATENCY_LOW 2
/* Its waking vCPUs never preempt. */
#define VMLAND_VM_LATENCY_BATCH 4
/* It prefers some CPUs, which placement/prefer.bpf.c has set before. */
#define VMLAND_VM_PREFERS_CPUS 8
/* A hand-off starts a new slice, and does not pass on the turn. */
#define VMLAND_VM_COSCHED_OFF 16
/* Its vCPUs are a gang, whatever the planner finds (cosched/gang.bpf.h). */
#define VMLAND_VM_COSCHED_STRICT 32

/* A domain: CPUs that share a queue. */
struct vmland_domain {
	unsigned short nr_cpus;
	unsigned char node_first;	/* the first domain of its node */
	unsigned char node_domains;	/* how many that has */
};

/* The domains that a VM is at home in: @nr from @first on. User space writes them. */
struct vmland_home {
	unsigned int vm_id;	/* 0, or another than the VM's: it has no home */
	unsigned short first;
	unsigned short nr;	/* 0: it has no home */
};

/* The CPUs that a VM prefers: the argument of placement/prefer.bpf.c. */
struct vmland_preference {
	unsigned int vm_slot;
	unsigned int pad;
	unsigned long long cpus[VMLAND_CPU_WORDS];	/* CPU n: bit n % 64 of word n / 64 */
};

/* Mechanisms that --without leaves out, to measure their effect: bits of vmland_without. */
enum vmland_mechanism {
	/* Directed yields are honoured (handoff/yield.bpf.h). */
	VMLAND_YIELD_TO = 1,
	/* Receivers of IPIs run first (ipi/pending.bpf.h). */
	VMLAND_RECEIVERS = 2,
	/* A hand-off passes on the turn (handoff/turn.bpf.h). */
	VMLAND_TURNS = 4,
	/* A target that has not run since it woke is refused once (ipi/pending.bpf.h). */
	VMLAND_SECOND_CHANCE = 8,
	/* A waking task can preempt (placement/preempt.bpf.h). */
	VMLAND_PREEMPTION = 16,
	/* Sender and receiver of IPIs stay on one CPU (handoff/sticky.bpf.h). */
	VMLAND_STICKY = 32,
	/* A turn is prolonged for the receiver of an IPI (handoff/turn.bpf.h). */
	VMLAND_PROLONG = 64,
	/* The planner's gangs (cosched/gang.bpf.h). */
	VMLAND_GANGS = 128,
};

/* A weight in place of a cgroup's cpu.weight: the argument of vmland_override(). */
struct vmland_override {
	unsigned long long cgroup;	/* its id, which is the inode number of its directory */
	unsigned int weight;		/* as cpu.weight; 0: cpu.weight itself */
	unsigned int pad;
};

/*
 * Where KVM's structures keep the fields that classification reads. The scheduler must load
 * while kvm.ko is absent, so it cannot relocate against KVM's types. classify/kvm.bpf.c
 * does, when KVM appears, and fills this in.
 */
struct vmland_kvm_layout {
	unsigned int ready;		/* 0: KVM is absent */
	unsigned int vcpu_notifier;	/* offsetof(struct kvm_vcpu, preempt_notifier) */
	unsigned int vcpu_kvm;		/* offsetof(struct kvm_vcpu, kvm) */
	unsigned int vcpu_id;		/* offsetof(struct kvm_vcpu, vcpu_id) */
};

#endif /* VMLAND_INTF_H */
