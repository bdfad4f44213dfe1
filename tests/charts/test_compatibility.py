"""A HelmRelease written for the chart of aws-samples/eks-saas-gitops keeps working when it is upgraded in place.

It depends on names and labels: other objects find objects by them, tenants and pools are upgraded at different times,
and a Deployment's selector is immutable.
"""

from __future__ import annotations

import json

import pytest

from cluster import Answer, Cluster
from combinations import ORIGINAL_VALUES, ORIGINALS, POOL, TENANT_CASES, Case, installed, merge
from manifests import Release, full_name, selects
from test_every_release import services_pods

TIERS = ("premium", "basic", "advanced", "pool")


@pytest.mark.parametrize("suffix", ["", "-whole"])
def test_the_walk_through(suffix: str) -> None:
    cluster = Cluster(tuple(installed(ORIGINALS[f"{tier}{suffix}"]) for tier in TIERS))
    environments = {
        ("tenant-1", "producer"): "tenant-1",
        ("tenant-1", "consumer"): "tenant-1",
        ("tenant-2", "producer"): POOL,
        ("tenant-2", "consumer"): POOL,
        ("tenant-3", "producer"): POOL,
        ("tenant-3", "consumer"): "tenant-3",
    }
    for (tenant, app), environment in environments.items():
        assert cluster.answer(f"/{app}", tenant) == Answer(environment, app)


@pytest.mark.parametrize("suffix", ["", "-whole"])
def test_payments_do_not_start_by_default(suffix: str) -> None:
    for tier in TIERS:
        assert not [o for o in installed(ORIGINALS[f"{tier}{suffix}"]).objects if "payments" in o["metadata"]["name"]]


@pytest.mark.parametrize("case", TENANT_CASES, ids=str)
def test_selectors_equal_those_of_the_original_chart(case: Case) -> None:
    for deployment in installed(case).of("Deployment"):
        app = deployment["spec"]["template"]["spec"]["containers"][0]["name"]
        assert deployment["metadata"]["name"] == f"{case.tenant}-{app}"
        assert deployment["spec"]["selector"] == {
            "matchLabels": {
                "app.kubernetes.io/name": f"helm-tenant-chart-{app}"[:63],
                "app.kubernetes.io/instance": case.name,
                "app": f"{case.tenant}-{app}",
            }
        }


@pytest.mark.parametrize("case", TENANT_CASES, ids=str)
def test_services_and_pods_of_both_charts_match(case: Case) -> None:
    """The old chart's Services select the label `app` and name the port; either side may be upgraded first."""
    for owner, template in services_pods(installed(case)):
        app = template["spec"]["containers"][0]["name"]
        assert template["metadata"]["labels"]["app"] == f"{case.tenant}-{app}", full_name(owner)
    for service in installed(case).of("Service"):
        app = service["metadata"]["name"].removeprefix(f"{case.tenant}-")
        values = merge(case.values.get("appDefaults", {}), case.values["apps"].get(app, {}))
        home = case.tenant if values.get("enabled", True) else values["envId"]
        old_pod = {
            "app.kubernetes.io/name": f"helm-tenant-chart-{app}",
            "app.kubernetes.io/instance": home,
            "app": f"{home}-{app}",
        }
        if home != case.tenant:
            assert selects(service["spec"]["selector"], old_pod), f"{full_name(service)}: {service['spec']['selector']}"


@pytest.mark.parametrize("tier", TIERS)
def test_names_are_kept(tier: str) -> None:
    case = ORIGINALS[f"{tier}-whole"]
    release = installed(case)
    apps = {"premium": 2, "advanced": 1, "basic": 0, "pool": 2}[tier]
    assert len(release.of("Deployment")) == len(release.of("ServiceAccount")) == apps
    for o in release.of("Deployment", "Service", "ServiceAccount"):
        assert o["metadata"]["name"] in (f"{case.tenant}-producer", f"{case.tenant}-consumer"), full_name(o)
    for o in release.of("Ingress"):
        assert o["metadata"]["name"] in (f"{case.tenant}-ingress-producer", f"{case.tenant}-ingress-consumer")


def whole(**values: object) -> Release:
    case = ORIGINALS["premium-whole"]
    return installed(Case("", case.chart, json.dumps(merge(case.values, values)), case.name, case.namespace))


def test_every_value_takes_effect() -> None:
    release = installed(ORIGINALS["premium-whole"])
    for deployment in release.of("Deployment"):
        assert deployment["spec"]["replicas"] == 3
        pod = deployment["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == ORIGINAL_VALUES["global"]["nodeSelector"]
        assert pod["tolerations"] == ORIGINAL_VALUES["global"]["tolerations"]
        container = pod["containers"][0]
        assert container["image"] == "123456789012.dkr.ecr.us-west-2.amazonaws.com/app:0.1"
        assert container["imagePullPolicy"] == "Always"
        assert container["resources"] == ORIGINAL_VALUES["apps"]["producer"]["resources"]
    for service in release.of("Service"):
        assert [(p["name"], p["port"], p["targetPort"]) for p in service["spec"]["ports"]][0] == ("http", 80, "http")


def test_autoscaling_uses_a_served_api_version() -> None:
    autoscaling = {"enabled": True, "targetMemoryUtilizationPercentage": 70}
    (scaler,) = whole(apps={"producer": {"autoscaling": autoscaling}}).of("HorizontalPodAutoscaler")
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 100)
    targets = {m["resource"]["name"]: m["resource"]["target"]["averageUtilization"] for m in scaler["spec"]["metrics"]}
    assert targets == {"cpu": 80, "memory": 70}


def test_a_service_account_may_be_left_out() -> None:
    release = whole(apps={"producer": {"serviceAccount": {"create": False}}})
    assert [o["metadata"]["name"] for o in release.of("ServiceAccount")] == ["tenant-1-consumer"]
    producer = release.find("Deployment", "tenant-1-producer")
    assert producer["spec"]["template"]["spec"]["serviceAccountName"] == "default"


def test_annotations_of_the_ingress_are_added() -> None:
    release = whole(apps={"producer": {"ingress": {"annotations": {"example.com/a": "b"}}}})
    assert release.find("Ingress", "tenant-1-ingress-producer")["metadata"]["annotations"]["example.com/a"] == "b"


def test_the_disabled_producer_of_the_walk_through() -> None:
    """Disabling the producer removes its Deployment and keeps its route."""
    on = whole()
    off = whole(apps={"producer": {"enabled": False}})
    assert {full_name(o) for o in on.of("Deployment")} == {
        "Deployment/tenant-1-producer",
        "Deployment/tenant-1-consumer",
    }
    assert {full_name(o) for o in off.of("Deployment")} == {"Deployment/tenant-1-consumer"}
    assert off.namespace_of(off.find("Ingress", "tenant-1-ingress-producer")) == POOL
    assert Cluster((off, installed(ORIGINALS["pool"]))).answer("/producer", "tenant-1") == Answer(POOL, "producer")
