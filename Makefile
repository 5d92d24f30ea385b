# Two commands do everything on a fresh machine: `make image` and `make test`.

TEMPLATE ?= debian13-x86_64-minimal
AS_ROOT  := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: help image boot test lint bench clean install docs

PREFIX  ?= /usr/local
BINARY  ?= target/release/oic
bindir   = $(DESTDIR)$(PREFIX)/bin
datadir  = $(DESTDIR)$(PREFIX)/share

help:
	@echo "make image   set up, build oic, build the image $(TEMPLATE)"
	@echo "make boot    boot the image that make image built (leave QEMU with Ctrl-A X)"
	@echo "make test    set up, then run every check and test"
	@echo "make install  install program, manual pages and completions (PREFIX, DESTDIR)"
	@echo "make docs    make docs/cli-reference.md from the program"
	@echo "make bench   run the benchmarks and print ratios"

image:
	scripts/host-packages image
	cargo build --release --locked
	$(AS_ROOT) target/release/oic build $(TEMPLATE)
	@echo
	@echo "To boot it in QEMU:  make boot TEMPLATE=$(TEMPLATE)"

boot:
	scripts/boot $(TEMPLATE)

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

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
