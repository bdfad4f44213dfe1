"""Who may do what: the accounts that reconcile tenants, asked of the real API server with its admission policies.

Every request is a dry run as the account itself. What an account must be able to do is tried, too: a policy that
refuses everything would pass the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from api import Api, ApiError, Object
from machine import wait_for

HOME = "flux-tenants"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def applier(api: Api) -> Api:
    return api.impersonate(HOME, "tenant-applier")


@pytest.fixture(scope="module")
def reconciler(api: Api) -> Api:
    return api.impersonate(HOME, "tenant-reconciler")


def namespace(name: str, **changes: str | None) -> Object:
    labels: dict[str, Any] = {**RESTRICTED, "tenantry.dev/tenant": name}
    for key, value in changes.items():
        key = {"tenant": "tenantry.dev/tenant", "enforce": "pod-security.kubernetes.io/enforce"}[key]
        labels[key] = value
    labels = {k: v for k, v in labels.items() if v is not None}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def why(request: Callable[[], object]) -> str:
    """The reason a request was refused; empty where it was taken."""
    try:
        request()
    except ApiError as error:
        return str(error)
    return ""


def dry(account: Api, manifest: Object) -> str:
    return why(lambda: account.apply(copy.deepcopy(manifest), "dry", dryRun="All"))


# The applier: namespaces of tenants, and HelmReleases in one namespace


def test_the_applier_makes_a_tenants_namespace(applier: Api) -> None:
    assert dry(applier, namespace("tenant-77")) == ""


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (namespace("tenant-77", tenant=None), "the label tenantry.dev/tenant has to be the namespace's name"),
        (namespace("tenant-77", tenant="tenant-1"), "the label tenantry.dev/tenant has to be the namespace's name"),
        (namespace("tenant-77", enforce="baseline"), "enforces the restricted Pod Security Standard"),
        (namespace("tenant-77", enforce=None), "enforces the restricted Pod Security Standard"),
        *[(namespace(n), "this name is reserved") for n in ("kube-evil", "argo", "flux-evil", "tenantry", "pool")],
    ],
    ids=str,
)
def test_the_applier_makes_no_other_namespace(applier: Api, manifest: Object, reason: str) -> None:
    assert reason in dry(applier, manifest)


@pytest.mark.parametrize("name", ["kube-system", "flux-system", "default", "aws", "tenantry", HOME])
def test_the_applier_changes_and_deletes_no_namespace_that_is_no_tenants(applier: Api, name: str) -> None:
    reason = "only namespaces of tenants"
    assert reason in dry(applier, namespace(name))
    assert reason in why(lambda: applier.ask("DELETE", f"/api/v1/namespaces/{name}", dryRun="All"))


def test_the_applier_deletes_a_tenants_namespace(applier: Api) -> None:
    assert why(lambda: applier.ask("DELETE", "/api/v1/namespaces/tenant-1", dryRun="All")) == ""


def helm_release(where: str) -> Object:
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "evil", "namespace": where},
        "spec": {
            "interval": "10m",
            "chart": {"spec": {"chart": "c", "sourceRef": {"kind": "HelmRepository", "name": "r"}}},
        },
    }


def test_the_applier_makes_releases_in_one_namespace_only(applier: Api) -> None:
    assert dry(applier, helm_release(HOME)) == ""
    for other in ("flux-system", "tenant-1", "default"):
        assert "Forbidden" in dry(applier, helm_release(other))


def role_binding(where: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "evil", "namespace": where},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": where}],
    }


def config_map(where: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evil", "namespace": where}, "data": {}}


def secret(where: str, kind: str = "Opaque") -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "evil", "namespace": where}, "type": kind}


def deployment(where: str, **spec: Any) -> Object:
    container = {
        "name": "c",
        "image": "x",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "evil", "namespace": where},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [container], "securityContext": security, **spec},
            },
        },
    }


@pytest.mark.parametrize(
    "manifest", [role_binding(HOME), config_map(HOME), secret(HOME), deployment(HOME), deployment("tenant-1")], ids=str
)
def test_the_applier_makes_nothing_else(applier: Api, manifest: Object) -> None:
    assert "Forbidden" in dry(applier, manifest)


@pytest.mark.parametrize("where", ["flux-system", "tenantry", "tenant-secrets", HOME])
def test_neither_account_reads_secrets_of_others(applier: Api, reconciler: Api, where: str) -> None:
    assert "Forbidden" in why(lambda: applier.list("secrets", where))
    if where != HOME:
        assert "Forbidden" in why(lambda: reconciler.list("secrets", where))


# The reconciler: what the chart renders, in namespaces of tenants


@pytest.mark.parametrize("manifest", [deployment("tenant-1"), config_map("tenant-3"), config_map("pool-1")], ids=str)
def test_the_reconciler_makes_what_a_tenant_needs(reconciler: Api, manifest: Object) -> None:
    assert dry(reconciler, manifest) == ""


def test_the_reconciler_keeps_helms_records_and_terraform_objects_at_home(reconciler: Api) -> None:
    assert dry(reconciler, secret(HOME, "helm.sh/release.v1")) == ""
    terraform: Object = {
        "apiVersion": "infra.contrib.fluxcd.io/v1alpha2",
        "kind": "Terraform",
        "metadata": {"name": "tenant-77", "namespace": HOME},
        "spec": {"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "terraform-v0-0-1"}},
    }
    assert dry(reconciler, terraform) == ""


MESSAGE = "a tenant's objects are in namespaces with the label tenantry.dev/tenant"


@pytest.mark.parametrize("where", ["kube-system", "flux-system", "default", "tenantry", "aws", "gateway"])
def test_the_reconciler_makes_nothing_in_a_namespace_that_is_no_tenants(reconciler: Api, where: str) -> None:
    assert MESSAGE in dry(reconciler, deployment(where))
    assert MESSAGE in dry(reconciler, config_map(where))


@pytest.mark.parametrize("manifest", [deployment(HOME), config_map(HOME), secret(HOME)], ids=str)
def test_the_reconciler_makes_no_pod_and_no_other_secret_at_home(reconciler: Api, manifest: Object) -> None:
    assert MESSAGE in dry(reconciler, manifest)


@pytest.mark.parametrize("manifest", [role_binding("tenant-1"), secret("tenant-1"), namespace("tenant-77")], ids=str)
def test_the_reconciler_gives_no_rights_and_no_namespaces(reconciler: Api, manifest: Object) -> None:
    assert "Forbidden" in dry(reconciler, manifest)


def test_no_pod_of_a_tenant_is_privileged(api: Api) -> None:
    """The namespaces refuse what the restricted standard does, whoever asks."""
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "evil", "namespace": "tenant-1"},
        "spec": {"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": True}}]},
    }
    assert "violates PodSecurity" in dry(api, pod)
    host = {**pod, "spec": {**pod["spec"], "hostNetwork": True}}
    assert "violates PodSecurity" in dry(api, host)


def test_the_policies_are_enforced_and_compile(api: Api) -> None:
    def checked() -> bool:
        found = api.list("validatingadmissionpolicies.admissionregistration.k8s.io")
        mine = [p for p in found if p["metadata"]["name"] in ("tenant-applier", "tenant-reconciler")]
        return len(mine) == 2 and all("typeChecking" in p.get("status", {}) for p in mine)

    wait_for("the type check of the policies", checked, 60)
    for policy in api.list("validatingadmissionpolicies.admissionregistration.k8s.io"):
        assert not policy["status"]["typeChecking"].get("expressionWarnings"), policy["metadata"]["name"]


@pytest.mark.parametrize("account", ["tenant-1-producer", "tenant-1-consumer", "default"])
def test_no_account_of_a_tenant_may_do_anything(api: Api, account: str) -> None:
    own = api.impersonate("tenant-1", account)
    for kind in ("secrets", "pods", "configmaps", "services"):
        assert "Forbidden" in why(lambda kind=kind: own.list(kind, "tenant-1"))
    assert "Forbidden" in why(lambda: own.list("namespaces"))
