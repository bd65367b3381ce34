# What can be done here: `make help`.

PREFIX = /usr/local
DESTDIR =
UNITS = $(PREFIX)/lib/systemd/system
CARGO = cargo
INSTALL = install

# rustup puts cargo there, and a root shell often does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Where cargo builds.
TARGET = $(or $(CARGO_TARGET_DIR),target)

# To link, and to send traffic; to check the manual and the unit.
BUILD_PACKAGES = gcc libc6-dev
TRAFFIC_PACKAGES = nftables iproute2 conntrack procps
MANUAL_PACKAGES = mandoc man-db systemd

# To measure, and what flbc is measured beside.
BENCH_PACKAGES = time curl nftlb haproxy nginx-light libnginx-mod-stream

# The kernel that a guest runs: 6.1 is Debian 12's, 6.12 is Debian 13's. Whose nft it has, if not this machine's: a release
# of Debian. What the kernel tests run there, and the comparison with IPVS.
KERNEL = 6.1
NFT =
TEST_PROGRAMS = nft ip bridge conntrack timeout unshare mount setpriv script kill cat sysctl
IPVS_PROGRAMS = nft ip ipvsadm timeout

# Whose nft the tests take beside this machine's: a release of Debian.
OTHER_DEBIAN = trixie

# How long each fuzz target runs in `make soak`, in seconds.
FUZZ_SECONDS = 600

# The tests that need neither root nor a kernel: all but one.
QUICK_TESTS = $(filter-out kernel,$(basename $(notdir $(wildcard tests/*.rs tests/*/main.rs)))) cli

.PHONY: help build quick bless kernel deny test test-nft test-vm test-unit demo bench bench-full bench-vm soak man install install-units clean toolchain

help:
	@echo 'make build    the program, in $(TARGET)/release'
	@echo 'make quick    format, lints and every test that needs no root, while you work'
	@echo 'make bless    writes anew what the goldens and the messages of faults are compared with, and shows what differs'
	@echo 'make kernel T=persist::  the kernel tests whose names have this in them; needs root'
	@echo 'make deny     licences and known faults of the crates that are used'
	@echo 'make test     format, lints and every test; the kernel tests need root'
	@echo 'make test-nft the kernel tests with the nft of Debian 13, both beside each other, and an independent witness; needs root'
	@echo 'make test-vm  the kernel tests on the kernel of Debian 12, in a guest of qemu, or of Debian 13 with KERNEL=6.12; needs root'
	@echo 'make test-unit  the systemd unit beside nftables.service, in a Debian that is booted for it; SUITE=trixie: Debian 13; needs root'
	@echo 'make demo     traffic through examples/lb.flb in network namespaces; needs root'
	@echo 'make bench    what flbc costs beside others; needs root'
	@echo 'make bench-full  the same with more rounds, up to 100,000 services of 10 servers; needs root and 16 GB'
	@echo 'make bench-vm  flbc beside IPVS on the same kernels; needs root'
	@echo 'make soak     the long tests: many flows, many properties, a random walk of 10,000 applies, fuzzing; needs root'
	@echo 'make man      the manual pages, in $(TARGET)/man'
	@echo 'make install  program, manual pages, completions and systemd unit, under $$DESTDIR$$PREFIX'

toolchain:
	@command -v $(CARGO) >/dev/null || { \
	    echo 'cargo is missing: install Rust 1.88 or newer (https://rustup.rs; what Debian 12 packages is too old), then try again' >&2; \
	    exit 1; }

build: toolchain
	@.ci/packages $(BUILD_PACKAGES)
	$(CARGO) build --locked --release --bin flbc

test: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES) $(MANUAL_PACKAGES)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	$(CARGO) build --locked --bin flbc --example demo
	$(TARGET)/debug/examples/demo >/dev/null
	$(CARGO) test --locked

# What to run while working: it says at its end how long it took.
quick: toolchain
	@start=$$(date +%s); set -ex; \
	    $(CARGO) fmt --all --check; \
	    $(CARGO) clippy --locked --all-targets --quiet -- --deny warnings; \
	    $(CARGO) test --locked --quiet --lib $(addprefix --test ,$(sort $(filter-out main,$(QUICK_TESTS)))); \
	    set +x; echo "quick: $$(($$(date +%s) - start)) s"

bless: toolchain
	FLBC_BLESS=1 $(CARGO) test --locked --test golden --test errors
	git diff --stat

T =
kernel: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES)
	$(CARGO) test --locked --test kernel -- $(T)

# Offline, or where the database of known faults cannot be had: make deny CHECKS='bans licenses sources'.
CHECKS = advisories bans licenses sources
deny: toolchain
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check $(CHECKS)

# First the tests that take two versions of nft, then all others with the other one alone.
test-nft: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES) libclang-dev debian-archive-keyring
	$(CARGO) fmt --manifest-path witness/Cargo.toml --check
	$(CARGO) clippy --locked --manifest-path witness/Cargo.toml --target-dir $(TARGET)/witness -- --deny warnings
	$(CARGO) build --locked --manifest-path witness/Cargo.toml --target-dir $(TARGET)/witness
	@other=$$(tests/nft/unpack $(OTHER_DEBIAN)) || exit 1; \
	    export FLBC_OTHER_NFT="$$other/nft" FLBC_WITNESS=$(abspath $(TARGET)/witness/debug/flbc-witness); set -x; \
	    $(CARGO) test --locked --test kernel -- --ignored versions:: --show-output && \
	    PATH="$$other:$$PATH" $(CARGO) test --locked --test kernel

test-vm: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES)
	@# Optimized: the guest's processor is emulated.
	$(CARGO) test --locked --release --test kernel --no-run
	@$(if $(NFT),other=$$(tests/nft/unpack $(NFT)) && PATH="$$other:$$PATH") \
	    KERNEL=$(KERNEL) GUEST_PROGRAMS='$(TEST_PROGRAMS) $(TARGET)/release/flbc' tests/vm/guest \
	    "$$($(CARGO) test --locked --release --test kernel --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$$/\1/p')" --include-ignored --skip timing:: --skip versions:: $(TESTS)

# Which Debian is booted: SUITE=trixie is Debian 13.
SUITE = bookworm
test-unit: toolchain
	@.ci/packages $(BUILD_PACKAGES)
	$(CARGO) build --locked --bin flbc
	@SUITE=$(SUITE) TARGET=$(TARGET) tests/unit/run

demo: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES)
	$(CARGO) build --locked --release --bin flbc --example demo
	@$(TARGET)/release/examples/demo

# PARTS names the wanted ones of: load, reload, datapath, many, options, apply, status, compile.
bench bench-full: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES) $(BENCH_PACKAGES)
	$(CARGO) build --locked --release --bin flbc --example bench
	@FLBC=$(TARGET)/release/flbc $(TARGET)/release/examples/bench $(if $(findstring full,$@),full) $(PARTS)

# The same beside IPVS, which needs Debian's kernel. The guest's clock counts instructions: ratios only, the same on a busy
# machine as on an idle one. Where nothing is done that clock leaps, so that what one contender leaves in the kernel can end before the next.
bench-vm: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES) ipvsadm
	$(CARGO) build --locked --release --bin flbc --example bench
	@KERNEL=$(KERNEL) FLBC=$(abspath $(TARGET)/release/flbc) GUEST_PROGRAMS='$(IPVS_PROGRAMS) $(TARGET)/release/flbc' \
	    GUEST_MODULES=ip_vs GUEST_FILES=none GUEST_CLOCK=instructions \
	    tests/vm/guest $(abspath $(TARGET)/release/examples/bench) ipvs leaping

soak: toolchain
	@.ci/packages $(BUILD_PACKAGES) $(TRAFFIC_PACKAGES) $(MANUAL_PACKAGES)
	@# Some tests print what they measured.
	FLBC_SOAK=1 PROPTEST_CASES=20000 $(CARGO) test --locked -- --show-output
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@# Coverage is an unstable option of the compiler; this lets the stable one have it.
	for target in $$($(CARGO) fuzz list); do \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

man: build
	$(TARGET)/release/flbc man $(TARGET)/man
	cp man/flb.5 $(TARGET)/man/

install-units:
	$(INSTALL) -d $(DESTDIR)$(UNITS)/nftables.service.d
	for unit in flbc flbc-run; do \
	    sed 's|/usr/local/bin/|$(PREFIX)/bin/|' systemd/$$unit.service >$(DESTDIR)$(UNITS)/$$unit.service || exit 1; \
	done
	$(INSTALL) -m 644 systemd/nftables.service.d/flbc.conf $(DESTDIR)$(UNITS)/nftables.service.d/

install: man install-units
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin \
	    $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(INSTALL) -m 755 $(TARGET)/release/flbc $(DESTDIR)$(PREFIX)/bin/
	$(INSTALL) -m 644 $(TARGET)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	$(INSTALL) -m 644 $(TARGET)/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	$(TARGET)/release/flbc completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/flbc
	$(TARGET)/release/flbc completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_flbc
	$(TARGET)/release/flbc completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/flbc.fish

clean:
	$(CARGO) clean
