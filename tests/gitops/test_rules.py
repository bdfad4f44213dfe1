"""The tree keeps its rules, and each rule reports a broken tree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repository import GITOPS, TEMPLATES, TENANTS, Repository
from rules import RULES, TEMPLATE_ID

SEED = Repository(GITOPS)
ONBOARDED = {"tenant-1": "premium", "tenant-2": "basic", "tenant-3": "advanced"}


@pytest.mark.parametrize("name", RULES)
def test_the_seed_keeps_the_rule(name: str) -> None:
    assert list(RULES[name](SEED)) == []


@pytest.mark.parametrize(("tenant", "tier"), ONBOARDED.items())
def test_the_seeds_tenants_equal_what_onboarding_writes(tenant: str, tier: str) -> None:
    template = SEED.text(TEMPLATES / f"{tier}_tenant_template.yaml")
    assert SEED.text(TENANTS / tier / f"{tenant}.yaml") == template.replace(TEMPLATE_ID, tenant)


Break = Callable[[Path], None]


def replace(path: str, old: str, new: str) -> Break:
    def apply(root: Path) -> None:
        text = (root / path).read_text()
        assert text.count(old) >= 1, f"{path} has no {old!r}"
        (root / path).write_text(text.replace(old, new, 1))

    return apply


def append(path: str, text: str) -> Break:
    return lambda root: (root / path).write_text((root / path).read_text() + text) and None


def remove(path: str) -> Break:
    return lambda root: (root / path).unlink()


def copy(path: str, to: str) -> Break:
    return lambda root: shutil.copy(root / path, root / to) and None


PREMIUM = "application-plane/production/tenants/premium"
BASIC = "application-plane/production/tenants/basic"
TENANT = f"{PREMIUM}/tenant-1.yaml"
TEMPLATE = "application-plane/production/tier-templates/basic_tenant_template.yaml"
ARGO = "control-plane/overlays/argo"
INFRASTRUCTURE = "infrastructure/production/kustomization.yaml"
COMPONENTS = "infrastructure/components"

SECOND_WRITER = """---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata:
  name: second
  namespace: flux-system
spec:
  update:
    path: ./
"""

BROKEN: dict[str, tuple[str, Break]] = {
    "a wrong indent": ("every_file_parses", replace(TENANT, "  interval: 10m", "   interval: 10m")),
    "a wrong indent in a template": ("every_file_parses", replace(TEMPLATE, "  values:", "   values:")),
    "a wrong indent in the shared values": (
        "every_file_parses",
        replace("clusters/production/tenancy/cluster-values.yaml", "      imageRegistry", "    imageRegistry"),
    ),
    "a repeated key": ("every_file_parses", append(TENANT, "  interval: 1m\n")),
    "a repeated entry": ("every_list_is_complete", append(f"{PREMIUM}/kustomization.yaml", "- tenant-1.yaml\n")),
    "a repeated entry, for kustomize": (
        "every_kustomization_builds",
        append(INFRASTRUCTURE, "- ../components/karpenter\n"),
    ),
    "a missing file": ("every_list_is_complete", remove(TENANT)),
    "a missing file, for kustomize": ("every_kustomization_builds", remove(TENANT)),
    "an unlisted file": ("every_list_is_complete", copy(TENANT, f"{PREMIUM}/tenant-9.yaml")),
    "a list that is not sorted": (
        "every_list_is_complete",
        replace(
            "application-plane/production/tenants/kustomization.yaml", "- advanced\n- basic", "- basic\n- advanced"
        ),
    ),
    "a misspelt key of a kustomization": (
        "every_list_is_complete",
        replace(f"{PREMIUM}/kustomization.yaml", "resources:", "resource:"),
    ),
    "an unused component": (
        "everything_is_used",
        lambda root: shutil.copytree(root / COMPONENTS / "karpenter", root / COMPONENTS / "another") and None,
    ),
    "a missing setting": (
        "every_setting_is_defined_and_used",
        replace("clusters/homelab/cluster-settings.yaml", "  HOSTNAME:", "  HOST:"),
    ),
    "placeholders that Flux does not replace": (
        "every_setting_is_defined_and_used",
        replace(
            "clusters/production/sources.yaml",
            "  postBuild:\n    substituteFrom:\n      - kind: ConfigMap\n        name: cluster-settings\n",
            "",
        ),
    ),
    "a missing source": (
        "every_reference_resolves",
        replace(f"{COMPONENTS}/kubecost/release.yaml", "        name: kubecost", "        name: cubecost"),
    ),
    "a missing pool": (
        "every_reference_resolves",
        replace(f"{BASIC}/tenant-2.yaml", "name: pool-1", "name: pool-2"),
    ),
    "a missing account": (
        "every_reference_resolves",
        replace("clusters/production/tenants.yaml", "tenant-applier", "tenant-applyer"),
    ),
    "a missing workflow template": (
        "every_reference_resolves",
        replace(f"{ARGO}/sensor.yaml", "                  name: lifecycle", "                  name: lifecycles"),
    ),
    "a missing role": (
        "every_reference_resolves",
        replace(
            "infrastructure/base/tenancy/reconciler.yaml",
            "  kind: Role\n  name: tenant-reconciler",
            "  kind: Role\n  name: other",
        ),
    ),
    "tenants before their pools": (
        "kustomizations_are_ordered",
        replace(
            "clusters/production/tenants.yaml",
            "    - name: pooled-envs\n      readyExpr: has(dep.status.lastAppliedRevision)\n",
            "",
        ),
    ),
    "a namespace that comes too late": (
        "a_new_cluster_can_begin",
        replace("clusters/production/tenants.yaml", "  namespace: flux-system", "  namespace: tenantry"),
    ),
    "a namespace that nothing makes": (
        "every_reference_resolves",
        replace("clusters/production/kustomization.yaml", "- flux-tenants.yaml\n", ""),
    ),
    "a Kustomization without an account": (
        "everything_holds_with_flux_locked_down",
        replace("clusters/production/sources.yaml", "  serviceAccountName: kustomize-controller\n", ""),
    ),
    "a component without an account": (
        "everything_holds_with_flux_locked_down",
        replace(f"{COMPONENTS}/kubecost/release.yaml", "  serviceAccountName: helm-controller\n", ""),
    ),
    "the root without an account": (
        "everything_holds_with_flux_locked_down",
        replace("clusters/homelab/flux-system/kustomization.yaml", "/spec/serviceAccountName", "/spec/suspend"),
    ),
    "a source of another namespace": (
        "everything_holds_with_flux_locked_down",
        replace(TENANT, "        name: tenantry-charts\n", "        name: tenantry-charts\n        namespace: aws\n"),
    ),
    "a dependency in another namespace": (
        "everything_holds_with_flux_locked_down",
        replace(
            "clusters/homelab/tenants.yaml", "- name: tenancy\n", "- name: tenancy\n      namespace: flux-tenants\n"
        ),
    ),
    "one controller that is not locked down": (
        "everything_holds_with_flux_locked_down",
        replace("clusters/homelab/flux-system/kustomization.yaml", "|notification", ""),
    ),
    "remote bases": (
        "everything_holds_with_flux_locked_down",
        replace(
            "clusters/production/flux-system/kustomization.yaml", "--no-remote-bases=true", "--no-remote-bases=false"
        ),
    ),
    "a resource from outside": (
        "nothing_is_loaded_from_outside",
        append(f"{PREMIUM}/kustomization.yaml", "- https://git.example.com/evil?ref=main\n"),
    ),
    "a component that delays tenants": (
        "a_component_delays_no_tenant",
        replace("clusters/production/tenants.yaml", "      readyExpr: has(dep.status.lastAppliedRevision)\n", ""),
    ),
    "a long wait for a chart's kinds": (
        "what_waits_for_a_charts_kinds_retries_soon",
        replace(f"{COMPONENTS}/envoy-gateway/gateway.yaml", "retryInterval: 5s", "retryInterval: 30s"),
    ),
    "a cycle": (
        "kustomizations_are_ordered",
        replace("clusters/production/sources.yaml", "spec:\n", "spec:\n  dependsOn:\n    - name: infrastructure\n"),
    ),
    "an unlisted object stays": (
        "flux_waits_prunes_and_times_out",
        replace("clusters/production/infrastructure.yaml", "prune: true", "prune: false"),
    ),
    "no timeout": (
        "flux_waits_prunes_and_times_out",
        replace("clusters/production/infrastructure.yaml", "  timeout: 20m\n", ""),
    ),
    "a range of chart versions": (
        "every_version_is_pinned",
        replace(f"{COMPONENTS}/metrics-server/release.yaml", "version: 3.13.1", 'version: ">=3.13.0"'),
    ),
    "a chart without a version": (
        "every_version_is_pinned",
        replace(f"{COMPONENTS}/metrics-server/release.yaml", "      version: 3.13.1\n", ""),
    ),
    "any release": ("every_version_is_pinned", replace(TENANT, "version: 0.0.x", 'version: "*"')),
    "a branch of the module": (
        "every_version_is_pinned",
        replace("infrastructure/base/sources/terraform.yaml", "tag: v0.0.1", "branch: main"),
    ),
    "a floating tag": (
        "every_version_is_pinned",
        replace("control-plane/overlays/worker/worker.yaml", "tenantctl:0.0.1", "tenantctl:latest"),
    ),
    "an image without a tag": (
        "every_version_is_pinned",
        replace(f"{ARGO}/workflow-template.yaml", "tenantctl:0.0.1", "tenantctl"),
    ),
    "the newest machine image": (
        "every_version_is_pinned",
        replace(f"{COMPONENTS}/karpenter/nodes/applications.yaml", "bottlerocket@v", "bottlerocket@latest # v"),
    ),
    "a duration in words": (
        "durations_are_valid",
        replace("clusters/homelab/sources.yaml", "timeout: 5m", "timeout: 5 minutes"),
    ),
    "a removed API version": (
        "current_apis_only",
        replace(TENANT, "helm.toolkit.fluxcd.io/v2", "helm.toolkit.fluxcd.io/v2beta1"),
    ),
    "a second writer of tags": (
        "one_writer_of_image_tags",
        append("infrastructure/base/image-automation/consumer.yaml", SECOND_WRITER),
    ),
    "a marker without a policy": (
        "one_writer_of_image_tags",
        replace(TENANT, "flux-system:producer:tag", "flux-system:producers:tag"),
    ),
    "another id than the file's": (
        "tenants_agree_with_their_files",
        replace(TENANT, "tenantId: tenant-1", "tenantId: tenant-2"),
    ),
    "a release that moves": (
        "tenants_agree_with_their_files",
        replace(TENANT, "targetNamespace: flux-tenants", "targetNamespace: tenant-1"),
    ),
    "another account reconciles": (
        "tenants_agree_with_their_files",
        replace(TENANT, "  serviceAccountName: tenant-reconciler\n", ""),
    ),
    "another tier than the folder's": (
        "tenants_agree_with_their_files",
        replace(TENANT, "    tier: premium", "    tier: basic"),
    ),
    "a tenant in two tiers": ("tenants_agree_with_their_files", copy(TENANT, f"{BASIC}/tenant-1.yaml")),
    "a silo without its namespace": (
        "tenants_agree_with_their_files",
        replace(TENANT, "kind: Namespace", "kind: ConfigMap"),
    ),
    "a secret's content": (
        "no_secret_has_content",
        append(
            f"{ARGO}/accounts.yaml", "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringData:\n  a: b\n"
        ),
    ),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_rule_reports_the_mistake(mistake: str, tmp_path: Path) -> None:
    name, apply = BROKEN[mistake]
    root = tmp_path / "gitops"
    shutil.copytree(GITOPS, root)
    apply(root)
    assert list(RULES[name](Repository(root))) != []


def test_every_rule_has_a_mistake_that_it_reports() -> None:
    assert {name for name, _ in BROKEN.values()} == RULES.keys()
