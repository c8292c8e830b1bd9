/* SPDX-License-Identifier: GPL-2.0-only */
/* Sizes and offsets, for src/abi.rs to compare with its own. */
u64 sim_layout[] = {
	sizeof(struct task_struct),
	offsetof(struct task_struct, cpus_ptr),
	offsetof(struct task_struct, cpu),
	offsetof(struct task_struct, scx),
	offsetof(struct task_struct, scx.flags),
	offsetof(struct task_struct, storage),
	sizeof(struct sim_kvm_vcpu),
	offsetof(struct sim_kvm_vcpu, vcpu_id),
	sizeof(struct sim_host),
	offsetof(struct sim_host, current),
	offsetof(struct sim_host, dsq_create),
	offsetof(struct sim_host, error),
	sizeof(struct sched_ext_ops),
	offsetof(struct sched_ext_ops, init),
};
