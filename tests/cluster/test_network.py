"""NetworkPolicies, by real connections: from each kind of pod, and from the node, to each kind of target.

A connection is made in the pod's own network namespace. `open` is a connection. `closed` means that no packet came
back, as under a policy. Not proved here, because this engine does not see them: connections from a pod to an address
of the node itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import saas
from api import Api, Object
from layout import DNS_SERVICE, GIT_ADDRESS, HARBOR_ADDRESS, METADATA_ADDRESS
from machine import wait_for
from node import Target, connections

HTTP, ADMIN = 8080, 9090
# One pod of each: a silo's, another silo's, the pool's.
TENANTS = (("tenant-1", "producer"), ("tenant-1", "consumer"), ("tenant-3", "consumer"), ("pool-1", "producer"))


def client(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": name, "labels": {"app": "client"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "client",
                    "image": "docker.io/curlimages/curl:8.20.0",
                    "command": ["sleep", "3600"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "runAsNonRoot": True,
                        "runAsUser": 100,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def clients(api: Api) -> Iterator[dict[str, Object]]:
    """A pod in the monitoring namespace, and one in a namespace that is not part of the SaaS."""
    found = {}
    for name in ("monitoring", "stranger"):
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        wait_for("its account", lambda name=name: api.find("serviceaccounts", "default", name), 30)
        api.apply(client(name))
    for name in ("monitoring", "stranger"):
        wait_for(
            f"the client in {name}",
            lambda name=name: api.get("pods", "client", name)["status"].get("phase") == "Running",
            60,
        )
        found[name] = api.get("pods", "client", name)
    yield found
    for name in ("monitoring", "stranger"):
        api.delete("namespaces", name)


@pytest.fixture(scope="module")
def apps(api: Api) -> dict[str, Object]:
    return {f"{tenant} {app}": saas.pods(api, tenant, app)[0] for tenant, app in TENANTS}


@pytest.fixture(scope="module")
def gateway(api: Api) -> Object:
    return api.list("pods", "envoy-gateway-system", labelSelector="app=envoy-gateway")[0]


def ports(apps: dict[str, Object], port: int) -> list[Target]:
    return [Target(name, pod["status"]["podIP"], port) for name, pod in apps.items()]


def test_no_app_reaches_another_app(apps: dict[str, Object]) -> None:
    for name, pod in apps.items():
        others = {other: target for other, target in apps.items() if other != name}
        for port in (HTTP, ADMIN):
            assert connections(ports(others, port), pod) == dict.fromkeys(others, "closed"), f"from {name} to {port}"


def test_the_gateway_reaches_what_serves_clients_and_nothing_else(apps: dict[str, Object], gateway: Object) -> None:
    assert connections(ports(apps, HTTP), gateway) == dict.fromkeys(apps, "open")
    assert connections(ports(apps, ADMIN), gateway) == dict.fromkeys(apps, "closed")


def test_monitoring_reaches_metrics_and_nothing_else(apps: dict[str, Object], clients: dict[str, Object]) -> None:
    assert connections(ports(apps, ADMIN), clients["monitoring"]) == dict.fromkeys(apps, "open")
    assert connections(ports(apps, HTTP), clients["monitoring"]) == dict.fromkeys(apps, "closed")


@pytest.mark.parametrize("port", [HTTP, ADMIN])
def test_a_stranger_reaches_no_app(apps: dict[str, Object], clients: dict[str, Object], port: int) -> None:
    assert connections(ports(apps, port), clients["stranger"]) == dict.fromkeys(apps, "closed")


def test_the_node_reaches_every_probe(apps: dict[str, Object]) -> None:
    assert connections(ports(apps, ADMIN)) == dict.fromkeys(apps, "open")


def outside(api: Api) -> dict[str, tuple[Target, str]]:
    """Targets outside the namespace of an app, each with the expected result."""
    localaws = api.list("pods", "aws", labelSelector="app=localaws")[0]["status"]["podIP"]
    worker = api.list("pods", "tenantry", labelSelector="app.kubernetes.io/name=tenantctl-worker")[0]["status"]["podIP"]
    source = api.list("pods", "flux-system", labelSelector="app=source-controller")[0]["status"]["podIP"]
    found = [
        (Target("the AWS endpoint", localaws, 4566), "open"),
        (Target("names over UDP", DNS_SERVICE, 53, "udp"), "open"),
        (Target("names over TCP", DNS_SERVICE, 53), "open"),
        (Target("HTTPS outside", GIT_ADDRESS, 443), "open"),
        (Target("another port outside", HARBOR_ADDRESS, 22), "closed"),
        (Target("instance metadata", METADATA_ADDRESS, 80), "closed"),
        (Target("the control plane's worker", worker, ADMIN), "closed"),
        (Target("Flux", source, 9090), "closed"),
    ]
    return {target.name: (target, expected) for target, expected in found}


def test_an_app_reaches_what_it_needs_and_nothing_else(api: Api, apps: dict[str, Object]) -> None:
    expected = outside(api)
    for name, pod in apps.items():
        found = connections([target for target, _ in expected.values()], pod)
        assert found == {k: what for k, (_, what) in expected.items()}, f"from {name}"


def test_the_worker_reaches_git_and_the_endpoint_and_nothing_else(api: Api, apps: dict[str, Object]) -> None:
    (worker,) = api.list("pods", "tenantry", labelSelector="app.kubernetes.io/name=tenantctl-worker")
    expected = outside(api)
    del expected["the control plane's worker"]
    found = connections([target for target, _ in expected.values()], worker)
    assert found == {k: what for k, (_, what) in expected.items()}
    assert connections(ports(apps, HTTP), worker) == dict.fromkeys(apps, "closed")


def test_nothing_reaches_the_worker_but_monitoring(api: Api, clients: dict[str, Object], gateway: Object) -> None:
    (worker,) = api.list("pods", "tenantry", labelSelector="app.kubernetes.io/name=tenantctl-worker")
    target = [Target("worker", worker["status"]["podIP"], ADMIN)]
    sources: dict[str, Any] = {**clients, "gateway": gateway}
    found = {name: connections(target, pod)["worker"] for name, pod in sources.items()}
    assert found == {"monitoring": "open", "stranger": "closed", "gateway": "closed"}


def test_without_a_policy_the_engine_lets_pass(clients: dict[str, Object], gateway: Object) -> None:
    """Without this, `closed` in the other tests would prove nothing."""
    target = [Target("gateway", gateway["status"]["podIP"], 8080)]
    assert connections(target, clients["stranger"]) == {"gateway": "open"}
