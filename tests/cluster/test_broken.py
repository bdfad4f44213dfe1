"""A defect of one tenant stops no other tenant, and the tenant's condition says what is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import saas
from api import Api, condition
from flux import KUSTOMIZATION, RELEASE, SOURCE
from machine import wait_for
from node import frozen
from saas import Load, load

TENANTS = Path("application-plane/production/tenants")


@contextmanager
def edited(checkout: saas.Checkout, path: Path, pattern: str, new: str) -> Iterator[None]:
    """Changes a file of the repository by hand while the block runs."""
    checkout.git("fetch", "--quiet", "origin", "main")
    original = checkout.git("show", f"origin/main:{path}")
    changed, count = re.subn(pattern, new, original, count=1)
    assert count, f"{path} has no {pattern}"
    checkout.commit(f"break {path.name}", lambda folder: (folder / path).write_text(changed))
    try:
        yield
    finally:
        checkout.commit(f"mend {path.name}", lambda folder: (folder / path).write_text(original))


def says(api: Api, tenant: str, text: str, seconds: float = 240) -> str:
    """The message of the tenant's release, once it has the text in it."""

    def message() -> str:
        found = saas.release(api, tenant) or {}
        all_of_it = " ".join(c.get("message", "") for c in found.get("status", {}).get("conditions", []))
        return all_of_it if text in all_of_it else ""

    return wait_for(f"{tenant}'s condition says {text!r}", message, seconds, 0.5)


def check_others() -> None:
    """Checks that other tenants are answered, and that a new tenant can be onboarded."""
    for one in ("tenant-1", "tenant-2"):
        assert saas.environment_of(one, "producer")
    tenant = saas.new_tenant("newcomer")
    saas.tenantctl("onboard", tenant, "--tier", "basic", "--release", "0.0")
    wait_for("the new tenant's answer", lambda: saas.environment_of(tenant, "producer"), 180, 0.2)
    saas.tenantctl("offboard", tenant)


def test_a_chart_version_that_is_not_there(api: Api, checkout: saas.Checkout) -> None:
    with edited(checkout, TENANTS / "advanced" / "tenant-3.yaml", r"(?m)^      version: .*", "      version: 9.9.9"):
        says(api, "tenant-3", "9.9.9")
        assert saas.environment_of("tenant-3", "consumer") == "tenant-3", "what runs goes on"
        check_others()
    saas.wait_for_release(api, "tenant-3")


def test_an_image_that_cannot_be_pulled(api: Api, checkout: saas.Checkout) -> None:
    before = {p["metadata"]["name"] for p in saas.pods(api, "tenant-3", "consumer")}
    with edited(checkout, TENANTS / "advanced" / "tenant-3.yaml", r'tag: "0.0.1"', 'tag: "9.9.9"'):
        wait_for(
            "a pod that waits for its image",
            lambda: (
                any(
                    "ImagePull" in str(s["state"]) or "ErrImage" in str(s["state"])
                    for p in saas.pods(api, "tenant-3", "consumer")
                    for s in p["status"].get("containerStatuses", [])
                )
                or any("9.9.9" in str(p["spec"]["containers"]) for p in saas.pods(api, "tenant-3", "consumer"))
            ),
            180,
            0.3,
        )
        assert before & {p["metadata"]["name"] for p in saas.pods(api, "tenant-3", "consumer")}, "the old pod stays"
        assert saas.environment_of("tenant-3", "consumer") == "tenant-3"
        check_others()
    saas.wait_for_release(api, "tenant-3", 900)


def test_a_quota_that_is_too_small(api: Api) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "too-small", "namespace": "tenant-3"},
        "spec": {"hard": {"pods": "1"}},
    }
    api.apply(quota)
    try:
        api.patch("deployments.apps", "tenant-3-consumer", "tenant-3", {"spec": {"replicas": 3}})

        def is_reported() -> bool:
            found = api.get("deployments.apps", "tenant-3-consumer", "tenant-3")
            return "exceeded quota" in condition(found, "ReplicaFailure").get("message", "")

        wait_for("the condition", is_reported, 60, 0.3)
        assert saas.environment_of("tenant-3", "consumer") == "tenant-3"
        check_others()
    finally:
        api.delete("resourcequotas", "too-small", "tenant-3")
        api.patch("deployments.apps", "tenant-3-consumer", "tenant-3", {"spec": {"replicas": 1}})


def test_a_component_that_is_not_healthy_holds_up_no_tenant(api: Api, checkout: saas.Checkout) -> None:
    path = Path("infrastructure/components/tofu-controller/release.yaml")
    with edited(checkout, path, r"version: 0\.16\.5", "version: 9.9.9"):

        def unhealthy() -> bool:
            found = api.get(KUSTOMIZATION, "infrastructure", "flux-system")
            return condition(found).get("status") != "True"

        wait_for("an unhealthy component", unhealthy, 120, 0.3)
        begin = time.monotonic()
        check_others()
        assert time.monotonic() - begin < 60
    wait_for(
        "health",
        lambda: condition(api.get(KUSTOMIZATION, "infrastructure", "flux-system")).get("status") == "True",
        300,
        0.5,
    )


def test_a_file_that_asks_for_more_rights_is_refused_and_changes_nothing(api: Api, checkout: saas.Checkout) -> None:
    path = TENANTS / "advanced" / "tenant-3.yaml"
    with edited(checkout, path, r"  serviceAccountName: tenant-reconciler\n", ""):

        def refused() -> bool:
            found = condition(api.get(KUSTOMIZATION, "tenants", "flux-system"))
            return "set spec.serviceAccountName to tenant-reconciler" in found.get("message", "")

        wait_for("the refusal in the condition", refused, 180, 0.3)
        assert (saas.release(api, "tenant-3") or {})["spec"]["serviceAccountName"] == "tenant-reconciler"
        assert saas.environment_of("tenant-3", "consumer") == "tenant-3", "what runs goes on"
    wait_for(
        "the corrected file",
        lambda: condition(api.get(KUSTOMIZATION, "tenants", "flux-system")).get("status") == "True",
        180,
        0.3,
    )


TEMPLATE = Path("application-plane/production/tier-templates/basic_tenant_template.yaml")
BAD = {
    "no-account": ("  serviceAccountName: tenant-reconciler\n", ""),
    "other-account": ("serviceAccountName: tenant-reconciler", "serviceAccountName: default"),
    "other-chart": ("chart: helm-tenant-chart", "chart: application-chart"),
    "other-source": ("kind: HelmRepository", "kind: GitRepository"),
    "other-target": ("targetNamespace: flux-tenants", "targetNamespace: kube-system"),
    "other-storage": ("storageNamespace: flux-tenants", "storageNamespace: default"),
    "kube-config": ("  interval: 10m\n", "  interval: 10m\n  kubeConfig:\n    secretRef:\n      name: other\n"),
    "secret-values": ("kind: ConfigMap\n      name: cluster-values", "kind: Secret\n      name: registry"),
    "unknown-field": ("  interval: 10m\n", "  interval: 10m\n  chartVersion: 1\n"),
    "other-namespace": (
        "apiVersion: helm",
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: gateway\n---\napiVersion: helm",
    ),
    "old-version": ("helm.toolkit.fluxcd.io/v2", "helm.toolkit.fluxcd.io/v2beta1"),
    "unknown-kind": ("kind: HelmRelease", "kind: HelmChartRelease"),
    "no-namespace": ("  namespace: flux-tenants\n", ""),
    "missing-namespace": ("  namespace: flux-tenants\n", "  namespace: not-there\n"),
}
"""What each bad file has in the place of the template's text."""
UNBUILDABLE = {
    "not-yaml": ("kind: HelmRelease", "kind: Helm: Release"),
    "twice": ("  name: tenant-template\n", "  name: tenant-2\n"),
}
"""Likewise, of files that kustomize cannot build."""


@pytest.mark.parametrize("bad", [BAD, UNBUILDABLE], ids=["refused", "unbuildable"])
def test_bad_files_in_one_commit_hold_up_no_other_tenant(
    bad: dict[str, tuple[str, str]], api: Api, checkout: saas.Checkout, note: Any
) -> None:
    good = saas.new_tenant("beside-bad")
    folder = TENANTS / "basic"
    files = {}

    def write(root: Path) -> None:
        template = (root / TEMPLATE).read_text()
        listing = root / folder / "kustomization.yaml"
        absent = "- not-there.yaml\n" if bad is UNBUILDABLE else ""
        for kind, (old, new) in {**bad, good: ("", "")}.items():
            name = good if kind == good else saas.new_tenant("bad")
            assert old in template, kind
            text = template.replace(old, new, 1) if old else template
            files[name] = folder / f"{name}.yaml"
            (root / files[name]).write_text(text.replace("tenant-template", name))
            listing.write_text(f"{listing.read_text().rstrip()}\n- {name}.yaml\n")
        listing.write_text(listing.read_text() + absent)

    begin = time.monotonic()
    checkout.commit(f"{len(bad)} bad tenants and a good one", write)
    wait_for("the good tenant's answer", lambda: saas.environment_of(good, "producer"), 300, 0.3)
    answered = time.monotonic() - begin
    others = len(api.list(RELEASE, "flux-tenants"))
    note(f"{len(bad)} refused files beside a good one, {others} releases: it answers after {answered:.1f} s")
    head = checkout.head()
    for name, path in files.items():
        there = checkout.git("ls-tree", "--name-only", head, str(path)).strip()
        assert bool(there) == (name == good), f"{name}: {there or 'taken back'}"
    assert "Take back" in checkout.git("log", "--format=%s", "-5", head)
    assert {name for name in files if saas.release(api, name)} == {good}
    saas.tenantctl("offboard", good)


def test_a_release_without_an_account_has_no_rights(api: Api) -> None:
    """Flux's own lock-down, where no policy of ours applies."""
    chart = {"chart": "tofu-controller", "sourceRef": {"kind": "HelmRepository", "name": "tofu-controller"}}
    release = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "no-account", "namespace": "flux-system"},
        "spec": {"interval": "10m", "chart": {"spec": chart}},
    }
    api.apply(release)
    try:

        def forbidden() -> bool:
            found = api.get(RELEASE, "no-account", "flux-system")
            return "system:serviceaccount:flux-system:default" in condition(found).get("message", "")

        wait_for("the missing rights in the condition", forbidden, 120, 0.3)
    finally:
        api.delete(RELEASE, "no-account", "flux-system")


def test_a_registry_that_is_gone_stops_nothing_that_runs(api: Api) -> None:
    sent = Load("tenant-1", rate=50, workers=4)
    with load(sent), frozen("harbor"):
        time.sleep(10)
    assert sent.bad == {}, str(sent)


def test_a_git_server_that_is_gone_is_caught_up_with(api: Api) -> None:
    tenant = saas.new_tenant("while-gone")
    sent = Load("tenant-1", rate=50, workers=4)
    with load(sent), frozen("git"):
        saas.send_message("onboarding", tenant_id=tenant, tenant_tier="basic", release_version="0.0")

        def is_reported() -> bool:
            return condition(api.get(SOURCE, "flux-system", "flux-system")).get("status") == "False"

        api.patch(
            SOURCE,
            "flux-system",
            "flux-system",
            {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(time.time())}}},
        )
        wait_for("the source's condition", is_reported, 150, 0.5)
    assert sent.bad == {}, str(sent)
    wait_for("the tenant whose message came meanwhile", lambda: saas.environment_of(tenant, "producer"), 300, 0.5)
    saas.tenantctl("offboard", tenant)
