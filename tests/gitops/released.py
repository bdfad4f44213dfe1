"""Flux's releases of pools, tenants and templates, rendered by real Helm with values merged as Flux merges them."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache

from combinations import Case, installed, merge
from engine import TENANT_CHART
from manifests import Manifest, Release
from repository import GITOPS, TEMPLATES, TIERS, Repository
from rules import cluster_values, tenant_releases

SEED = Repository(GITOPS)


def case_of(repository: Repository, cluster: str, release: Manifest) -> Case:
    """Builds a case: later `valuesFrom` override earlier ones, and `values` overrides all."""
    spec, name = release["spec"], release["metadata"]["name"]
    assert [source["name"] for source in spec["valuesFrom"]] == ["cluster-values"]
    values = merge(cluster_values(repository, cluster), spec["values"])
    return Case(f"{cluster}-{name}", TENANT_CHART, json.dumps(values), spec["releaseName"], spec["targetNamespace"])


@cache
def cases(cluster: str) -> tuple[Case, ...]:
    return tuple(case_of(SEED, cluster, release) for release in tenant_releases(SEED, cluster))


def template(tier: str) -> Manifest:
    """The HelmRelease of a tier's template."""
    documents = SEED.documents(TEMPLATES / f"{tier}_tenant_template.yaml")
    (release,) = (d for d in documents if d["kind"] == "HelmRelease")
    return release


@cache
def templates(cluster: str) -> tuple[Case, ...]:
    return tuple(case_of(SEED, cluster, template(tier)) for tier in TIERS)


def rendered(cluster: str) -> tuple[Release, ...]:
    return tuple(map(installed, cases(cluster)))


def as_helm_writes(release: Release, manifest: Manifest) -> Manifest:
    """An object of a release with what Helm adds to every object, whatever the chart says."""
    written = deepcopy(manifest)
    metadata = written["metadata"]
    metadata["namespace"] = release.namespace_of(manifest)
    own = {"meta.helm.sh/release-name": release.name, "meta.helm.sh/release-namespace": release.namespace}
    metadata["annotations"] = metadata.get("annotations", {}) | own
    metadata["labels"] = metadata.get("labels", {}) | {"app.kubernetes.io/managed-by": "Helm"}
    return written
