# Two commands do everything on a fresh machine: `make image` and `make test`.

TEMPLATE ?= debian13-x86_64-minimal
AS_ROOT  := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: help image boot test lint bench clean

help:
	@echo "make image   set up, build oic, build the image $(TEMPLATE)"
	@echo "make boot    boot the image that make image built (leave QEMU with Ctrl-A X)"
	@echo "make test    set up, then run every check and test"
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
	$(MAKE) lint
	$(AS_ROOT) cargo test --locked

bench:
	scripts/host-packages test
	cargo bench --locked

clean:
	cargo clean
