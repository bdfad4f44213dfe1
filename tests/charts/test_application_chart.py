"""The chart of one app without tenants. Promises of every release are in `test_every_release.py`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from combinations import APPLICATION_CASES, Case, Values, installed, merge
from engine import APPLICATION_CHART, notes
from manifests import Release, matches

IMAGE: Values = {"image": {"repository": "onboarding-service", "tag": "0.1"}}

ORIGINAL: Values = {
    "replicaCount": 1,
    "image": {"repository": "onboarding-service", "pullPolicy": "IfNotPresent", "tag": "0.1"},
    "imagePullSecrets": [],
    "nameOverride": "",
    "fullnameOverride": "",
    "serviceAccount": {"create": True, "annotations": {}, "name": ""},
    "podAnnotations": {},
    "podSecurityContext": {},
    "securityContext": {},
    "service": {"type": "ClusterIP", "port": 80},
    "ingress": {
        "enabled": False,
        "className": "",
        "annotations": {},
        "hosts": [{"host": "chart-example.local", "paths": [{"path": "/", "pathType": "ImplementationSpecific"}]}],
        "tls": [],
    },
    "resources": {},
    "autoscaling": {"enabled": False, "minReplicas": 1, "maxReplicas": 100, "targetCPUUtilizationPercentage": 80},
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {},
}
"""Every key of the original sample's chart, which `helm create` made."""


def application(*values: Values, name: str = "onboarding-service") -> Release:
    case = Case("", APPLICATION_CHART, json.dumps(merge(IMAGE, *values)), name, "control-plane")
    return installed(case)


def test_the_original_values_make_the_original_objects() -> None:
    release = application(ORIGINAL)
    (deployment,) = release.of("Deployment")
    name = "onboarding-service-application-chart"
    assert deployment["metadata"]["name"] == name
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "application-chart",
        "app.kubernetes.io/instance": "onboarding-service",
    }
    assert deployment["spec"]["replicas"] == 1
    assert [o["metadata"]["name"] for o in release.of("Service", "ServiceAccount")] == [name, name]
    assert release.of("Ingress", "HTTPRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget") == []


def test_a_route_leads_to_the_service_and_the_service_to_the_pods() -> None:
    hosts = [{"host": "a.example.com", "paths": [{"path": "/", "pathType": "Prefix"}]}]
    release = application(
        {"ingress": {"enabled": True, "className": "alb", "hosts": hosts}},
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "apps"}]}},
    )
    (service,), (ingress,), (route,) = release.of("Service"), release.of("Ingress"), release.of("HTTPRoute")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"] in ({"number": 80}, {"name": "http"})
    backend = route["spec"]["rules"][0]["backendRefs"][0]
    assert (backend["name"], backend["port"]) == (service["metadata"]["name"], 80)
    (deployment,) = release.of("Deployment")
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ports = {p["name"] for p in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports


def test_an_autoscaler_owns_the_number_of_pods() -> None:
    release = application({"autoscaling": {"enabled": True, "minReplicas": 2}})
    (deployment,) = release.of("Deployment")
    assert "replicas" not in deployment["spec"]
    (scaler,) = release.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_a_disruption_budget_needs_a_second_pod(replicas: int, budgets: int) -> None:
    assert len(application({"replicaCount": replicas}).of("PodDisruptionBudget")) == budgets


def test_a_closed_network_is_a_choice() -> None:
    assert application().of("NetworkPolicy") == []
    (policy,) = application({"networkPolicy": {"enabled": True}}).of("NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    blocks = [p["ipBlock"] for rule in policy["spec"].get("egress", []) for p in rule.get("to", []) if "ipBlock" in p]
    for block in blocks:
        assert block["cidr"] != "0.0.0.0/0" or any(e.startswith("169.254") for e in block.get("except", []))


@pytest.mark.parametrize("name", ["a", "release-of-a-name-that-is-as-long-as-helm-allows-it"])
def test_long_names_are_cut_to_63_characters(name: str) -> None:
    for o in application(name=name).objects:
        assert len(o["metadata"]["name"]) <= 63


@pytest.mark.parametrize("case", APPLICATION_CASES, ids=str)
def test_monitors_and_probes_find_their_port(case: Case) -> None:
    release = installed(case)
    (deployment,) = release.of("Deployment")
    pod = deployment["spec"]["template"]
    container = pod["spec"]["containers"][0]
    ports = {p["name"] for p in container["ports"]} | {p["containerPort"] for p in container["ports"]}
    for monitor in release.of("PodMonitor"):
        assert matches(monitor["spec"]["selector"], pod["metadata"]["labels"])
        assert {e.get("port") or e["portNumber"] for e in monitor["spec"]["podMetricsEndpoints"]} <= ports
    for monitor in release.of("ServiceMonitor"):
        (service,) = release.of("Service")
        assert matches(monitor["spec"]["selector"], service["metadata"]["labels"])
        named = {p["name"] for p in service["spec"]["ports"]}
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint.get("port") in named or endpoint.get("targetPort") in ports
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        handler = container[probe]
        assert (handler.get("httpGet") or handler["tcpSocket"])["port"] in ports


@pytest.mark.parametrize("case", APPLICATION_CASES, ids=str)
def test_the_app_gets_sigterm_before_it_is_killed(case: Case) -> None:
    (deployment,) = installed(case).of("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    sleep = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] > sleep


def test_the_token_is_mounted_only_on_request() -> None:
    def mounted(**values: Any) -> list[bool]:
        pods = (t["spec"] for o, t in application(values).workloads() if o["kind"] == "Deployment")
        return [pod["automountServiceAccountToken"] for pod in pods]

    assert mounted() == [False]
    assert mounted(serviceAccount={"automountToken": True}) == [True]


def test_notes_are_written() -> None:
    assert "onboarding-service" in notes(APPLICATION_CHART, IMAGE, "onboarding-service", "control-plane")
