# SPDX-License-Identifier: GPL-2.0-only
#
#   make run     start the scheduler here, or, where the kernel has no sched_ext,
#                show it in an emulated host with two KVM guests
#   make test    everything
#   make format  Rust, and what was changed in C
#   make figures the tables of README.md and docs/, from docs/figures/*.json
#   make kernels  the scheduler on each kernel from 6.16 to the newest (tests/in_host/kernels)
#   make soak     30 minutes of random faults in the emulated host (tests/in_host/soak.rs)
#   make explore  30 minutes of interleaved schedules in the simulator (docs/simulator.md)
#   make build   the two programs, in target/release

HOST_TEST_KERNELS ?= newest 6.18

.PHONY: explore kernels soak run test build setup format figures check unit host clean

run: build
	tests/demo

build: setup
	cargo build --release --locked --workspace

setup:
	@tests/setup

test: check unit host

# Of C, the lines that differ from the last commit: clang-format does not know
# comments that are aligned with tabs, and the others keep theirs.
format: setup
	cargo fmt --all
	git diff -U0 HEAD -- '*.c' '*.h' | clang-format-diff-19 -p1 -i -binary clang-format-19

# docs/figures/measure and tests/sim/figures.rs make the data.
figures:
	docs/figures/render

check: setup
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	tests/deny
	docs/figures/render --check
	shellcheck bpf/clang tests/setup tests/demo tests/deny tests/prometheus tests/coverage docs/figures/measure tests/host/* tests/in_host/run tests/in_host/run_test tests/in_host/kernels tests/in_host/run_soak \
		crates/vmland-guests/tests/fixtures/host/qemu .ci/run
	tests/in_host/run_test

# These build the two programs, too.
unit: setup
	cargo test --release --locked --workspace
	tests/prometheus

# With seeds that no earlier run had.
explore: setup
	EXPLORE_SECONDS=1800 EXPLORE_SEED=$$(date +%s)000000 \
		cargo test --release --locked --test sim explored -- --nocapture

# The tests that need a sched_ext host with KVM, in the emulated one.
host: setup
	tests/in_host/run $(HOST_TEST_KERNELS)

kernels: setup
	tests/in_host/kernels

# A seed that no earlier run had; SEED=N repeats one.
soak: setup
	tests/in_host/run_soak 1800 $${SEED:-$$(date +%s)}

clean:
	cargo clean
