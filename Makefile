# SPDX-License-Identifier: GPL-2.0-only
#
#   make run     start the scheduler here, or, where the kernel has no sched_ext,
#                show it in an emulated host with two KVM guests
#   make test    everything
#   make build   the two programs, in target/release

HOST_TEST_KERNELS ?= newest 6.18

.PHONY: run test build setup check unit host clean

run: build
	tests/demo

build: setup
	cargo build --release --locked

setup:
	@tests/setup

test: check unit host

check: setup
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	shellcheck bpf/clang tests/setup tests/demo tests/host/* tests/in_host/run tests/in_host/run_test \
		tests/fixtures/guests/qemu .ci/run
	tests/in_host/run_test

# These build the two programs, too.
unit: setup
	cargo test --release --locked

# The tests that need a sched_ext host with KVM, in the emulated one.
host: setup
	tests/in_host/run $(HOST_TEST_KERNELS)

clean:
	cargo clean
