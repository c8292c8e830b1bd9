/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Maps. A definition is a structure of null pointers whose types hold what libbpf
 * would read from BTF: sizeof(*map->max_entries) / sizeof(int) is the number of
 * entries. The first of these pointers, `type`, holds the map's memory here:
 *
 *	array		the entries
 *	per-CPU array	the entries of each CPU in turn
 *	queue		a struct sim_queue
 *	task storage	which of a task's storages it is, from 1 up
 *	hash		nothing: the simulator keeps them, by the map's address
 *
 * Keys are at most eight bytes long.
 */
#ifndef SIM_MAPS_H
#define SIM_MAPS_H

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_MAP_TYPE_USER_RINGBUF = 31,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

#define SIM_NUMBER(map, name) (sizeof(*(map)->name) / sizeof(int))

enum { SIM_HASH_FIND, SIM_HASH_MAKE, SIM_HASH_REMOVE };

/* What maps hold, for sim_release() to free: each begins with a pointer to the next. */
static void *sim_memory;

void *sim_zeroed(size_t count, size_t size)
{
	void **memory = calloc(1, 2 * sizeof(u64) + count * size);

	if (!memory)
		abort();
	*memory = sim_memory;
	sim_memory = memory;
	return memory + 2;
}

/* The object is unloaded. */
void sim_release(void)
{
	for (void **next; sim_memory; sim_memory = next) {
		next = *(void **)sim_memory;
		free(sim_memory);
	}
}

static inline void *sim_array(void **memory, size_t entries, size_t size, u32 key, s32 cpu)
{
	if (!*memory)
		*memory = sim_zeroed(entries * (cpu < 0 ? 1 : sim_host->nr_cpus), size);
	return key < entries ? (char *)*memory + ((cpu < 0 ? 0 : cpu) * entries + key) * size : NULL;
}

static inline u64 sim_key(const void *key, size_t size)
{
	u64 number = 0;

	memcpy(&number, key, size);
	return number;
}

static inline void *sim_hash(void *map, const void *key, size_t key_size, size_t size, int what)
{
	return sim_host->hash(sim_host->kernel, map, sim_key(key, key_size), size, what);
}

static inline void *sim_lookup(void *map, int type, size_t entries, const void *key,
			       size_t key_size, size_t size, s32 cpu)
{
	if (type == BPF_MAP_TYPE_HASH)
		return sim_hash(map, key, key_size, size, SIM_HASH_FIND);
	return sim_array(map, entries, size, *(const u32 *)key,
			 type == BPF_MAP_TYPE_PERCPU_ARRAY ? cpu : -1);
}

static inline int sim_update(void *map, int type, size_t entries, const void *key,
			     size_t key_size, const void *value, size_t size, int flags)
{
	if (type == BPF_MAP_TYPE_ARRAY) {
		memcpy(sim_array(map, entries, size, *(const u32 *)key, -1), value, size);
		return 0;
	}
	if (flags == BPF_NOEXIST && sim_hash(map, key, key_size, size, SIM_HASH_FIND))
		return -EEXIST;
	memcpy(sim_hash(map, key, key_size, size, SIM_HASH_MAKE), value, size);
	return 0;
}

#define bpf_map_lookup_percpu_elem(map, k, cpu)						\
	((typeof((map)->value))(sim_point("map_lookup"),				\
			sim_lookup(map, SIM_NUMBER(map, type),				\
					  SIM_NUMBER(map, max_entries), k,		\
					  sizeof(*(map)->key), sizeof(*(map)->value), cpu)))
#define bpf_map_lookup_elem(map, k) bpf_map_lookup_percpu_elem(map, k, sim_host->cpu)
#define bpf_map_update_elem(map, k, v, flags)						\
	sim_update(map, SIM_NUMBER(map, type), SIM_NUMBER(map, max_entries), k,		\
		   sizeof(*(map)->key), v, sizeof(*(map)->value), flags)
#define bpf_map_delete_elem(map, k)							\
	sim_hash(map, k, sizeof(*(map)->key), sizeof(*(map)->value), SIM_HASH_REMOVE)

/* Of values of four bytes. */
struct sim_queue {
	u32 head, queued;
	u32 values[];
};

static inline int sim_queue_push(void **memory, u32 entries, u32 value)
{
	struct sim_queue *queue = *memory;

	if (!queue)
		queue = *memory = sim_zeroed(1, sizeof(*queue) + entries * sizeof(u32));
	if (queue->queued == entries)
		return -E2BIG;
	queue->values[(queue->head + queue->queued++) % entries] = value;
	return 0;
}

static inline int sim_queue_pop(void **memory, u32 entries, u32 *value)
{
	struct sim_queue *queue = *memory;

	if (!queue || !queue->queued)
		return -ENOENT;
	*value = queue->values[queue->head];
	queue->head = (queue->head + 1) % entries;
	queue->queued--;
	return 0;
}

#define bpf_map_push_elem(map, v, flags)						\
	sim_queue_push((void **)(map), SIM_NUMBER(map, max_entries), *(v))
#define bpf_map_pop_elem(map, v)							\
	sim_queue_pop((void **)(map), SIM_NUMBER(map, max_entries), v)

static inline void *sim_storage(uintptr_t *number, struct task_struct *p, size_t size, bool create)
{
	static uintptr_t used;
	void **storage;

	if (!*number)
		*number = ++used;
	if (*number > SIM_STORAGES)
		abort();
	if (!p)
		return NULL;	/* the idle task, which has none */
	storage = &p->storage[*number - 1];
	if (!*storage && create)
		*storage = sim_zeroed(1, size);
	return *storage;
}

#define bpf_task_storage_get(map, p, value_, flags)					\
	((typeof((map)->value))(sim_point("task_storage_get"),				\
			sim_storage((void *)(map), p, sizeof(*(map)->value), flags)))

#endif
