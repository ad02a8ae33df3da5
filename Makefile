# `make help` lists the targets.
.DEFAULT_GOAL := help
cargo := cargo
cluster := $(cargo) run -q -p mcphub-tests --bin cluster --
# The target of the programs in images. With a named target, RUSTFLAGS do not reach procedural macros.
host := $(shell uname -m)-unknown-linux-gnu
cache := $(or $(MCPHUB_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mcphub)
# The programs that the test cluster needs, by their folder in tests/cluster/tools.
programs := etcd kubernetes coredns helm

include model.mk

.PHONY: help
help: ## list all targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

# Go and Rust compile side by side, because either alone leaves a core idle while it links or downloads.
.PHONY: demo
demo: setup ## show the whole system on a real cluster; KEEP=1 leaves the cluster running
	@mkdir -p target
	@$(MAKE) --no-print-directory -j2 tools images
	$(cargo) run -p mcphub-tests --bin demo -- $(if $(KEEP),--keep)

# In the order of docs/testing.md: the least powerful layer first.
.PHONY: test
test: setup lint test-pure test-process test-api test-cluster ## run all tests; needs root for the clusters

.PHONY: lint
lint: deny ## check formatting, clippy warnings, and the licenses and sources of dependencies
	$(cargo) fmt --all --check
	$(cargo) clippy --workspace --all-targets -- -D warnings

.PHONY: deny
deny: ## check the licenses and sources of dependencies with cargo-deny
	@deny=$$(tests/deny/build) && "$$deny" --log-level warn check licenses bans sources

# The crates without IO or a clock. Those of the hub are tested alone, without the features that other crates turn on.
.PHONY: test-pure
test-pure: ## test the pure crates and the structure of the code base
	$(cargo) test -q -p mcphub-hub-protocol
	$(cargo) test -q -p mcphub-hub-catalog
	$(cargo) test -q -p mcphub-hub-routing
	$(cargo) test -q -p mcphub-hub-wire -p mcphub-crds -p mcphub-hub-select -p mcphub-operator-plan
	$(cargo) test -q -p mcphub-tests --test structure

.PHONY: test-process
test-process: ## test hub and operator in process and as processes, with real MCP servers and clients
	$(cargo) test -q -p mcphub-hub -p mcphub-operator
	promtool test rules operator/plan/src/rollout/tests/metrics.test.yaml

.PHONY: test-api
test-api: tools ## test against a real API server without nodes
	$(cargo) test -q -p mcphub-tests --test api

.PHONY: test-cluster
test-cluster: tools ## test on real clusters, with real pods, MCP servers and Prometheus
	$(cargo) test -q -p mcphub-tests --lib --bins --test harness
	$(cargo) test -p mcphub-tests --test system -- --nocapture

# Built once into the cache. New inputs are kept in hub/fuzz/corpus, and inputs that fail in hub/fuzz/artifacts.
.PHONY: fuzz
fuzz: ## fuzz what reads the text of clients, servers and files, SECONDS=60 for each target; needs a nightly toolchain
	@test -x $(cache)/tools/cargo-fuzz/bin/cargo-fuzz || $(cargo) install -q --locked cargo-fuzz --root $(cache)/tools/cargo-fuzz
	@for target in messages edits events names config; do \
		mkdir -p hub/fuzz/corpus/$$target; \
		PATH="$(cache)/tools/cargo-fuzz/bin:$$PATH" RUSTUP_TOOLCHAIN=nightly cargo fuzz run --fuzz-dir hub/fuzz $$target \
			hub/fuzz/corpus/$$target hub/fuzz/seeds/$$target -- -max_total_time=$(or $(SECONDS),60) || exit 1; \
	done

.PHONY: bench-correction
bench-correction: ## measure the correction of arguments on real tools (MCPHUB_DATA: their folder); writes tests/bench/CORRECTION.md
	MCPHUB_REPORT=$(CURDIR)/tests/bench/CORRECTION.md $(cargo) test -q -p mcphub-hub-catalog --test real_tools -- --nocapture

.PHONY: bench-views
bench-views: ## measure the tool list of a caller with 10,000 tools, and the validation of arguments
	$(cargo) bench -q -p mcphub-hub-catalog --bench visibility --bench arguments

.PHONY: bench-selection
bench-selection: ## measure how well the selector finds tools (MCPHUB_DATA: folder of more data sets); writes tests/bench/SELECTION.md
	RUSTFLAGS="-C target-feature=+crt-static" $(cargo) build -q --release --locked --target $(host) -p mcphub-hub -p mcphub-operator
	rm -rf target/bench-selection
	python3 tests/bench/selection.py $(or $(CARGO_TARGET_DIR),target)/$(host)/release/mcp-hub target/bench-selection

.PHONY: setup
setup: ## install what a bare Debian machine lacks (as root; starts no service)
	@tests/cluster/setup

.PHONY: tools
tools: setup ## build the programs of the test cluster into the cache, which takes minutes the first time
	@tests/cluster/tools/build $(programs) >/dev/null

.PHONY: images
images: setup ## build the images of hub, operator and MCP servers into the cache, and print their paths
	$(cluster) images

.PHONY: cluster
cluster: setup ## start a local Kubernetes with all images, leave it running, and print how to use it
	$(cluster) up --keep --images

.PHONY: cluster-down
cluster-down: ## end what `make cluster` left running
	$(cluster) down

.PHONY: generate
generate: ## write the generated files: the CRD, its copy in the chart, the reference
	@mkdir -p target
	$(cargo) run -q -p mcphub-crds --bin crdgen >target/generated && mv target/generated crds/mcphubs.yaml
	$(cargo) run -q -p mcphub-crds --bin crdgen reference >target/generated && mv target/generated docs/reference.md
	cp crds/mcphubs.yaml charts/mcphub-crds/files/mcphubs.yaml

helm ?= $(firstword $(wildcard $(cache)/tools/helm-*/helm) helm)

.PHONY: manifests
manifests: generate ## render manifests/install.yaml from the charts
	@{ echo '# Generated by `make manifests` from charts/. Do not edit.'; \
	   echo 'apiVersion: v1'; echo 'kind: Namespace'; echo 'metadata: {name: mcphub-system}'; \
	   $(helm) template mcphub-crds charts/mcphub-crds; \
	   $(helm) template mcphub charts/mcphub-operator --namespace mcphub-system; } >target/generated
	mv target/generated manifests/install.yaml
