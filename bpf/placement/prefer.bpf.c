/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sets the preferred CPUs of a VM.
 *
 * The kernel's search for idle CPUs takes a struct cpumask, which only a BPF program can
 * create. User space runs this one when the preference of a VM is set, and sets
 * VMLAND_VM_PREFERS_CPUS in the VM's parameters afterwards. The map is the scheduler's.
 */
#include <scx/common.bpf.h>
#include "../intf.h"
#include "preferred.bpf.h"

char _license[] SEC("license") = "GPL";

SEC("syscall")
int prefer(struct vmland_preference *wanted)
{
	u64 words[VMLAND_CPU_WORDS];
	struct vmland_preferred *of_vm;
	struct bpf_cpumask *cpus;
	u32 slot = wanted->vm_slot, i;

	/* The verifier allows reads of the context at constant offsets only. */
#pragma unroll
	for (i = 0; i < VMLAND_CPU_WORDS; i++)
		words[i] = wanted->cpus[i];
	of_vm = bpf_map_lookup_elem(&vmland_preferred, &slot);
	if (!of_vm)
		return -ENOENT;
	cpus = bpf_cpumask_create();
	if (!cpus)
		return -ENOMEM;
	/* The kernel ignores CPUs that the host does not have. */
	bpf_for(i, 0, 64 * VMLAND_CPU_WORDS)
		if (words[(i / 64) % VMLAND_CPU_WORDS] & (1ULL << (i % 64)))
			bpf_cpumask_set_cpu(i, cpus);
	cpus = bpf_kptr_xchg(&of_vm->cpus, cpus);
	if (cpus)
		bpf_cpumask_release(cpus);
	return 0;
}
