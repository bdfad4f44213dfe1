"""Admission accepts what the tree and the chart need, and refuses every attack in `attacks.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest

from admission import ADMINISTRATOR, APPLIER, HELM, HOME, KUSTOMIZE, RECONCILER, SOURCE, TENANT, Request, refusals
from attacks import GONE, attacks, changed, flux, labelled, record, tenants_release
from combinations import CATCH_ALL, GUARDS, IDENTITIES, KEDA, MONITORING, NO_TENANT_ROUTES, Case, installed, merge
from manifests import Manifest, is_test
from released import SEED, as_helm_writes, case_of, cases, templates
from repository import CLUSTERS
from rules import applied_named

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the CEL evaluator needs Python 3.11 or newer")


def policies(cluster: str) -> list[Manifest]:
    return [o for o in applied_named(SEED, cluster, "tenancy").objects if o["kind"] == "ValidatingAdmissionPolicy"]


def namespace_labels(name: str) -> dict[str, str]:
    """Labels of a namespace: those in the tree, or a tenant's."""
    known = {o["metadata"]["name"]: o for c in CLUSTERS for o in SEED.objects(c) if o["kind"] == "Namespace"}
    if name in known:
        return known[name]["metadata"].get("labels", {})
    return {TENANT: name} if name.startswith(("tenant-", "pool-")) else {}


def sent(account: str, manifest: Manifest) -> Iterator[Request]:
    """The requests that make an object, and that apply it again."""
    labels = namespace_labels(manifest["metadata"].get("namespace", ""))
    yield Request(account, "CREATE", manifest, labels=labels)
    yield Request(account, "UPDATE", manifest, old=manifest, labels=labels)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_everything_that_a_cluster_applies_is_accepted(cluster: str) -> None:
    found, accounts = policies(cluster), set()
    for applied in SEED.applied(cluster):
        account = applied.spec.get("serviceAccountName", "kustomize-controller")
        accounts.add(account)
        for manifest in (labelled(o, applied.name) for o in applied.objects):
            for request in sent(f"system:serviceaccount:flux-system:{account}", manifest):
                assert refusals(found, request) == [], (applied.name, manifest["kind"], manifest["metadata"]["name"])
    assert accounts == {"kustomize-controller", "tenant-applier"}


OPTIONS: dict[str, tuple[str, Manifest]] = {
    "monitoring": ("premium", MONITORING),
    "guards": ("premium", GUARDS),
    "autoscaling": ("premium", {"appDefaults": {"autoscaling": {"enabled": True}}}),
    "keda": ("advanced", KEDA),
    "no routes": ("basic", {"routing": {"pool": {"tenantRoutes": False}}}),
    "suspended": ("premium", {"suspended": True}),
    "another app": ("premium", {"apps": {"invoices": {"enabled": True, "image": {"repository": "invoices"}}}}),
    "data given up": ("premium", {"infra": {"deleteData": True}}),
    "what a move leaves": ("basic", {"infra": {"retain": ["consumer"]}}),
    "a generation, as onboarding writes it": ("advanced", {"infra": {"vars": {"generation": "1770000000000"}}}),
    "a variable of the module": ("premium", {"infra": {"vars": {"message_retention_seconds": 86400}}}),
    "a later owner of an id": ("basic", {"infra": {"vars": {"generation": "1770000000000"}}}),
    "an offboarded tenant": (
        "premium",
        {
            "suspended": True,
            "infra": {"retain": ["consumer", "payments"]},
            "apps": {
                a: {"enabled": False, "ingress": {"enabled": False}} for a in ("producer", "consumer", "payments")
            },
        },
    ),
}


def option_releases() -> Iterator[Manifest]:
    for tier, values in OPTIONS.values():
        yield tenants_release(tier, **values)
    for values in (CATCH_ALL, {"infra": {"vars": {"tenant_scoped_reads": True}}}):
        pool = next(o for o in SEED.objects("production") if o["metadata"]["name"] == "pool-1" and "spec" in o)
        yield labelled(changed(pool, {"spec|values": merge(pool["spec"]["values"], values)}), "pooled-envs")
    yield tenants_release("basic", **NO_TENANT_ROUTES)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("account", [APPLIER, KUSTOMIZE, ADMINISTRATOR])
def test_releases_with_the_charts_options_are_accepted(cluster: str, account: str) -> None:
    found = policies(cluster)
    for release in option_releases():
        assert [r for request in sent(account, release) for r in refusals(found, request)] == []


def cluster_cases(cluster: str) -> list[Case]:
    found = [*cases(cluster), *templates(cluster)]
    found += [case_of(SEED, cluster, release) for release in option_releases()]
    # What an operator may choose for the whole cluster, in cluster-values.
    traefik = {"routing": {"type": "traefik", "hostnames": ["api.example.com", "*.example.com"]}}
    certificate = {"routing": {"alb": {"certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/0"}}}
    for values in (traefik, certificate, IDENTITIES["irsa"]):
        found += [case_of(SEED, cluster, tenants_release(tier, **values)) for tier in ("premium", "basic")]
    pool = next(o for o in SEED.objects(cluster) if o["metadata"]["name"] == "pool-1" and "spec" in o)
    catch_all = merge(pool["spec"]["values"], traefik, CATCH_ALL)
    return [*found, case_of(SEED, cluster, changed(pool, {"spec|values": catch_all}))]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_everything_that_the_chart_renders_is_accepted(cluster: str) -> None:
    found, kinds = policies(cluster), set()
    for case in cluster_cases(cluster):
        release = installed(case)
        for manifest in release.objects:
            if is_test(manifest):
                continue
            kinds.add(manifest["kind"])
            for request in sent(RECONCILER, as_helm_writes(release, manifest)):
                assert refusals(found, request) == [], (case.id, manifest["kind"], manifest["metadata"]["name"])
    assert len(kinds) >= 16, kinds


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_way_in_is_refused(cluster: str) -> None:
    found, accepted = policies(cluster), []
    for attack in attacks(cluster):
        messages = refusals(found, attack.request)
        if not any(message.startswith(f"{attack.policy}: ") for message in messages):
            accepted.append(f"{attack}: {messages}")
    assert accepted == []


def test_each_change_is_refused_for_its_own_reason() -> None:
    """The object that an attack changes is accepted, so the change alone is refused."""
    found = policies("homelab")
    bases = {attack.request.manifest["kind"] for attack in attacks("homelab")}
    assert len(bases) >= 20
    release = tenants_release()
    assert refusals(found, Request(APPLIER, "CREATE", release)) == []
    assert refusals(found, Request(RECONCILER, "CREATE", record())) == []


def test_every_validation_refuses_something() -> None:
    refused = {m for c in CLUSTERS for a in attacks(c) for m in refusals(policies(c), a.request)}
    refused |= {m for request, _ in PLACES.values() for m in refusals(policies("production"), request)}
    every = {
        f"{p['metadata']['name']}: {v['message']}" for p in policies("production") for v in p["spec"]["validations"]
    }
    assert every - refused == set()


# Where the two accounts may write

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
VERSION = "pod-security.kubernetes.io/enforce-version"
TENANTS_OWN = {TENANT: "tenant-9", **RESTRICTED}
LABELS = {
    "tenant-9": TENANTS_OWN,
    "tenant-1": {TENANT: "tenant-1"},
    "pool-1": {TENANT: "pool-1"},
    "grafana": {"tenantry.dev/dashboards": "allowed"},
}


def namespace(name: str, labels: dict[str, str] | None) -> Manifest:
    metadata = {"name": name} | ({} if labels is None else {"labels": labels})
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def applier(operation: str, found: Manifest, old: Manifest | None = None) -> Request:
    return Request(APPLIER, operation, found, old)


def reconciler(operation: str, kind: str, api: str, where: str, name: str = "tenant-9-a") -> Request:
    """A request of tenant-9's release."""
    metadata = {"name": name, "namespace": where, "annotations": {"meta.helm.sh/release-name": "tenant-9"}}
    found = {"apiVersion": api, "kind": kind, "metadata": metadata}
    return Request(RECONCILER, operation, found, found if operation == "UPDATE" else None, labels=LABELS.get(where, {}))


OWN = namespace("tenant-9", TENANTS_OWN)
SYSTEM = namespace("kube-system", {"kubernetes.io/metadata.name": "kube-system"})
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "evil", "namespace": "tenant-9"},
}
STATE = changed(record("tfstate-default-tenant-9"), {"type": "Opaque"})

PLACES: dict[str, tuple[Request, bool]] = {
    "a tenant's namespace is made": (applier("CREATE", OWN), True),
    "a pool's namespace is made": (
        applier("CREATE", labelled(namespace("pool-1", {TENANT: "pool-1", **RESTRICTED}), "pooled-envs")),
        True,
    ),
    "a pool's namespace in a tenant's file": (
        applier("CREATE", labelled(namespace("pool-1", {TENANT: "pool-1", **RESTRICTED}), "tenants")),
        False,
    ),
    "a tenant's namespace is changed": (applier("UPDATE", OWN, OWN), True),
    "a tenant's namespace is deleted": (applier("DELETE", OWN), True),
    "a namespace without labels is made": (applier("CREATE", namespace("tenant-9", None)), False),
    "a namespace labelled with another tenant's id": (applier("CREATE", namespace("tenant-8", TENANTS_OWN)), False),
    "a namespace without a Pod Security Standard": (
        applier("CREATE", namespace("tenant-9", {TENANT: "tenant-9"})),
        False,
    ),
    "a namespace with a weaker Pod Security Standard": (
        applier("CREATE", namespace("tenant-9", TENANTS_OWN | {"pod-security.kubernetes.io/enforce": "baseline"})),
        False,
    ),
    "a namespace with the Pod Security Standard of today": (
        applier("CREATE", namespace("tenant-9", TENANTS_OWN | {VERSION: "latest"})),
        True,
    ),
    "a namespace with the Pod Security Standard of long ago": (
        applier("CREATE", namespace("tenant-9", TENANTS_OWN | {VERSION: "v1.0"})),
        False,
    ),
    "a reserved name": (
        applier("CREATE", namespace("kube-tenants", {TENANT: "kube-tenants", **RESTRICTED})),
        False,
    ),
    "the cluster's own namespace is taken over": (
        applier("UPDATE", namespace("kube-system", {TENANT: "kube-system", **RESTRICTED}), SYSTEM),
        False,
    ),
    "an unlabelled namespace is taken over": (applier("UPDATE", OWN, namespace("tenant-9", None)), False),
    "the cluster's own namespace is deleted": (applier("DELETE", SYSTEM), False),
    "the applier makes a ConfigMap": (
        Request(APPLIER, "CREATE", reconciler("CREATE", "ConfigMap", "v1", "tenant-9").manifest, labels=TENANTS_OWN),
        False,
    ),
    "the applier gives rights": (Request(APPLIER, "CREATE", BINDING, labels=TENANTS_OWN), False),
    "the applier finalizes a namespace": (Request(APPLIER, "UPDATE", OWN, OWN, subresource="finalize"), False),
    "a ConfigMap in a tenant's namespace": (reconciler("CREATE", "ConfigMap", "v1", "tenant-9"), True),
    "a Deployment in a tenant's namespace is deleted": (
        reconciler("DELETE", "Deployment", "apps/v1", "tenant-9"),
        True,
    ),
    "a ConfigMap in another tenant's namespace": (reconciler("CREATE", "ConfigMap", "v1", "tenant-1"), False),
    "a ConfigMap in a pool's namespace": (reconciler("CREATE", "ConfigMap", "v1", "pool-1"), False),
    "a ConfigMap without its release": (
        Request(RECONCILER, "CREATE", namespace("a", {}) | {"kind": "ConfigMap"}, labels=TENANTS_OWN),
        False,
    ),
    "a Deployment in kube-system": (reconciler("CREATE", "Deployment", "apps/v1", "kube-system"), False),
    "a Deployment in a namespace without labels": (reconciler("UPDATE", "Deployment", "apps/v1", "web"), False),
    "a Deployment of kube-system is deleted": (reconciler("DELETE", "Deployment", "apps/v1", "kube-system"), False),
    "a Deployment's status": (
        replace(reconciler("UPDATE", "Deployment", "apps/v1", "tenant-9"), subresource="status"),
        False,
    ),
    "a dashboard in Grafana's namespace": (
        reconciler("CREATE", "ConfigMap", "v1", "grafana", "tenant-9-dashboard"),
        True,
    ),
    "another ConfigMap in Grafana's namespace": (reconciler("CREATE", "ConfigMap", "v1", "grafana", "grafana"), False),
    "a Service in Grafana's namespace": (reconciler("CREATE", "Service", "v1", "grafana", "tenant-9-a"), False),
    "a Terraform object is deleted": (
        reconciler("DELETE", "Terraform", "infra.contrib.fluxcd.io/v1alpha2", HOME),
        True,
    ),
    "Helm's record": (Request(RECONCILER, "CREATE", record()), True),
    "Helm's record is deleted": (Request(RECONCILER, "DELETE", record()), True),
    "Terraform's state is deleted": (Request(RECONCILER, "DELETE", STATE), False),
    "Terraform's state is changed": (Request(RECONCILER, "UPDATE", STATE, STATE), False),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_accounts_write_only_where_tenants_are(name: str) -> None:
    request, accepted = PLACES[name]
    assert (refusals(policies("production"), request) == []) is accepted


def test_the_rules_of_the_two_accounts_are_no_others() -> None:
    sent = replace(reconciler("CREATE", "Deployment", "apps/v1", "kube-system"), account=ADMINISTRATOR)
    assert refusals(policies("production"), sent) == []


# The exempt accounts, and only they


def test_flux_makes_its_own_objects_in_the_tenants_namespace() -> None:
    found = policies("production")
    chart = flux("HelmChart", "source.toolkit.fluxcd.io", "v1", HOME, chart="helm-tenant-chart")
    assert refusals(found, Request(HELM, "CREATE", chart)) == []
    source = flux("GitRepository", "source.toolkit.fluxcd.io", "v1", HOME, url="https://git.example.com/a")
    assert refusals(found, Request(KUSTOMIZE, "CREATE", source)) == []
    assert refusals(found, Request(HELM, "CREATE", source)) != []
    assert refusals(found, Request(KUSTOMIZE, "CREATE", chart)) != []


@pytest.mark.parametrize("account", [SOURCE, ADMINISTRATOR])
def test_finalizers_and_annotations_of_a_source_change_without_its_spec(account: str) -> None:
    source = flux("GitRepository", "source.toolkit.fluxcd.io", "v1", HOME, url="https://git.example.com/a")
    marked = changed(source, {"metadata|finalizers": ["finalizers.fluxcd.io"]})
    assert refusals(policies("production"), Request(account, "UPDATE", marked, old=source)) == []


@pytest.mark.parametrize("kind", ["HelmRelease", "Kustomization"])
def test_an_object_from_before_the_policies_can_be_deleted(kind: str) -> None:
    """Its finalizer goes by a change of the object, which admission would refuse on its own."""
    bad = changed(tenants_release(), {"spec|postRenderers": []})
    if kind == "Kustomization":
        bad = flux("Kustomization", "kustomize.toolkit.fluxcd.io", "v1", HOME, path="./", prune=True)
    bad["metadata"]["finalizers"] = ["finalizers.fluxcd.io"]
    bad["metadata"]["deletionTimestamp"] = "2026-11-27T22:49:00Z"
    gone = deepcopy(bad)
    gone["metadata"]["finalizers"] = []
    found = policies("production")
    assert refusals(found, Request(HELM, "UPDATE", gone, old=bad)) == []
    moved = changed(gone, {"spec|serviceAccountName": "other"})
    assert refusals(found, Request(HELM, "UPDATE", moved, old=bad)) != []


def test_only_controllers_write_a_status() -> None:
    there = tenants_release(tenant="tenant-1")
    for account, accepted in ((HELM, True), (SOURCE, True), (APPLIER, False), (ADMINISTRATOR, False)):
        request = Request(account, "UPDATE", there, old=there, subresource="status")
        assert (refusals(policies("production"), request) == []) is accepted, account


def test_an_attack_is_named_once() -> None:
    names = [str(attack) for attack in attacks("production")]
    assert len(names) == len(set(names)) >= 300


def test_the_attack_that_was_seen_breaks_two_rules() -> None:
    """A HelmRelease without an account, and with a chart of the GitOps repository."""
    seen = next(a.request for a in attacks("production") if a.name == "a chart of the GitOps repository")
    both = replace(seen, manifest=changed(seen.manifest, {"spec|serviceAccountName": GONE}))
    assert len(refusals(policies("production"), both)) == 2
