"""Rights of each account at a real API server with its admission policies, by dry runs.

Everything that the tree and the chart need is tried first: a policy that refuses everything would pass the rest. The
attacks are those of tests/gitops/attacks.py. `bare.py` runs this file against an API server alone.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kinds
import kubernetes
from admission import ADMINISTRATOR, APPLIER, HELM, HOME, RECONCILER, SOURCE, TENANT
from api import Api, ApiError, Object, plural_of
from attacks import NEW, Attack, attacks, changed, flux, installed_release, labelled, record, tenants_release
from combinations import installed
from layout import TREE
from machine import wait_for
from manifests import is_test
from released import SEED, as_helm_writes, cases
from rules import applied_named

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
TENANCY = applied_named(SEED, TREE, "tenancy").objects
POLICIES = [o["metadata"]["name"] for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicy"]


def namespace(name: str, **changes: str | None) -> Object:
    labels: dict[str, str | None] = {**RESTRICTED, TENANT: name}
    for key, value in changes.items():
        labels[{"tenant": TENANT, "enforce": "pod-security.kubernetes.io/enforce"}[key]] = value
    kept = {k: v for k, v in labels.items() if v is not None}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": kept}}


@pytest.fixture(scope="module", autouse=True)
def tenants(api: Api) -> Iterator[None]:
    """The namespace of a tenant that has nothing yet, and releases that are there already."""
    kubernetes.apply_all(api, kinds.of("prometheus", "keda", "traefik"))
    there = [tenants_release(tenant="tenant-1"), *sources()]
    made = [o for o in there if not api.find(f"{plural_of(o['kind'])}.{group_of(o)}", o["metadata"]["name"], HOME)]
    wait_for("the policies' enforcement", lambda: why(lambda: dry(api, evil())), 30)
    api.apply(namespace(NEW))
    for manifest in made:
        as_account(api, "system:serviceaccount:flux-system:kustomize-controller").apply(manifest)
    yield
    for manifest in made:
        api.delete(f"{plural_of(manifest['kind'])}.{group_of(manifest)}", manifest["metadata"]["name"], HOME)
    api.delete("namespaces", NEW)


def sources() -> list[Object]:
    found = applied_named(SEED, TREE, "sources").objects
    return [copy.deepcopy(o) for o in found if o["metadata"].get("namespace") == HOME]


def evil() -> Object:
    return changed(tenants_release(), {"spec|serviceAccountName": "other"})


def group_of(manifest: Object) -> str:
    return manifest["apiVersion"].partition("/")[0]


def as_account(api: Api, account: str) -> Api:
    if account == ADMINISTRATOR:
        return api
    *_, where, name = account.split(":")
    return api.impersonate(where, name)


@pytest.fixture(scope="module")
def applier(api: Api) -> Api:
    return as_account(api, APPLIER)


@pytest.fixture(scope="module")
def reconciler(api: Api) -> Api:
    return as_account(api, RECONCILER)


def why(request: Callable[[], object]) -> str:
    """Returns the reason of a refusal; empty if the request was accepted."""
    try:
        request()
    except ApiError as error:
        return str(error)
    return ""


def dry(account: Api, manifest: Object) -> object:
    return account.apply(copy.deepcopy(manifest), "dry", dryRun="All", fieldValidation="Strict")


# What is needed is accepted


def test_what_the_tree_applies_for_tenants_is_accepted(applier: Api) -> None:
    objects = [labelled(o, n) for n in ("pooled-envs", "tenants") for o in applied_named(SEED, TREE, n).objects]
    objects += [tenants_release(tier) for tier in ("basic", "advanced", "premium")]
    assert {o["metadata"]["name"]: r for o in objects if (r := why(lambda o=o: dry(applier, o)))} == {}


def test_what_the_chart_renders_is_accepted(reconciler: Api) -> None:
    """Objects that are there already, such as a Deployment with another selector, are another test's."""
    refused, count = {}, 0
    releases = [installed(case) for case in cases(TREE)]
    releases += [installed_release(TREE, tier) for tier in ("basic", "advanced", "premium")]
    for release in releases:
        for manifest in (as_helm_writes(release, o) for o in release.objects if not is_test(o)):
            count += 1
            if reason := why(lambda m=manifest: dry(reconciler, m)):
                refused[f"{manifest['kind']} {manifest['metadata']['name']}"] = reason
    assert refused == {}
    assert count >= 80


def test_helms_records_are_accepted(reconciler: Api) -> None:
    assert why(lambda: dry(reconciler, record())) == ""


def test_flux_makes_its_own_objects_in_the_tenants_namespace(api: Api) -> None:
    reference = {"kind": "HelmRepository", "name": "tenantry-charts"}
    chart = flux("HelmChart", "source.toolkit.fluxcd.io", "v1", HOME, chart="helm-tenant-chart", sourceRef=reference)
    assert why(lambda: dry(as_account(api, HELM), chart)) == ""
    source = sources()[0]
    marked = {
        "metadata": {"finalizers": ["finalizers.fluxcd.io"], "annotations": {"reconcile.fluxcd.io/requestedAt": "1"}}
    }
    kind = f"{plural_of(source['kind'])}.source.toolkit.fluxcd.io"
    for account in (SOURCE, ADMINISTRATOR):
        name = source["metadata"]["name"]
        sent = as_account(api, account)
        assert why(lambda sent=sent, n=name: sent.patch(kind, n, HOME, marked, dryRun="All")) == ""


def test_a_release_is_suspended_by_hand_and_its_status_is_written_by_its_controller(api: Api) -> None:
    kind, status = "helmreleases.helm.toolkit.fluxcd.io", {"status": {"storageNamespace": HOME}}
    assert why(lambda: api.patch(kind, "tenant-1", HOME, {"spec": {"suspend": True}}, dryRun="All")) == ""
    assert why(lambda: as_account(api, HELM).patch(kind, "tenant-1", HOME, status, "status", dryRun="All")) == ""


def test_the_applier_makes_and_deletes_tenants_namespaces(applier: Api) -> None:
    assert why(lambda: dry(applier, namespace("tenant-78"))) == ""
    assert why(lambda: applier.ask("DELETE", f"/api/v1/namespaces/{NEW}", dryRun="All")) == ""


# Every attack is refused

UNKNOWN = ("unknown field", "field not declared in schema")
"""The kind refuses the field, under strict validation, before a policy can. `bare.py` has the kind that knows them."""


def attempt(api: Api, attack: Attack) -> str:
    """Sends an attack as a dry run and returns why it was refused."""
    request, sent = attack.request, as_account(api, attack.request.account)
    manifest = copy.deepcopy(request.manifest)
    if request.operation == "CREATE":
        return why(lambda: dry(sent, manifest))
    kind = f"{plural_of(manifest['kind'])}.{request.group}"
    there = api.get(kind, manifest["metadata"]["name"], HOME)
    there["spec"] = manifest["spec"]
    there["metadata"]["labels"] = manifest["metadata"].get("labels", {})
    if request.subresource:
        there["status"] = {**there.get("status", {}), **manifest["status"]}
    path = f"/apis/{there['apiVersion']}/namespaces/{HOME}/{plural_of(manifest['kind'])}/{manifest['metadata']['name']}"
    path += f"/{request.subresource}" if request.subresource else ""
    return why(lambda: sent.ask("PUT", path, there, dryRun="All"))


REFUSED_BY_THE_KIND = {
    "an empty account",
    "a chartRef beside the chart",
    # Where the keys are there already, their type is immutable.
    "a record with the keys' name",
}
"""Attacks that break the kind's own rules: the API server refuses them before it asks a policy."""


@pytest.mark.parametrize("policy", sorted({a.policy for a in attacks(TREE)}))
def test_every_attack_is_refused(api: Api, policy: str, note: Any) -> None:
    found, others = Counter[str](), {}
    for attack in (a for a in attacks(TREE) if a.policy == policy):
        reason = attempt(api, attack)
        if f"ValidatingAdmissionPolicy '{policy}'" in reason:
            found["by the policy"] += 1
        elif any(words in reason for words in UNKNOWN) or (
            reason.startswith("422 ") and attack.name.removesuffix(", later") in REFUSED_BY_THE_KIND
        ):
            found["by the kind"] += 1
        elif not reason.startswith("404 "):
            others[str(attack)] = reason or "accepted"
    assert others == {}
    note(f"{policy} refused {found['by the policy']} attacks, the kind itself {found['by the kind']}")
    assert found["by the policy"] > found["by the kind"]


def test_the_attack_that_was_seen_is_refused_for_every_version_of_the_kind(api: Api) -> None:
    source = {"kind": "GitRepository", "name": "flux-system", "namespace": "flux-system"}
    for version in ("v2", "v2beta2"):
        seen = changed(tenants_release(), {"spec|chart|spec|chart": "./evil", "spec|chart|spec|sourceRef": source})
        del seen["spec"]["serviceAccountName"]
        seen["spec"].pop("install")
        seen["apiVersion"] = f"helm.toolkit.fluxcd.io/{version}"
        assert "ValidatingAdmissionPolicy 'tenant-releases'" in why(lambda s=seen: dry(api, s)), version


# Where the two accounts may write


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (namespace("tenant-78", tenant=None), "must equal the namespace's name"),
        (namespace("tenant-78", tenant="tenant-1"), "must equal the namespace's name"),
        (namespace("tenant-78", enforce="baseline"), "with the value restricted"),
        (namespace("tenant-78", enforce=None), "with the value restricted"),
        *[(namespace(n), "name is reserved") for n in ("kube-evil", "argo", "flux-evil", "pool")],
    ],
    ids=str,
)
def test_the_applier_makes_no_other_namespace(applier: Api, manifest: Object, reason: str) -> None:
    assert reason in why(lambda: dry(applier, manifest))


@pytest.mark.parametrize("name", ["kube-system", "flux-system", "default", HOME])
def test_the_applier_changes_and_deletes_no_namespace_that_is_no_tenants(applier: Api, name: str) -> None:
    reason = "may only change namespaces with the label tenantry.dev/tenant"
    assert reason in why(lambda: dry(applier, namespace(name)))
    said = why(lambda: applier.ask("DELETE", f"/api/v1/namespaces/{name}", dryRun="All"))
    assert reason in said or "this namespace may not be deleted" in said


def test_the_applier_makes_releases_in_one_namespace_only(applier: Api) -> None:
    for other in ("flux-system", "tenant-1", "default"):
        assert "Forbidden" in why(
            lambda other=other: dry(applier, changed(tenants_release(), {"metadata|namespace": other}))
        )


def role_binding(where: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "evil", "namespace": where},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": where}],
    }


def config_map(where: str, release: str = NEW) -> Object:
    metadata = {"name": "evil", "namespace": where, "annotations": {"meta.helm.sh/release-name": release}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}


def secret(where: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "evil", "namespace": where}, "type": "Opaque"}


@pytest.mark.parametrize("manifest", [role_binding(HOME), config_map(HOME), secret(HOME), config_map(NEW)], ids=str)
def test_the_applier_makes_nothing_else(applier: Api, manifest: Object) -> None:
    assert "Forbidden" in why(lambda: dry(applier, manifest))


@pytest.mark.parametrize("where", ["flux-system", "tenant-1", HOME])
def test_neither_account_reads_secrets_of_others(applier: Api, reconciler: Api, where: str) -> None:
    assert "Forbidden" in why(lambda: applier.list("secrets", where))
    if where != HOME:
        assert "Forbidden" in why(lambda: reconciler.list("secrets", where))


@pytest.mark.parametrize("where", ["kube-system", "flux-system", "default"])
def test_the_reconciler_makes_nothing_in_a_namespace_that_is_no_tenants(reconciler: Api, where: str) -> None:
    message = "must be in a namespace with the label tenantry.dev/tenant"
    assert message in why(lambda: dry(reconciler, config_map(where)))


def test_the_reconciler_makes_nothing_in_another_tenants_namespace(reconciler: Api) -> None:
    assert why(lambda: dry(reconciler, config_map(NEW))) == ""
    for where in ("tenant-1", "pool-1"):
        assert "into its own tenant's namespace" in why(lambda where=where: dry(reconciler, config_map(where)))


@pytest.mark.parametrize("manifest", [role_binding(NEW), secret(NEW), namespace("tenant-78")], ids=str)
def test_the_reconciler_gives_no_rights_and_no_namespaces(reconciler: Api, manifest: Object) -> None:
    assert "Forbidden" in why(lambda: dry(reconciler, manifest))


def test_no_pod_of_a_tenant_is_privileged(api: Api) -> None:
    """The namespaces refuse what the restricted standard refuses, also to the administrator."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NEW}}
    api.apply(account)
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "evil", "namespace": NEW},
        "spec": {"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": True}}]},
    }
    assert "violates PodSecurity" in why(lambda: dry(api, pod))
    host = {**pod, "spec": {**pod["spec"], "hostNetwork": True}}
    assert "violates PodSecurity" in why(lambda: dry(api, host))


def test_the_policies_are_enforced_and_compile(api: Api) -> None:
    kind = "validatingadmissionpolicies.admissionregistration.k8s.io"

    def checked() -> list[Object]:
        found = [p for p in api.list(kind) if p["metadata"]["name"] in POLICIES]
        return (
            found if len(found) == len(POLICIES) and all("typeChecking" in p.get("status", {}) for p in found) else []
        )

    for policy in wait_for("the type check of the policies", checked, 60):
        assert not policy["status"]["typeChecking"].get("expressionWarnings"), policy["metadata"]["name"]


@pytest.mark.parametrize("account", ["tenant-1-producer", "tenant-1-consumer", "default"])
def test_no_account_of_a_tenant_may_do_anything(api: Api, account: str) -> None:
    own = api.impersonate("tenant-1", account)
    for kind in ("secrets", "pods", "configmaps", "services"):
        assert "Forbidden" in why(lambda kind=kind: own.list(kind, "tenant-1"))
    assert "Forbidden" in why(lambda: own.list("namespaces"))
