# Every target is a thin call into scripts/ or cargo. `make help` lists them.
# Brokers: KAFKA_BROKERS=host:port uses one that is already there; KAFKA_PORT and KAFKA_NODES shape
# the local one; INGEST_PORT moves the door.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
BIN := $(CARGO_TARGET_DIR)/release

.PHONY: help demo run test simulate controls torture kafka-up kafka-down bench build setup fmt lint audit

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup build ## a recorded day of webhooks through the pipeline; exits 0 only if the books balance
	@$(BIN)/weir-demo play

run: setup build  ## the same set-up, then stays up until Ctrl-C
	@exec $(BIN)/weir-demo run

test:            ## everything: format, lints, unit, contract, model, broker, end to end, torture
	@scripts/setup test
	@scripts/test

simulate: setup  ## random faults over a Kafka in memory: SEEDS=100000, FIRST=1, or SEED=4711 with its trace
	@cargo test --release --locked --workspace --test model -- --nocapture simulated

controls: setup  ## writes the table of negative controls anew, after a change that moves seeds
	@WRITE=1 cargo test --release --locked --workspace --test model -- every_control

bench: setup build ## the benchmark suite; tables on the terminal, JSON in target/bench/
	@mkdir -p target/bench
	@$(BIN)/weir-bench

torture: setup build ## three real brokers, faults everywhere: SEED=4711 MINUTES=3; adds a line to docs/evidence.jsonl
	@$(BIN)/weir-torture run

kafka-up:        ## a local broker on 127.0.0.1:9092 (KAFKA_NODES=3 for three)
	@scripts/kafka/up

kafka-down:      ## stops it; data stays under target/kafka/
	@scripts/kafka/down

build:           ## release binaries
	@cargo build --release --locked --workspace --bins

setup:           ## installs what is missing: apt packages, and Kafka unless KAFKA_BROKERS is set
	@scripts/setup

fmt:             ## formats the code
	@cargo fmt --all

lint:            ## format check, clippy, documentation, dependency rules: the same as in `make test`
	@scripts/setup test
	@scripts/test lint

audit:           ## known vulnerabilities in dependencies; needs the network and is no gate
	@scripts/setup audit
	@scripts/cargo-deny check advisories
