##@ A real Kubernetes with the whole SaaS on it (root, Linux and Go; see tests/cluster/README.md)
CLUSTER = $(VENV)/bin/python tests/cluster/cluster.py
CLUSTER_PROGRAMS ?= target/release

.PHONY: cluster
cluster: tools ## Start a real Kubernetes with all tiers on it (root; the tools are built once, about 25 minutes)
	$(if $(filter target/release,$(CLUSTER_PROGRAMS)),cargo build --release $(patsubst %,--package %,producer consumer payments onboarding tenantctl localaws))
	$(CLUSTER) up --programs $(CLUSTER_PROGRAMS)

.PHONY: cluster-test
cluster-test: tools ## Drive the running cluster (CLUSTER_TESTS="-k policies" chooses)
	$(CLUSTER) run $(VENV)/bin/python -m pytest tests/cluster $(CLUSTER_TESTS)

.PHONY: admission
admission: tools ## Try every attack on the policies at a real API server alone (no root; `make cluster` builds the program)
	$(VENV)/bin/python tests/cluster/bare.py --quiet --tree homelab
	$(VENV)/bin/python tests/cluster/bare.py --quiet --tree production

.PHONY: cluster-down
cluster-down: ## End that cluster; nothing but the tools in .tools/cluster is left
	$(CLUSTER) down
