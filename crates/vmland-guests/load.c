// SPDX-License-Identifier: GPL-2.0-only
/*
 * load - the whole user space of a test guest: one load on all its vCPUs, and reports of how far it got
 *
 * As the init of a guest it takes its load from the kernel's command line:
 *
 *	load=lock [threads=N]
 *
 * On an ordinary system the same load runs as a process: load NAME [THREADS], or load run COMMAND [ARGUMENT]...
 *
 * One thread is pinned to each CPU (threads=N: to the first N; io: always one, on the first CPU; run: one, anywhere). What the loads do,
 * and what one unit of work is:
 *
 *	lock	one ticket lock that waits with PAUSE	an acquisition
 *	tlb	map, touch and unmap a page		a munmap, which interrupts the other CPUs (TLB shootdown)
 *	msg	ping-pong over pipes between two CPUs	a round trip
 *	barrier	meet at a barrier that waits with PAUSE	a barrier that all threads have passed
 *	cpu	compute, nothing shared			a chunk of CHUNK steps
 *	storm	interrupt all other CPUs, spin and yield	a membarrier(2)
 *	lat	sleep until the next tick of 2 ms	a wake-up
 *	io	answer short requests from the host	an answer
 *	run	a program, again and again		a run; a guest's /workload holds the words of its command
 *	idle	nothing					none
 *
 * Reports are lines on stdout, here the guest's console:
 *
 *	P <ms> <work>				ten times a second: CLOCK_MONOTONIC, all work done since the start
 *	L <ms> <samples> <p50> <p99> <max>	lat only, once a second: how late in µs the wake-ups of that second were
 *	F <status>				run only: the program has failed, as a shell tells it; it was the last run
 *	S <ms> <steal>				guests only, once a second: steal time of all CPUs in ms, as the guest counts it
 *	R					io only: the answer to one byte on stdin, at once
 *
 * <ms> is the guest's own time: it stands still while QEMU has stopped the guest, but not while QEMU itself is stopped
 * by a signal. Kernel messages can fall into a line: a reader takes only lines of exactly this form.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_SEC	1000000000LL

#define REPORT_PERIOD_NS	(100 * NSEC_PER_MSEC)
#define REPORTS_PER_SEC		(NSEC_PER_SEC / REPORT_PERIOD_NS)

/* Steps of compute(). On hardware a step is about a nanosecond, in software emulation about ten. */
#define CRITICAL_SECTION	200	/* what kernel spin locks protect: a list insertion, a few counters */
#define OUTSIDE_LOCK		200
#define BETWEEN_BARRIERS	5000
#define CHUNK			100000
#define STORM_PAUSES		50

#define LAT_PERIOD_NS		(2 * NSEC_PER_MSEC)

/* A counter that only its thread writes; on a cache line of its own, or counting would be the load. */
struct worker {
	_Alignas(64) _Atomic uint64_t work;
	pthread_t thread;
	int id;
};

struct load {
	const char *name;
	void (*run)(struct worker *self);
	enum {
		ON_EACH_CPU,
		/* Threads come in pairs that talk to each other. */
		IN_PAIRS,
		ON_FIRST_CPU,
		/* One that is not pinned, for what it starts would be pinned too. */
		ANYWHERE,
	} threads;
};

static struct worker *workers;
static int nr_workers;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void sleep_until(int64_t deadline_ns)
{
	struct timespec ts = { deadline_ns / NSEC_PER_SEC, deadline_ns % NSEC_PER_SEC };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void pause_cpu(void)
{
#ifdef __aarch64__
	__asm__ volatile("yield");
#else
	__builtin_ia32_pause();
#endif
}

static void mount_at(const char *dir, const char *type)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL))
		die(dir);
}

/* Busy work that the compiler can neither drop nor shorten: every step needs the one before. */
static void compute(unsigned int steps)
{
	uint32_t x = 1;

	while (steps--) {
		x = x * 1664525 + 1013904223;
		__asm__ volatile("" : "+r"(x));
	}
}

static void done_one(struct worker *self)
{
	uint64_t work = atomic_load_explicit(&self->work, memory_order_relaxed);

	atomic_store_explicit(&self->work, work + 1, memory_order_relaxed);
}

/*
 * lock: the classic kernel spin lock. It is fair, and so it suffers twice from preemption: when the holder loses its
 * CPU, and when the one whose turn it is does.
 */
static void run_lock(struct worker *self)
{
	static struct {
		_Alignas(64) _Atomic uint32_t next;
		_Alignas(64) _Atomic uint32_t serving;
	} lock;

	for (;;) {
		uint32_t ticket = atomic_fetch_add(&lock.next, 1);

		while (atomic_load_explicit(&lock.serving, memory_order_acquire) != ticket)
			pause_cpu();
		compute(CRITICAL_SECTION);
		atomic_store_explicit(&lock.serving, ticket + 1, memory_order_release);

		done_one(self);
		compute(OUTSIDE_LOCK);
	}
}

/* tlb: each munmap waits in the guest's kernel until all the other vCPUs have answered an interrupt. */
static void run_tlb(struct worker *self)
{
	long size = sysconf(_SC_PAGESIZE);

	for (;;) {
		char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED)
			die("mmap");
		*page = 1;
		if (munmap(page, size))
			die("munmap");
		done_one(self);
	}
}

/* msg: the even thread of a pair sends, the odd one answers. Each waits asleep, so every message is a wake-up IPI. */
static void run_msg(struct worker *self)
{
	static int pipes[1024][2];
	static pthread_mutex_t setup = PTHREAD_MUTEX_INITIALIZER;
	int sender = !(self->id & 1), *ping = pipes[self->id & ~1], *pong = pipes[self->id | 1];
	char byte = 0;

	pthread_mutex_lock(&setup);
	if (!ping[1] && (pipe(ping) || pipe(pong)))
		die("pipe");
	pthread_mutex_unlock(&setup);

	for (;;) {
		if (sender && write(ping[1], &byte, 1) != 1)
			die("write");
		if (read(sender ? pong[0] : ping[0], &byte, 1) != 1)
			die("read");
		if (sender)
			done_one(self);
		else if (write(pong[1], &byte, 1) != 1)
			die("write");
	}
}

/* barrier: progress is that of the vCPU that runs least. */
static void run_barrier(struct worker *self)
{
	static _Alignas(64) _Atomic uint32_t arrived;
	static _Alignas(64) _Atomic uint32_t round;

	for (;;) {
		uint32_t this_round = atomic_load(&round);

		compute(BETWEEN_BARRIERS);
		if (atomic_fetch_add(&arrived, 1) + 1 == (uint32_t)nr_workers) {
			atomic_store(&arrived, 0);
			done_one(self);
			atomic_store(&round, this_round + 1);
		}
		while (atomic_load_explicit(&round, memory_order_acquire) == this_round)
			pause_cpu();
	}
}

/*
 * storm: a hostile guest. All that could move the host's scheduler to give it more than its share: IPIs to each other
 * vCPU, without need and without end, and pause exits and yields between them.
 */
static void run_storm(struct worker *self)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
		die("membarrier");
	for (;;) {
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
		for (int i = 0; i < STORM_PAUSES; i++)
			pause_cpu();
		sched_yield();
		done_one(self);
	}
}

static void run_cpu(struct worker *self)
{
	for (;;) {
		compute(CHUNK);
		done_one(self);
	}
}

/*
 * lat: how late wake-ups are. Bucket b of the histogram holds the values whose top bits are those of b: exact below
 * LAT_SUB µs, within 1/LAT_SUB above, so that one small array reaches from a microsecond to minutes.
 */
#define LAT_SUB		16
#define LAT_BUCKETS	(LAT_SUB * 29)

static _Atomic uint32_t lat_histogram[LAT_BUCKETS];
static _Atomic uint32_t lat_max_us;

static int lat_bucket(uint32_t us)
{
	int shift = 0;

	while (us >> shift >= 2 * LAT_SUB)
		shift++;
	return shift * LAT_SUB + (us >> shift);
}

/* The smallest value that falls into the bucket. */
static uint32_t lat_bucket_us(int bucket)
{
	int shift = bucket < 2 * LAT_SUB ? 0 : bucket / LAT_SUB - 1;

	return (uint32_t)(bucket - shift * LAT_SUB) << shift;
}

static void lat_record(uint32_t us)
{
	uint32_t max = atomic_load(&lat_max_us);

	atomic_fetch_add(&lat_histogram[lat_bucket(us)], 1);
	while (us > max && !atomic_compare_exchange_weak(&lat_max_us, &max, us))
		;
}

static void run_lat(struct worker *self)
{
	int64_t deadline = now_ns();

	for (;;) {
		int64_t late;

		deadline += LAT_PERIOD_NS;
		sleep_until(deadline);
		late = now_ns() - deadline;
		lat_record(late / 1000 > UINT32_MAX ? UINT32_MAX : late / 1000);
		done_one(self);
		/* Ticks that were slept through are gone; they would count as late a second time. */
		if (late > LAT_PERIOD_NS)
			deadline += late / LAT_PERIOD_NS * LAT_PERIOD_NS;
	}
}

static void lat_report(int64_t ms)
{
	uint32_t counts[LAT_BUCKETS], samples = 0, seen = 0, p50 = 0, p99 = 0;
	int i;

	for (i = 0; i < LAT_BUCKETS; i++) {
		counts[i] = atomic_exchange(&lat_histogram[i], 0);
		samples += counts[i];
	}
	for (i = 0; i < LAT_BUCKETS; i++) {
		if (!counts[i])
			continue;
		if (seen < (samples + 1) / 2)
			p50 = lat_bucket_us(i);
		if (seen < samples - samples / 100)
			p99 = lat_bucket_us(i);
		seen += counts[i];
	}
	printf("L %lld %u %u %u %u\n", (long long)ms, samples, p50, p99, atomic_exchange(&lat_max_us, 0));
}

/*
 * io: the neighbour that mostly waits for requests. How long an answer takes is for the host to measure, which sends a
 * byte, waits for the line, and pauses before the next.
 */
static void run_io(struct worker *self)
{
	char request;

	while (read(STDIN_FILENO, &request, 1) == 1) {
		if (write(STDOUT_FILENO, "R\n", 2) != 2)
			die("write");
		done_one(self);
	}
	/* Whoever asked is gone. */
	exit(0);
}

/*
 * A terminal hands over each byte as it comes, and echoes none, which would fall into the reports.
 * What we write is still processed, as for all loads, and ends in a carriage return by which whole lines are told.
 */
static void take_single_bytes(void)
{
	struct termios tty;

	if (tcgetattr(STDIN_FILENO, &tty))
		return; /* a pipe, which does so anyway */
	tty.c_iflag &= ~(IXON | IXOFF | ICRNL | INLCR | IGNCR | ISTRIP);
	tty.c_lflag &= ~(ICANON | ECHO | ECHONL | ISIG | IEXTEN);
	tty.c_cc[VMIN] = 1;
	tty.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &tty))
		die("tcsetattr");
}

/*
 * A serial port in its default setting holds back a single byte until the line has been silent for four more: 4 ms at
 * the console's speed, which would be most of what the host measures.
 */
static void interrupt_at_each_byte(void)
{
	int fd;

	mount_at("/sys", "sysfs");
	fd = open("/sys/class/tty/ttyS0/rx_trig_bytes", O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		die("/sys/class/tty/ttyS0/rx_trig_bytes");
	close(fd);
}

/*
 * run: real programs. One that fails would be a load of another kind, so it ends the guest, and its last words on
 * stderr tell why.
 */
static char **command;

static void run_failed(int errors, int status)
{
	off_t size = lseek(errors, 0, SEEK_END);
	char words[1000];
	ssize_t length = pread(errors, words, sizeof(words), size > (off_t)sizeof(words) ? size - sizeof(words) : 0);

	flockfile(stdout);
	fwrite(words, 1, length > 0 ? length : 0, stdout);
	printf("\nF %d\n", status);
	fflush(stdout);
	if (getpid() == 1) {
		tcdrain(STDOUT_FILENO);
		reboot(RB_AUTOBOOT);
	}
	_exit(1);
}

/* Returns the exit status, as a shell has it. */
static int run_once(const posix_spawn_file_actions_t *files)
{
	pid_t child;
	int status;

	if (posix_spawnp(&child, command[0], files, NULL, command, environ))
		return 127;
	/* As init we are handed orphans too. */
	while (wait(&status) != child)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_run(struct worker *self)
{
	posix_spawn_file_actions_t files;
	int errors = memfd_create("stderr", MFD_CLOEXEC);

	if (errors < 0)
		die("memfd_create");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);

	for (;;) {
		int status;

		if (ftruncate(errors, 0) || lseek(errors, 0, SEEK_SET))
			die("stderr");
		status = run_once(&files);
		if (status)
			run_failed(errors, status);
		done_one(self);
	}
}

/* What programs find on any small system. The root is memory, and so is all that they write. */
static void set_up_root(void)
{
	mount_at("/dev", "devtmpfs");
	mount_at("/dev/shm", "tmpfs");
	mount_at("/sys", "sysfs");
	mount_at("/tmp", "tmpfs");
	if (chdir("/tmp") || setenv("PATH", "/bin", 1) || setenv("LD_LIBRARY_PATH", "/lib", 1))
		die("/tmp");
}

/* The words of a file, each ended by a NUL, as an argument vector. */
static char **read_words(const char *path)
{
	FILE *file = fopen(path, "r");
	char **words = NULL, *word = NULL;
	size_t count = 0, size = 0;

	if (!file)
		die(path);
	while (getdelim(&word, &size, 0, file) > 0) {
		words = realloc(words, (count + 2) * sizeof(*words));
		if (!words)
			die("realloc");
		words[count++] = word;
		words[count] = NULL;
		/* The next one gets memory of its own. */
		word = NULL;
	}
	fclose(file);
	return words;
}

static void run_idle(struct worker *self)
{
	(void)self;
	for (;;)
		pause();
}

static const struct load loads[] = {
	{ "lock", run_lock, ON_EACH_CPU },
	{ "tlb", run_tlb, ON_EACH_CPU },
	{ "msg", run_msg, IN_PAIRS },
	{ "barrier", run_barrier, ON_EACH_CPU },
	{ "cpu", run_cpu, ON_EACH_CPU },
	{ "storm", run_storm, ON_EACH_CPU },
	{ "lat", run_lat, ON_EACH_CPU },
	{ "io", run_io, ON_FIRST_CPU },
	{ "run", run_run, ANYWHERE },
	{ "idle", run_idle, ON_EACH_CPU },
};

static const struct load *find_load(const char *name)
{
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		if (name && !strcmp(loads[i].name, name))
			return &loads[i];
	fprintf(stderr, "load: no load \"%s\"; there are:", name ? name : "");
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		fprintf(stderr, " %s", loads[i].name);
	fprintf(stderr, "\n");
	exit(64);
}

static const struct load *load;

static void *work(void *arg)
{
	load->run(arg);
	return NULL;
}

static void start_workers(int threads)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	nr_workers = threads > 0 ? threads : cpus;
	/* A pair needs both; on an odd number of CPUs its second half shares the first CPU. */
	if (load->threads == IN_PAIRS)
		nr_workers += nr_workers & 1;
	else if (load->threads == ON_FIRST_CPU || load->threads == ANYWHERE)
		nr_workers = 1;
	if (nr_workers > 1024) {
		fprintf(stderr, "load: at most 1024 threads\n");
		exit(64);
	}
	workers = aligned_alloc(64, nr_workers * sizeof(*workers));
	if (!workers)
		die("aligned_alloc");
	memset(workers, 0, nr_workers * sizeof(*workers));

	for (int i = 0; i < nr_workers; i++) {
		pthread_attr_t attr;
		cpu_set_t cpu;

		CPU_ZERO(&cpu);
		CPU_SET(i % cpus, &cpu);
		workers[i].id = i;
		pthread_attr_init(&attr);
		if (load->threads != ANYWHERE)
			pthread_attr_setaffinity_np(&attr, sizeof(cpu), &cpu);
		errno = pthread_create(&workers[i].thread, &attr, work, &workers[i]);
		if (errno)
			die("pthread_create");
	}
}

/* What the host did not give to this guest's CPUs: the eighth number of proc_stat(5), in clock ticks. */
static void steal_report(int64_t ms)
{
	FILE *file = fopen("/proc/stat", "r");
	unsigned long long ticks;

	if (!file)
		die("/proc/stat");
	if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) == 1)
		printf("S %lld %llu\n", (long long)ms, ticks * 1000 / sysconf(_SC_CLK_TCK));
	fclose(file);
}

static void report_forever(void)
{
	int64_t deadline = now_ns();

	for (unsigned int n = 1;; n++) {
		uint64_t sum = 0;
		int64_t ms;

		deadline += REPORT_PERIOD_NS;
		sleep_until(deadline);
		for (int i = 0; i < nr_workers; i++)
			sum += atomic_load_explicit(&workers[i].work, memory_order_relaxed);
		ms = now_ns() / NSEC_PER_MSEC;
		printf("P %lld %llu\n", (long long)ms, (unsigned long long)sum);
		if (load->run == run_lat && n % REPORTS_PER_SEC == 0)
			lat_report(ms);
		if (getpid() == 1 && n % REPORTS_PER_SEC == 0)
			steal_report(ms);
		fflush(stdout);
	}
}

/* The value of NAME=value on the kernel's command line, or NULL. */
static const char *boot_option(const char *name)
{
	static char line[4096];
	char copy[sizeof(line)], *word, *rest = copy;
	FILE *file = fopen("/proc/cmdline", "r");

	if (!file || !fgets(line, sizeof(line), file))
		die("/proc/cmdline");
	fclose(file);
	line[strcspn(line, "\n")] = 0;
	strcpy(copy, line);
	while ((word = strsep(&rest, " "))) {
		size_t length = strlen(name);

		if (!strncmp(word, name, length) && word[length] == '=')
			return strdup(word + length + 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL, *threads = argc > 2 ? argv[2] : NULL;

	if (getpid() == 1) {
		mount_at("/proc", "proc");
		name = boot_option("load");
		threads = boot_option("threads");
	}
	load = find_load(name);
	if (load->run == run_io) {
		if (getpid() == 1)
			interrupt_at_each_byte();
		take_single_bytes();
	}
	if (load->run == run_run) {
		if (getpid() == 1)
			set_up_root();
		command = getpid() == 1 ? read_words("/workload") : argv + 2;
		if (!command || !command[0]) {
			fprintf(stderr, "load: run what?\n");
			exit(64);
		}
		threads = NULL;
	}
	start_workers(threads ? atoi(threads) : 0);
	report_forever();
}
