/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On what terms a task competes: its weight, and the bounds of its turns.
 *
 * A task that is no vCPU has its own weight and the scheduler's slices. What a VM
 * may have is said by user space, a VM a slot (struct vmland_terms); nothing said
 * means what the scheduler's command line does.
 *
 * A VM's weight is shared by those of its vCPUs that want to run, so that VMs
 * compete with each other by weight, not by how many vCPUs they have:
 *
 *	weight of a vCPU = its own * VM's weight / 100 * mean / wanting
 *
 * where `wanting` is how many vCPUs of its VM want to run (wait or run), and
 * `mean` is that number's mean over the VMs that have any. So the VMs together
 * weigh as much as their vCPUs would as ordinary tasks: the rest of the host
 * neither gains nor loses by how vCPUs are spread over VMs.
 *
 * What is found is kept in the task's state, and looked at anew whenever the task
 * starts to wait or to run. Weights are whole numbers from 1 up, so that below
 * about 10 they are coarse.
 */
#ifndef VMLAND_TERMS_BPF_H
#define VMLAND_TERMS_BPF_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMLAND_MAX_VMS);
	__type(key, u32);
	__type(value, struct vmland_terms);
} vmland_terms SEC(".maps");

/*
 * Least lead with which a waking task preempts a running one, and least time
 * that the running one's turn has lasted by then, in ns. Set by user space after
 * load; the slice is the framework's slice_ns.
 */
volatile u64 vmland_slice_min_ns = 2000000;

/*
 * How long the receiver of an IPI stays ahead (ipi.bpf.h), in ns, unless a VM's terms
 * say otherwise; 0: never. Set likewise.
 */
volatile u64 vmland_ipi_window_ns = 50000000;

/* Mechanisms that are left out, of enum vmland_mechanism. Set likewise. */
volatile u32 vmland_without SEC(".data");

static __always_inline bool with(u32 mechanism)
{
	return !(vmland_without & mechanism);
}

/* What user space has said of @t's VM, if @t is a vCPU and it has. */
static __always_inline const struct vmland_terms *terms_of(const struct vmland_task *t)
{
	u32 slot = t->vm_slot;
	struct vmland_terms *terms;

	if (!is_vcpu(t))
		return NULL;
	terms = bpf_map_lookup_elem(&vmland_terms, &slot);
	return terms && terms->vm_id == t->vm_id ? terms : NULL;
}

static __always_inline bool terms_say(const struct vmland_task *t, u32 flag)
{
	const struct vmland_terms *terms = terms_of(t);

	return terms && (terms->flags & flag);
}

/* The shortest turn that a waking task leaves @t. */
static __always_inline u64 slice_min_of(const struct vmland_task *t)
{
	const struct vmland_terms *terms = terms_of(t);
	u64 least = terms && terms->slice_min_ns ? terms->slice_min_ns : vmland_slice_min_ns;

	return least < t->slice_ns ? least : t->slice_ns;
}

static __always_inline u64 vcpu_weight(u64 own, const struct vmland_task *t,
				       const struct vmland_terms *terms)
{
	struct vmland_vm *vm = vm_state(t->vm_slot);
	u64 vcpus = vcpus_wanting ?: 1, vms = vms_wanting ?: 1, here;

	if (!vm)
		return own;
	here = vm->nr_wanting ?: 1;
	return own * (terms ? terms->weight : 100) * vcpus / (100 * vms * here) ?: 1;
}

/* Brings what @t holds of @p's terms up to date. */
static __always_inline void terms_refresh(const struct task_struct *p, struct vmland_task *t)
{
	const struct vmland_terms *terms = terms_of(t);
	u64 own = p->scx.weight ?: 100;

	t->weight = is_vcpu(t) ? vcpu_weight(own, t, terms) : own;
	t->ipi_window_ns = !with(VMLAND_RECEIVERS) ? 0 :
			   terms ? terms->ipi_window_ns : vmland_ipi_window_ns;
	t->prefers = terms && (terms->flags & VMLAND_TERMS_PREFERS_CPUS);
	if (t->prefers)
		preferences = true;
	t->slice_ns = terms && terms->slice_ns ? terms->slice_ns : slice_ns;
}

#endif /* VMLAND_TERMS_BPF_H */
