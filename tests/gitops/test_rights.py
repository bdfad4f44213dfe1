"""Tenants are reconciled with the minimum rights, and a commit to a tenant's file can change nothing else."""

from __future__ import annotations

import pytest

from admission import plural
from combinations import EVERYTHING, installed
from engine import TENANT_CHART
from manifests import is_test
from released import SEED
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
        assert (applied.namespace, applied.spec["serviceAccountName"]) == ("flux-system", "tenant-applier")
        assert {o["kind"] for o in applied.objects} <= {"HelmRelease", "Namespace"}
        for release in (o for o in applied.objects if o["kind"] == "HelmRelease"):
            assert release["spec"]["serviceAccountName"] == "tenant-reconciler"


def test_each_policy_denies() -> None:
    policies = {o["metadata"]["name"] for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [o for o in TENANCY if o["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {b["spec"]["policyName"]: b["spec"]["validationActions"] for b in bindings} == dict.fromkeys(
        policies, ["Deny"]
    )
    assert all("matchResources" not in b["spec"] for b in bindings)
