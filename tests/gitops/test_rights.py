"""Tenants are reconciled with the minimum rights, and a commit to a tenant's file can change nothing else."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from combinations import EVERYTHING, installed
from conftest import SEED
from engine import TENANT_CHART
from manifests import Manifest, is_test
from repository import CLUSTERS
from rules import applied_named

FLUX = ("get", "list", "watch", "create", "update", "patch", "delete")
"""Verbs to install, upgrade, correct and uninstall an object."""
READ = {("", "pods"), ("apps", "replicasets")}
"""Kinds that Helm reads while it waits for a Deployment."""
RECORDS = {("", "secrets")}
"""Helm's release records."""
TENANCY = applied_named(SEED, "production", "tenancy").objects
Right = tuple[str, str, str, str]


def plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


def rights(account: str) -> set[Right]:
    """An account's rights: namespace (empty: cluster-wide), group, resource and verb."""
    found: set[Right] = set()
    for binding in TENANCY:
        if "roleRef" not in binding or account not in {s["name"] for s in binding["subjects"]}:
            continue
        namespace = binding["metadata"].get("namespace", "")
        wanted = (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        (role,) = (o for o in TENANCY if (o["kind"], o["metadata"]["name"]) == wanted)
        for rule in role["rules"]:
            assert rule.keys() <= {"apiGroups", "resources", "verbs"}
            found |= {(namespace, g, r, v) for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    return found


def rendered_resources() -> set[tuple[str, str]]:
    """Group and resource of every kind that the chart renders in any combination, except pods of `helm test`."""
    return {
        (o["apiVersion"].rpartition("/")[0], plural(o["kind"]))
        for case in EVERYTHING
        if case.chart == TENANT_CHART
        for o in installed(case).objects
        if not is_test(o)
    }


def test_the_reconciler_has_exactly_the_rights_that_the_chart_needs() -> None:
    resources = rendered_resources()
    assert len(resources) >= 15, resources
    everywhere = {("", g, r, v) for g, r in resources - {("infra.contrib.fluxcd.io", "terraforms")} for v in FLUX}
    everywhere |= {("", g, r, v) for g, r in READ for v in ("get", "list", "watch")}
    at_home = {("infra.contrib.fluxcd.io", "terraforms"), *RECORDS}
    assert rights("tenant-reconciler") == everywhere | {("flux-tenants", g, r, v) for g, r in at_home for v in FLUX}


def test_the_applier_has_rights_on_namespaces_and_releases_only() -> None:
    expected = {("", "", "namespaces", v) for v in FLUX}
    expected |= {("flux-tenants", "helm.toolkit.fluxcd.io", "helmreleases", v) for v in FLUX}
    assert rights("tenant-applier") == expected


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_role_is_unlimited(cluster: str) -> None:
    for o in SEED.objects(cluster):
        for rule in o.get("rules", []) if o["kind"] in ("Role", "ClusterRole") else []:
            words = {*rule.get("apiGroups", []), *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "bind", "escalate", "impersonate", "rbac.authorization.k8s.io"}, o["metadata"][
                "name"
            ]
        if "roleRef" in o:
            assert o["roleRef"]["name"] not in ("admin", "cluster-admin", "edit"), o["metadata"]["name"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_tenants_are_applied_and_installed_as_these_accounts(cluster: str) -> None:
    for name in ("pooled-envs", "tenants"):
        applied = applied_named(SEED, cluster, name)
        assert (applied.namespace, applied.spec["serviceAccountName"]) == ("flux-tenants", "tenant-applier")
        assert {o["kind"] for o in applied.objects} <= {"HelmRelease", "Namespace"}
        for release in (o for o in applied.objects if o["kind"] == "HelmRelease"):
            assert release["spec"]["serviceAccountName"] == "tenant-reconciler"


# The admission policies, evaluated


def allowed(request: Manifest) -> bool:
    """Evaluates admission as the API server does: every validation of every matching policy must hold."""
    import cel

    results = []
    for policy in (o for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicy"):
        spec = policy["spec"]
        if not applies_to(spec, request["request"]):
            continue
        if not all(cel.evaluate(c["expression"], request) for c in spec["matchConditions"]):
            continue
        context = {**request, "variables": {}}
        for variable in spec.get("variables", []):
            context["variables"][variable["name"]] = evaluate(variable["expression"], context)
        results += [cel.evaluate(v["expression"], context) is True for v in spec["validations"]]
    assert results, "no policy applies to this request"
    return all(results)


def evaluate(expression: str, context: Manifest) -> Any:
    """Evaluates a variable. A failure counts only if a validation uses the variable."""
    import cel

    try:
        return cel.evaluate(expression, context)
    except (RuntimeError, TypeError, ValueError):
        return "evaluation failed"


def applies_to(spec: Manifest, request: Manifest) -> bool:
    def matches(words: list[str], word: str) -> bool:
        return "*" in words or word in words

    resource = request["resource"]
    return any(
        matches(rule["apiGroups"], resource["group"])
        and matches(rule["resources"], resource["resource"])
        and matches(rule["operations"], request["operation"])
        for rule in spec["matchConstraints"]["resourceRules"]
    )


RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
TENANTS_OWN = {"tenantry.dev/tenant": "tenant-9", **RESTRICTED}


def namespace(name: str, labels: dict[str, str] | None) -> Manifest:
    return {"metadata": {"name": name} | ({} if labels is None else {"labels": labels})}


def request(
    account: str, operation: str, resource: str, group: str = "", at: Manifest | None = None, **objects: Any
) -> Manifest:
    home = at["metadata"]["name"] if at else ""
    return {
        "request": {
            "userInfo": {"username": f"system:serviceaccount:flux-tenants:{account}"},
            "operation": operation,
            "namespace": home,
            "resource": {"group": group, "version": "v1", "resource": resource},
        },
        "namespaceObject": at,
        "object": objects.get("new"),
        "oldObject": objects.get("old"),
    }


def applier(operation: str, **objects: Manifest) -> Manifest:
    return request("tenant-applier", operation, "namespaces", **objects)


def reconciler(operation: str, resource: str, group: str, at: Manifest, **fields: str) -> Manifest:
    body = {"metadata": {"name": "a"}, **fields}
    side = {"old": body} if operation == "DELETE" else {"new": body}
    return request("tenant-reconciler", operation, resource, group, at, **side)


OWN = namespace("tenant-9", TENANTS_OWN)
HOME = namespace("flux-tenants", {"kubernetes.io/metadata.name": "flux-tenants"})
SYSTEM = namespace("kube-system", {"kubernetes.io/metadata.name": "kube-system"})
RECORD = "helm.sh/release.v1"

REQUESTS: dict[str, tuple[Manifest, bool]] = {
    "a tenant's namespace is made": (applier("CREATE", new=OWN), True),
    "a pool's namespace is made": (
        applier("CREATE", new=namespace("pool-1", {"tenantry.dev/tenant": "pool-1", **RESTRICTED})),
        True,
    ),
    "a tenant's namespace is changed": (applier("UPDATE", old=OWN, new=OWN), True),
    "a tenant's namespace is deleted": (applier("DELETE", old=OWN), True),
    "a namespace without labels is made": (applier("CREATE", new=namespace("tenant-9", None)), False),
    "a namespace labelled with another tenant's id": (applier("CREATE", new=namespace("tenant-8", TENANTS_OWN)), False),
    "a namespace without a Pod Security Standard": (
        applier("CREATE", new=namespace("tenant-9", {"tenantry.dev/tenant": "tenant-9"})),
        False,
    ),
    "a namespace with a weaker Pod Security Standard": (
        applier("CREATE", new=namespace("tenant-9", TENANTS_OWN | {"pod-security.kubernetes.io/enforce": "baseline"})),
        False,
    ),
    "a reserved name": (
        applier("CREATE", new=namespace("kube-tenants", {"tenantry.dev/tenant": "kube-tenants", **RESTRICTED})),
        False,
    ),
    "the cluster's own namespace is taken over": (
        applier(
            "UPDATE", old=SYSTEM, new=namespace("kube-system", {"tenantry.dev/tenant": "kube-system", **RESTRICTED})
        ),
        False,
    ),
    "an unlabelled namespace is taken over": (applier("UPDATE", old=namespace("tenant-9", None), new=OWN), False),
    "the cluster's own namespace is deleted": (applier("DELETE", old=SYSTEM), False),
    "a Deployment in a tenant's namespace": (reconciler("CREATE", "deployments", "apps", OWN), True),
    "a Deployment in a tenant's namespace is deleted": (reconciler("DELETE", "deployments", "apps", OWN), True),
    "a Deployment in kube-system": (reconciler("CREATE", "deployments", "apps", SYSTEM), False),
    "a Deployment in a namespace without labels": (
        reconciler("UPDATE", "deployments", "apps", namespace("web", None)),
        False,
    ),
    "a Deployment of kube-system is deleted": (reconciler("DELETE", "deployments", "apps", SYSTEM), False),
    "a Deployment beside the runner": (reconciler("CREATE", "deployments", "apps", HOME), False),
    "a Terraform object": (reconciler("CREATE", "terraforms", "infra.contrib.fluxcd.io", HOME), True),
    "a Terraform object is deleted": (reconciler("DELETE", "terraforms", "infra.contrib.fluxcd.io", HOME), True),
    "Helm's record": (reconciler("CREATE", "secrets", "", HOME, type=RECORD), True),
    "Helm's record is deleted": (reconciler("DELETE", "secrets", "", HOME, type=RECORD), True),
    "another Secret": (reconciler("CREATE", "secrets", "", HOME, type="kubernetes.io/service-account-token"), False),
    "Terraform's state is deleted": (reconciler("DELETE", "secrets", "", HOME, type="Opaque"), False),
}


needs_cel = pytest.mark.skipif(sys.version_info < (3, 11), reason="the CEL evaluator needs Python 3.11 or newer")


@needs_cel
@pytest.mark.parametrize("name", REQUESTS)
def test_admission(name: str) -> None:
    sent, expected = REQUESTS[name]
    assert allowed(sent) is expected


@needs_cel
def test_the_policies_do_not_restrict_other_accounts() -> None:
    import cel

    sent = request("another", "CREATE", "deployments", "apps", SYSTEM)
    for policy in (o for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicy"):
        assert not all(cel.evaluate(c["expression"], sent) for c in policy["spec"]["matchConditions"])


def test_each_policy_denies() -> None:
    policies = {o["metadata"]["name"] for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [o for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {b["spec"]["policyName"]: b["spec"]["validationActions"] for b in bindings} == dict.fromkeys(
        policies, ["Deny"]
    )
    assert all("matchResources" not in b["spec"] for b in bindings)
