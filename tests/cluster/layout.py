"""Names, addresses and folders of the test cluster. Every other file reads them here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VENV = ROOT / ".tools" / "venv" / "bin"

HOME = ROOT / ".tools" / "cluster"
"""Tools, certificates and images, kept between starts. `make clean-tools` removes the folder."""
BIN = HOME / "bin"
SOURCES = HOME / "src"
IMAGES = HOME / "images"
PKI = Path(os.environ.get("CLUSTER_PKI", HOME / "pki"))

RUN = Path(os.environ.get("CLUSTER_RUN", "/run/tenantry-cluster"))
"""Sockets, logs and databases of a running cluster. `make cluster-down` removes the folder."""
LOGS = RUN / "logs"
PIDS = RUN / "pids"
KUBECONFIG = RUN / "admin.conf"
CGROUP = "tenantry-cluster"

KUBERNETES = os.environ.get("CLUSTER_KUBERNETES", "1.36")
"""The newest version, or 1.30, the oldest the charts promise to work on."""
KUBE = BIN / ("kube" if KUBERNETES == "1.36" else f"kube-{KUBERNETES}")

TREE = os.environ.get("CLUSTER_TREE", "homelab")
"""The cluster of gitops/clusters that is applied."""

KUBECTL = VENV / "kubectl"
PYTHON = Path(sys.executable)

# Documentation and benchmarking ranges (RFC 5737, RFC 2544): they collide with no network of a machine.
HOST_ADDRESS = "198.51.100.254"
NODE = "198.51.100.1"
API_SERVER = os.environ.get("CLUSTER_API", f"{NODE}:6443")
GATEWAY_ADDRESS = "198.51.100.10"
POD_RANGE = "198.18.0.0/16"
NODE_POD_RANGE = "198.18.0.0/20"
SERVICE_RANGE = "198.19.0.0/16"
API_SERVICE = "198.19.0.1"
DNS_SERVICE = "198.19.0.10"
# The outside: a network namespace behind the node, for everything that is not part of the cluster.
OUTSIDE_ROUTER = "203.0.113.1"
HARBOR_ADDRESS = "203.0.113.2"
GIT_ADDRESS = "203.0.113.3"
HUB_ADDRESS = "203.0.113.4"
METADATA_ADDRESS = "169.254.169.254"
OUTSIDE = (HARBOR_ADDRESS, GIT_ADDRESS, HUB_ADDRESS)
HOOK_PORT = 9292

# The names of docs/deploy-homelab.md.
HARBOR = "harbor.example.com"
GIT = "git.example.com"
API_HOST = "api.example.com"
ISSUER = "issuer.example.com"
REGISTRY = f"{HARBOR}/tenantry"
GITOPS_REPOSITORY = f"https://{GIT}/tenantry/gitops.git"
SOURCE_REPOSITORY = f"https://{GIT}/tenantry/tenantry.git"

# Hosts of other people's charts and images, which stand-ins answer for here.
HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "public.ecr.aws", "ghcr.io")
PAGES_NAMES = ("argoproj.github.io", "aws.github.io", "flux-iac.github.io", "kubernetes-sigs.github.io", ISSUER)
PAGES = HOME / "pages"
NAMES = {
    HARBOR: HARBOR_ADDRESS,
    GIT: GIT_ADDRESS,
    API_HOST: GATEWAY_ADDRESS,
    **dict.fromkeys(HUB_NAMES, HUB_ADDRESS),
    **dict.fromkeys(PAGES_NAMES, GIT_ADDRESS),
}

PUSH_LOGIN = ("robot$tenantry+push", "push-secret")
PULL_LOGIN = ("robot$tenantry+pull", "pull-secret")
GIT_LOGIN = ("git", "token-that-may-push")
KEYS = {"AWS_ACCESS_KEY_ID": "homelab", "AWS_SECRET_ACCESS_KEY": "homelab"}
