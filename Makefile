# Every target installs what it lacks (Debian, Ubuntu; as root or with sudo), says so, and is quiet when it lacks nothing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: run test test-valkey check fmt lint audit bench doc setup help

export PATH := $(HOME)/.cargo/bin:$(CURDIR)/target/tools:$(PATH)

NEED := @.ci/need
ARGS ?=
BENCH ?=
PEERS ?= nginx,haproxy
SCENARIOS ?= quick
ROUNDS ?= 5

run: ## serve a site: three stand-in replicas of Deals247 with the gateway before them (ARGS=… goes to `gateway demo`)
	$(NEED) rust build
	@[ -x target/release/gateway ] || echo "Building the release binary: some minutes, the first time."
	cargo run --locked --release --quiet -- demo $(ARGS)

test: ## run every test, and what a client would notice once more without the fast lane
	$(NEED) rust build promtool nginx redis node express
	cargo test --locked
	GATEWAY_TEST_LANE=pingora cargo test --locked --test it scenario::

test-valkey: ## the tests with a Redis once more with Valkey
	$(NEED) rust build valkey redis
	GATEWAY_TEST_REDIS=valkey-server cargo test --locked --test it -- shared_ store_ limits::shared

check: fmt lint audit ## formatting, lints, dependencies

fmt: ## is everything formatted?
	$(NEED) rust rustfmt
	cargo fmt --check

lint: ## clippy; a warning is an error here
	$(NEED) rust build clippy
	cargo clippy --locked --all-targets -- -D warnings

audit: ## advisories, licences, duplicates and sources of the dependencies
	$(NEED) rust build deny
	cargo deny --locked check --hide-inclusion-graph

bench: ## CPU per request beside other proxies: make bench BENCH=path/to/harness [PEERS=…] [SCENARIOS=…] [ROUNDS=…]
ifeq ($(BENCH),)
	@echo "The comparison needs its harness (a folder with bench.py): make bench BENCH=path/to/harness"
	@echo "It measures benches/gateway beside PEERS=$(PEERS), SCENARIOS=$(SCENARIOS), ROUNDS=$(ROUNDS)."
else
	$(NEED) rust build
	cargo build --locked --release
	$(BENCH)/bench.py --peers $(PEERS),$(CURDIR)/benches/gateway --scenarios $(SCENARIOS) --rounds $(ROUNDS)
endif

doc: ## write docs/reference.md and docs/gateway.schema.json anew, build the API documentation
	$(NEED) rust build
	UPDATE=1 cargo test --locked --test it config
	cargo doc --locked --no-deps

setup: ## install everything that the other targets need
	$(NEED) rust build rustfmt clippy deny promtool nginx redis node express

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
