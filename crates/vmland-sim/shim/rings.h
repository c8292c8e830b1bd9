/* SPDX-License-Identifier: GPL-2.0-only */
/* Rings to and from user space, to which they are one. The simulator plays the other end. */
#ifndef SIM_RINGS_H
#define SIM_RINGS_H

enum {
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_NO_WAKEUP = 1,
};

/* A record of the user ring's. */
struct bpf_dynptr {
	void *data;
};

#define bpf_ringbuf_reserve(ring, size, flags) \
	sim_host->ring_reserve(sim_host->kernel, ring, size)
#define bpf_ringbuf_submit(record, flags) \
	sim_host->ring_submit(sim_host->kernel, record)
#define bpf_ringbuf_query(ring, what) \
	sim_host->ring_used(sim_host->kernel)

static inline void *bpf_dynptr_data(struct bpf_dynptr *dynptr, u32 offset, u32 size)
{
	return dynptr->data;
}

static inline long sim_drain(long (*each)(struct bpf_dynptr *, void *), void *context)
{
	static bool busy;
	struct bpf_dynptr record;
	long drained = 0;

	if (busy)
		return -EBUSY;
	busy = true;
	while ((record.data = sim_host->user_ring_next(sim_host->kernel))) {
		drained++;
		if (each(&record, context))
			break;
	}
	busy = false;
	return drained;
}

#define bpf_user_ringbuf_drain(ring, each, context, flags) sim_drain(each, context)

#endif
