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
#   make build   the two programs, in target/release, with manual pages and completions
#   make install  what make build has made, below PREFIX (/usr/local); DESTDIR= for packagers
#   make uninstall
#   make book     the documents as a book, in target/book
#   make deb      a Debian package, in target
#   make package-test  the package in clean Debian 12 and 13 systems, and under systemd in the emulated host

HOST_TEST_KERNELS ?= newest 6.18

PREFIX ?= /usr/local
DESTDIR ?=
# For install(1): -s leaves out what only a debugger reads.
STRIP ?=

# An administrator reads these below share/doc, as they are. The others of docs/ are pages of the book only.
DOCUMENTS = $(filter-out docs/SUMMARY.md,$(shell grep -L '^{{\#include' docs/*.md))

.PHONY: book install uninstall deb package-test explore kernels soak run test build setup format figures check unit host clean

run: build
	tests/demo

build: setup
	cargo build --release --locked --workspace
	cargo build --release --locked --example manual
	rm -rf $(SHARE)
	target/release/examples/manual $(SHARE)
	target/release/vmland manual $(SHARE)
	packaging/licences >$(SHARE)/THIRD-PARTY-LICENCES

SHARE = target/release/share
share = $(DESTDIR)$(PREFIX)/share
doc = $(share)/doc/scx_vmland
unit = $(DESTDIR)$(PREFIX)/lib/systemd/system/scx_vmland.service
# An administrator's own stays.
default = $(DESTDIR)/etc/default/scx_vmland

install:
	@test -d $(SHARE) || { echo 'run "make build" first' >&2; exit 69; }
	install -d $(DESTDIR)$(PREFIX)/bin $(dir $(unit)) $(dir $(default)) $(doc)/examples
	install -m 755 $(STRIP) target/release/scx_vmland target/release/vmland $(DESTDIR)$(PREFIX)/bin
	sed 's|/usr/local|$(PREFIX)|' configs/scx_vmland.service >$(unit)
	chmod 644 $(unit)
	test -e $(default) || install -m 644 configs/scx_vmland.default $(default)
	cd $(SHARE) && find man bash-completion zsh fish -type f -exec install -D -m 644 {} $(abspath $(share))/{} \;
	install -m 644 README.md CHANGELOG.md ARCHITECTURE.md THREATS.md LICENSE $(SHARE)/THIRD-PARTY-LICENCES $(doc)
	for file in $(DOCUMENTS:docs/%=%) $(patsubst docs/%,%,$(wildcard docs/pictures/*.svg)); do install -D -m 644 docs/$$file $(doc)/$$file; done
	install -m 644 configs/scx_vmland.toml configs/scx_vmland.schema.json configs/examples/*.toml $(doc)/examples
	install -D -m 644 -t $(doc)/examples/prometheus configs/prometheus/vmland.dashboard.json configs/prometheus/vmland.rules.yml
	cd examples && find ansible container kubernetes -type f -exec install -D -m 644 {} $(abspath $(doc))/examples/{} \;
	chmod 755 $(doc)/examples/kubernetes/roll-out

# Configuration stays.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/scx_vmland $(DESTDIR)$(PREFIX)/bin/vmland $(unit)
	rm -f $(share)/man/man1/scx_vmland.1 $(share)/man/man1/vmland.1 $(share)/man/man1/vmland-*.1
	rm -f $(share)/bash-completion/completions/scx_vmland $(share)/bash-completion/completions/vmland
	rm -f $(share)/zsh/site-functions/_scx_vmland $(share)/zsh/site-functions/_vmland
	rm -f $(share)/fish/vendor_completions.d/scx_vmland.fish $(share)/fish/vendor_completions.d/vmland.fish
	rm -rf $(doc)

# Commands in it are tried, with the programs.
book: build
	tests/book

deb: build
	packaging/deb/build

package-test: deb
	tests/package

# Packagers, who bring what the build needs, say SETUP=:
SETUP ?= tests/setup

setup:
	@$(SETUP)

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
	shellcheck bpf/clang tests/setup tests/demo tests/deny tests/prometheus tests/book tests/coverage tests/fleet tests/install tests/package tests/recipes packaging/deb/build packaging/deb/p* docs/figures/measure examples/kubernetes/roll-out tests/host/* tests/in_host/run tests/in_host/run_test tests/in_host/kernels tests/in_host/run_soak \
		crates/vmland-guests/tests/fixtures/host/qemu .ci/run
	tests/in_host/run_test

# These build the two programs, too.
unit: setup
	cargo test --release --locked --workspace
	tests/prometheus
	$(MAKE) --no-print-directory build
	tests/install
	tests/recipes
	tests/book
	tests/fleet

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
