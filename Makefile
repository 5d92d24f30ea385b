# Two commands do everything on a fresh machine: `make image` and `make test`.

TEMPLATE ?= debian13-x86_64-minimal
AS_ROOT  := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: help image boot check test campaign lint bench clean install docs

PREFIX  ?= /usr/local
BINARY  ?= target/release/oic
bindir   = $(DESTDIR)$(PREFIX)/bin
datadir  = $(DESTDIR)$(PREFIX)/share

help:
	@echo "make image    set up, build oic, build the image $(TEMPLATE)"
	@echo "make boot     boot the image that make image built (leave QEMU with Ctrl-A X)"
	@echo "make check    format, lint, and the tests that need neither root nor network"
	@echo "make test     set up, then run every check and test"
	@echo "make campaign attack the build host for up to MINUTES=60 (SEED repeats an order, OIC is the program)"
	@echo "make lint     format and lint only"
	@echo "make bench    run the benchmarks and print ratios"
	@echo "make docs     make docs/cli-reference.md from the program"
	@echo "make install  install program, manual pages and completions (PREFIX, DESTDIR)"
	@echo "make clean    remove what cargo has built"

image:
	scripts/host-packages image
	cargo build --release --locked
	$(AS_ROOT) target/release/oic build $(TEMPLATE)
	@echo
	@echo "To boot it in QEMU:  make boot TEMPLATE=$(TEMPLATE)"

boot:
	$(AS_ROOT) target/release/oic boot $(TEMPLATE)

# Unit tests that need root: owners, devices and mounts are what they are about.
NEEDS_ROOT := archive::rpm::tests archive::unpack::tests cache::tests::a_disk_that_fills_up \
  cache::tests::what_does_not_fit image::ext4::tests \
  image::raw::tests::failures_leave mount::cow::tests mount::kernel::tests mount::holders::tests::an_open_file \
  mount::upper::tests \
  overlay::tests root::hostile_tests \
  durable::regular::tests::other_kinds snapshot::tests

# The loop of everyday work: all tests but those that need root or a network.
check: lint
	cargo test --locked --lib --test it -- --skip system:: $(addprefix --skip ,$(NEEDS_ROOT))

# The long form of tests/campaign, with the program that users run. Its table belongs into docs/security.md.
MINUTES ?= 60
OIC     ?= $(BINARY)

campaign:
	scripts/host-packages test
	cargo build --release --locked
	cargo test --locked --no-run --test campaign
	$(AS_ROOT) env CAMPAIGN_MINUTES=$(MINUTES) CAMPAIGN_SEED=$(SEED) CAMPAIGN_OIC=$(OIC) \
	  cargo test --locked --test campaign

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

test:
	scripts/host-packages test
	scripts/foreign-tools test
	$(MAKE) lint
	$(AS_ROOT) cargo test --locked

bench:
	scripts/host-packages test
	scripts/foreign-tools bench
	cargo bench --locked

# Builds nothing, so that it can run as root: cargo build --release comes first.
install:
	install -D -m 755 $(BINARY) $(bindir)/oic
	ln -sf oic $(bindir)/os-image-composer
	$(BINARY) man $(datadir)/man/man1
	ln -sf oic.1 $(datadir)/man/man1/os-image-composer.1
	install -d $(datadir)/bash-completion/completions $(datadir)/zsh/site-functions $(datadir)/fish/vendor_completions.d
	for name in oic os-image-composer; do \
	  $(BINARY) completion print bash --name $$name > $(datadir)/bash-completion/completions/$$name && \
	  $(BINARY) completion print zsh --name $$name > $(datadir)/zsh/site-functions/_$$name && \
	  $(BINARY) completion print fish --name $$name > $(datadir)/fish/vendor_completions.d/$$name.fish || exit 1; \
	done

docs:
	cargo run --locked --quiet -- man --format markdown > docs/cli-reference.md.new
	mv docs/cli-reference.md.new docs/cli-reference.md

clean:
	cargo clean
