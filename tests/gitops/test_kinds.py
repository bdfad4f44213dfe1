"""Every object has the shape of its kind, on every version of Kubernetes; an unknown field is an error."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from conftest import SEED, errors
from engine import KUBERNETES
from manifests import Manifest
from pod_security import violations
from repository import full_id
from schemas import Checker


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_object_has_the_shape_of_its_kind(
    kubernetes: str, objects: dict[str, list[Manifest]], checker: Checker
) -> None:
    found = {e for group in objects.values() for o in group for e in errors(checker, o, kubernetes)}
    assert found == set()


WRONG: dict[str, tuple[tuple[str, str, str], str, Any]] = {
    "HelmRelease, unknown field": (("HelmRelease", "flux-tenants", "tenant-1"), "spec.chart.spec.verison", "1.0.0"),
    "HelmRelease, wrong value": (("HelmRelease", "flux-tenants", "tenant-1"), "spec.install.strategy.name", "Retry"),
    "Flux Kustomization, unknown field": (("Kustomization", "flux-system", "sources"), "spec.retryInterval_", "1m"),
    "Flux Kustomization, wrong value": (("Kustomization", "flux-system", "sources"), "spec.prune", "yes"),
    "GitRepository, unknown field": (("GitRepository", "flux-tenants", "terraform-v0-0-1"), "spec.ref.tags", "v1"),
    "HelmRepository, wrong value": (("HelmRepository", "flux-tenants", "tenantry-charts"), "spec.provider", "amazon"),
    "ImagePolicy, unknown field": (("ImagePolicy", "flux-system", "producer"), "spec.policy.numeric", {}),
    "ImageUpdateAutomation, unknown field": (
        ("ImageUpdateAutomation", "flux-system", "application-plane"),
        "spec.update.paths",
        "./",
    ),
    "WorkflowTemplate, unknown field": (("WorkflowTemplate", "tenantry", "lifecycle"), "spec.synchronisation", {}),
    "WorkflowTemplate, a field of Argo 3": (
        ("WorkflowTemplate", "tenantry", "lifecycle"),
        "spec.synchronization.mutex",
        {"name": "a"},
    ),
    "Sensor, unknown field": (("Sensor", "tenantry", "lifecycle"), "spec.trigger", []),
    "Sensor, no dead-letter trigger": (("Sensor", "tenantry", "lifecycle"), "spec.triggers.0.dlqTrigger", None),
    "Sensor, at most once": (("Sensor", "tenantry", "lifecycle"), "spec.triggers.0.atLeastOnce", False),
    "EventSource, unknown field": (("EventSource", "tenantry", "lifecycle"), "spec.sqs.onboarding.queueName", "a"),
    "EventSource, wrong type": (("EventSource", "tenantry", "lifecycle"), "spec.sqs.onboarding.dlq", "sometimes"),
    "EventBus, unknown field": (("EventBus", "tenantry", "default"), "spec.jetStream", {}),
    "NodePool, unknown field": (("NodePool", "", "applications"), "spec.template.spec.requirement", []),
    "EC2NodeClass, wrong value": (("EC2NodeClass", "", "applications"), "spec.metadataOptions.httpTokens", "never"),
    "Gateway, unknown field": (("Gateway", "gateway", "tenants"), "spec.listeners.0.protocols", "HTTPS"),
    "ClusterExternalSecret, unknown field": (("ClusterExternalSecret", "", "registry"), "spec.namespaceSelectors_", []),
    "policy, unknown field": (("ValidatingAdmissionPolicy", "", "tenant-applier"), "spec.validation", []),
    "Role, unknown field": (("Role", "flux-tenants", "tenant-reconciler"), "rule", []),
}


def change(manifest: Manifest, path: str, value: Any) -> Manifest:
    changed = deepcopy(manifest)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    at: Any = changed
    for key in parents:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return changed


@pytest.mark.parametrize("case", WRONG)
def test_the_schemas_refuse(case: str, objects: dict[str, list[Manifest]], checker: Checker) -> None:
    wanted, path, value = WRONG[case]
    manifest = next(o for group in objects.values() for o in group if full_id(o) == wanted)
    assert errors(checker, change(manifest, path, value), KUBERNETES[-1]) != []


def test_pods_of_the_control_plane_are_restricted(objects: dict[str, list[Manifest]]) -> None:
    """Their namespace enforces it: the worker, the workflow's step, and Argo Events' event source and sensor."""
    found = {name: violations(spec) for group in objects.values() for o in group for name, spec in pods(o)}
    assert len(found) == 5, f"{set(found)}"
    assert {name: v for name, v in found.items() if v} == {}


def pods(o: Manifest) -> list[tuple[str, Manifest]]:
    name, spec = "/".join(full_id(o)), o.get("spec", {})
    if o["kind"] == "Deployment":
        return [(name, spec["template"]["spec"])]
    if o["kind"] == "WorkflowTemplate":
        (template,) = spec["templates"]
        step = {"name": "main", **template["container"]}
        return [
            (name, {"securityContext": spec["securityContext"], "containers": [step], "volumes": template["volumes"]})
        ]
    if o["kind"] in ("EventSource", "Sensor"):
        template = spec["template"]
        container = {"name": "main", **template["container"]}
        return [(name, {"securityContext": template["securityContext"], "containers": [container]})]
    if o["kind"] == "EventBus":
        bus = spec["jetstream"]
        parts = ("containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate")
        containers = [{"name": part, **bus[part]} for part in parts]
        return [(name, {"securityContext": bus["securityContext"], "containers": containers})]
    return []


def test_the_cluster_takes_both_overlays_by_one_line() -> None:
    for cluster, overlay in (("production", "argo"), ("homelab", "worker")):
        lines = SEED.text(SEED.root / f"control-plane/{cluster}/kustomization.yaml").splitlines()
        assert [line for line in lines if line.startswith("- ..")] == [f"- ../overlays/{overlay}"]
