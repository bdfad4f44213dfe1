"""Flux's releases of pools and tenants, rendered by real Helm with values merged as Flux merges them."""

from __future__ import annotations

import pytest
import yaml

from cluster import ALB, Cluster
from combinations import APPS, installed
from engine import KUBERNETES, TENANT_CHART, RenderError
from pod_security import violations
from released import SEED, case_of, cases, rendered, templates
from repository import CLUSTERS, GITOPS
from rules import RELEASE, tenant_releases
from schemas import Checker
from test_routes import check_walk_through


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_each_tenant_reaches_its_environment(cluster: str) -> None:
    check_walk_through(Cluster(rendered(cluster)))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_pool_has_no_route_and_every_tenant_has_three(cluster: str) -> None:
    kind = {"production": "Ingress", "homelab": "HTTPRoute"}[cluster]
    routes = {release.name: len(release.of("Ingress", "HTTPRoute", "IngressRoute")) for release in rendered(cluster)}
    assert routes == {"pool-1": 0, "tenant-1": len(APPS), "tenant-2": len(APPS), "tenant-3": len(APPS)}
    assert all(o["kind"] == kind for r in rendered(cluster) for o in r.of("Ingress", "HTTPRoute", "IngressRoute"))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_namespace_a_release_needs_is_applied(cluster: str) -> None:
    there = {o["metadata"]["name"] for o in SEED.objects(cluster) if o["kind"] == "Namespace"}
    needed = {release.namespace_of(o) for release in rendered(cluster) for o in release.objects}
    assert needed <= there


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_rendered_object_has_the_shape_of_its_kind(kubernetes: str, checker: Checker) -> None:
    everything = [installed(c, kubernetes) for cluster in CLUSTERS for c in (*cases(cluster), *templates(cluster))]
    checker.prepare(o for release in everything for o in release.objects)
    assert {e for release in everything for o in release.objects for e in checker.errors(o, kubernetes)} == set()


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_pod_passes_the_standard_of_its_namespace(cluster: str) -> None:
    for release in (*rendered(cluster), *map(installed, templates(cluster))):
        for _, template in release.workloads():
            assert violations(template["spec"]) == []


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_module_finds_its_source_in_the_tenants_namespace(cluster: str) -> None:
    sources = {
        (o["kind"], o["metadata"]["namespace"], o["metadata"]["name"])
        for o in SEED.objects(cluster)
        if o["kind"] == "GitRepository"
    }
    for release in (*rendered(cluster), *map(installed, templates(cluster))):
        (terraform,) = release.of("Terraform")
        source, namespace = terraform["spec"]["sourceRef"], terraform["metadata"]["namespace"]
        assert namespace == "flux-tenants"
        assert (source["kind"], namespace, source["name"]) in sources
        assert terraform["spec"]["destroyResourcesOnDeletion"] is False


def test_the_homelab_uses_nothing_of_aws() -> None:
    # A policy names what it refuses.
    objects = (o for o in SEED.objects("homelab") if o["kind"] != "ValidatingAdmissionPolicy")
    text = "".join(map(yaml.safe_dump, objects))
    text += "".join(yaml.safe_dump(o) for release in rendered("homelab") for o in release.objects)
    for word in ("amazonaws", "provider: aws", "karpenter", ALB, "eks.amazonaws.com", "${"):
        assert word not in text, word


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_images_come_from_the_clusters_registry(cluster: str) -> None:
    registry = SEED.settings(cluster)["REGISTRY"]
    for release in rendered(cluster):
        for deployment in release.of("Deployment"):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            assert container["image"] == f"{registry}/{container['name']}:0.0.1"


def test_the_seed_requests_the_charts_own_version() -> None:
    chart = yaml.safe_load((TENANT_CHART / "Chart.yaml").read_text())["version"]
    wanted = {r["spec"]["chart"]["spec"]["version"] for r in tenant_releases(SEED, "production")}
    assert wanted == {"0.0.x"}
    assert RELEASE.fullmatch(chart)
    assert chart.rpartition(".")[0] == "0.0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    tenantId: tenant-2", "    tenantID: tenant-2"),
        ("        envId: pool-1", "        envID: pool-1"),
        ("        enabled: false", "        enabled: maybe"),
        ("      enabled: true\n", "      enabled: true\n      tfVersions: v2\n"),
    ],
)
def test_a_value_that_the_chart_does_not_know_is_refused(old: str, new: str) -> None:
    path = GITOPS / "application-plane/production/tenants/basic/tenant-2.yaml"
    text = path.read_text()
    assert old in text
    (release,) = (d for d in yaml.safe_load_all(text.replace(old, new)) if d["kind"] == "HelmRelease")
    with pytest.raises(RenderError):
        installed(case_of(SEED, "production", release))
