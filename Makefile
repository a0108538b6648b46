# Every target installs what it lacks (Debian, Ubuntu; as root or with sudo), says so, and is quiet when it lacks nothing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: run test conformance test-valkey api check fmt lint audit deploy-check image image-check load bench instructions doc setup help

export PATH := $(HOME)/.cargo/bin:$(CURDIR)/target/tools:$(PATH)

NEED := @.ci/need
ARGS ?=
BENCH ?=
SUITE ?=
PEERS ?= nginx,haproxy
SCENARIOS ?= quick
ROUNDS ?= 5
LOAD ?= all
SECONDS ?= 5
IMAGE ?= deals247-gateway

run: ## serve a site: three stand-in replicas of Deals247 with the gateway before them (ARGS=… goes to `gateway demo`)
	$(NEED) rust build
	@[ -x target/release/gateway ] || echo "Building the release binary: some minutes, the first time."
	cargo run --locked --release --quiet -- demo $(ARGS)

test: ## run every test, and what a client would notice once more without the fast lane
	$(NEED) rust build prometheus nginx redis pebble node express rails files
	cargo test --locked
	GATEWAY_TEST_LANE=pingora cargo test --locked --test it scenario::

test-valkey: ## the tests with a Redis once more with Valkey (but TLS, with which that package is not built)
	$(NEED) rust build valkey redis
	GATEWAY_TEST_REDIS=valkey-server cargo test --locked --test it -- shared_ store_ limits::shared --skip over_tls

api: ## ask the admin listener whatever its OpenAPI description allows, and what it does not (schemathesis)
	$(NEED) rust build schemathesis
	cargo build --locked
	tests/api/run.sh target/debug/gateway target/tools/schemathesis/bin/schemathesis

conformance: ## the public suite of HTTP caching, both lanes: make conformance SUITE=path/to/cache-tests
ifeq ($(SUITE),)
	@echo "The suite is https://github.com/http-tests/cache-tests: clone it, and name the folder: SUITE=path"
	@echo "What it asks for is also in tests/it/scenario/cache_rules.rs, which \`make test\` runs without the network."
else
	$(NEED) rust build node
	cargo build --locked --release
	[ -d $(SUITE)/node_modules ] || (cd $(SUITE) && npm install --silent --no-audit --no-fund)
	node tests/conformance/cache.mjs $(SUITE)
endif

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

deploy-check: ## everything in deploy/ by the programs that read it: docker compose, Kubernetes' schemas, Ansible, systemd, zizmor
	$(NEED) rust build deploy
	cargo build --locked
	deploy/check target/debug/gateway

image: ## build the container image IMAGE=deals247-gateway, by docker, podman or buildah
	@if command -v docker > /dev/null && docker info > /dev/null 2>&1; then docker build --tag $(IMAGE) .; \
	elif command -v podman > /dev/null; then podman build --format docker --tag $(IMAGE) .; \
	elif command -v buildah > /dev/null; then buildah build --format docker --layers --tag $(IMAGE) .; \
	else echo "image: docker, podman or buildah is needed"; exit 3; fi

image-check: ## the image built, run and asked where there is neither a daemon nor a registry (root, some 5 GB, a release build's time)
	$(NEED) rust image
	deploy/check-image

load: ## load on a gateway before the stand-in: make load [LOAD=ramp|spike|stress|soak] [SECONDS=5, of each step]
	$(NEED) rust build load
	cargo build --locked --release
	target/tools/load/bin/python benches/load/run.py $(LOAD) --seconds $(SECONDS)

bench: ## CPU per request beside other proxies: make bench BENCH=path/to/harness [PEERS=…] [SCENARIOS=…] [ROUNDS=…]
ifeq ($(BENCH),)
	@echo "The comparison needs its harness (a folder with bench.py): make bench BENCH=path/to/harness"
	@echo "It measures benches/gateway beside PEERS=$(PEERS), SCENARIOS=$(SCENARIOS), ROUNDS=$(ROUNDS)."
else
	$(NEED) rust build
	cargo build --locked --release
	$(BENCH)/bench.py --peers $(PEERS),$(CURDIR)/benches/gateway --scenarios $(SCENARIOS) --rounds $(ROUNDS)
endif

instructions: ## count the instructions of the hot path, and compare with benches/instructions/counts.toml
	$(NEED) rust build valgrind
	cargo bench --locked --profile count --bench instructions

doc: ## write docs/reference.md and docs/gateway.schema.json anew, build the API documentation
	$(NEED) rust build
	UPDATE=1 cargo test --locked --test it config
	cargo doc --locked --no-deps

setup: ## install everything that the other targets need
	$(NEED) rust build rustfmt clippy deny prometheus nginx redis pebble node express rails files schemathesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
