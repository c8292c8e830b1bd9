/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On what terms a task competes: its weight, and the bounds of its turns.
 *
 * A task that is no vCPU has its own weight and the scheduler's slices. What a VM
 * may have is said by user space, a VM a slot (struct vmland_terms); nothing said
 * means what the scheduler's command line does.
 *
 * Where VMs share a cgroup, and all do that has none of its own, a VM's weight is
 * shared by those of its vCPUs that want to run, so that VMs compete with each other
 * by weight, not by how many vCPUs they have:
 *
 *	weight of a vCPU = its own * VM's weight / 100 * mean / wanting
 *
 * where `wanting` is how many vCPUs of its VM want to run (wait or run), and
 * `mean` is that number's mean over the VMs of the cgroup that have any. So the VMs
 * together weigh as much as their vCPUs would as ordinary tasks: the rest of the cgroup
 * neither gains nor loses by how vCPUs are spread over VMs. A VM with a cgroup of its
 * own has the weight of that, or the configured one in its place. What the cgroup has
 * among others comes on top (cgroup.bpf.h).
 *
 * What is found is kept in the task's state, and looked at anew whenever the task
 * starts to wait or to run, and where cgroups part the host also when it pays: who
 * was active when its turn began may have been so for a moment only.
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
	const struct vmland_vm *vm = vm_state(t->vm_slot);
	const struct vmland_group *g = group_state(t->group);
	u64 weight = own * (terms ? terms->weight : 100) / 100;

	if (!vm || !g || g->nr_vms < 2)
		return weight;
	return weight * (g->nr_vcpus ?: 1) / (g->nr_vms * (vm->nr_wanting ?: 1));
}

/*
 * Brings what @t, of a task that weighs @weight by itself, holds of its terms up to date.
 * Not static, so that the verifier looks at it once.
 */
__noinline int terms_find(u64 weight, struct vmland_task *t __arg_nonnull)
{
	const struct vmland_terms *terms = terms_of(t);
	const struct vmland_group *g = group_of(t);

	if (is_vcpu(t))
		weight = vcpu_weight(weight, t, terms);
	if (g)
		weight = (weight < WEIGHT_MAX ? weight : WEIGHT_MAX) * g->factor / FACTOR_ONE;
	t->weight = weight > WEIGHT_MIN ? weight : WEIGHT_MIN;
	t->capped = terms && terms->cap_ns;
	if (t->capped)
		cap_set(t->vm_slot, terms->cap_ns);
	t->ipi_window_ns = !with(VMLAND_RECEIVERS) ? 0 :
			   terms ? terms->ipi_window_ns : vmland_ipi_window_ns;
	t->prefers = terms && (terms->flags & VMLAND_TERMS_PREFERS_CPUS);
	if (t->prefers)
		preferences = true;
	t->slice_ns = terms && terms->slice_ns ? terms->slice_ns : slice_ns;
	t->boost_percent = terms ? terms->boost_percent : 100;
	t->skew_ns = terms ? terms->skew_ns : 0;
	if (t->skew_ns)
		skews = true;
	t->together = terms && (terms->flags & VMLAND_TERMS_COSCHED_STRICT);
	if (t->together)
		gangs = true;
	return 0;
}

static __always_inline void terms_refresh(const struct task_struct *p, struct vmland_task *t)
{
	terms_find(own_weight(p), t);
}

#endif /* VMLAND_TERMS_BPF_H */
