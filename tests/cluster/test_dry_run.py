"""The API server accepts the objects of charts and tree: with strict validation, without unknown fields.

Kinds of Argo, Prometheus and Karpenter's AWS part have no schema here: tests/charts and tests/gitops check those.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

import kinds
import kubernetes
from api import CLUSTER_WIDE, Api, ApiError, Object
from combinations import APPLICATION_CASES, EXAMPLES, Case, installed
from repository import CLUSTERS, GITOPS, SUBSTITUTION, TEMPLATES, Repository

SEED = Repository(GITOPS)
SCRATCH = "dry-run"


@pytest.fixture(scope="module", autouse=True)
def scratch(api: Api) -> Iterator[None]:
    """A namespace as a tenant's, and every kind the trees use."""
    kubernetes.apply_all(api, kinds.of("karpenter", "karpenter-aws", "argo", "prometheus", "keda", "traefik"))
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SCRATCH, "labels": labels}})
    yield
    api.delete("namespaces", SCRATCH)


def refused(api: Api, objects: list[Object]) -> list[str]:
    """The errors of the API server for objects, each put into the scratch namespace."""
    found = []
    for original in objects:
        manifest = copy.deepcopy(original)
        if manifest["kind"] not in CLUSTER_WIDE:
            manifest["metadata"]["namespace"] = SCRATCH
        try:
            api.apply(manifest, "dry-run", dryRun="All", fieldValidation="Strict")
        except ApiError as error:
            found.append(f"{manifest['kind']} {manifest['metadata']['name']}: {error}")
    return found


@pytest.mark.parametrize("case", [*EXAMPLES, *APPLICATION_CASES], ids=str)
def test_what_a_charts_examples_render_is_taken(api: Api, case: Case) -> None:
    objects = list(installed(case).objects)
    assert objects
    assert refused(api, objects) == []


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_cluster_applies_is_taken(api: Api, cluster: str) -> None:
    assert refused(api, SEED.objects(cluster)) == []


@pytest.mark.parametrize("overlay", ["argo", "worker"])
def test_what_either_control_plane_applies_is_taken(api: Api, overlay: str) -> None:
    from manifests import parse

    settings = SEED.settings("production")
    text = SUBSTITUTION.sub(lambda match: settings[match[1]], SEED.build(Path("control-plane/overlays") / overlay))
    assert refused(api, parse(text)) == []


@pytest.mark.parametrize("template", [p for p in SEED.files() if p.parent == TEMPLATES], ids=lambda p: p.stem)
def test_what_a_template_makes_is_taken(api: Api, template: Path) -> None:
    assert refused(api, SEED.documents(template)) == []


def test_an_unknown_field_is_refused(api: Api) -> None:
    manifest: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}, "dta": {}}
    assert "dta" in "".join(refused(api, [manifest]))
