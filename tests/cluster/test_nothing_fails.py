"""Disturbs pods, node and control plane while clients send 200 requests per second: no answer is lost.

Each answer is 200, or 503 with `Retry-After`; on rolling updates and drains every request is answered. Each accepted
message is stored, once.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
import node
import pki
import saas
from api import Api, Object
from layout import API_HOST
from machine import ClusterError, wait_for
from saas import Load, check_stored, load

SECONDS_AROUND = 3


def loads(method: str = "POST") -> list[Load]:
    """200 requests per second: to a premium, a basic and an advanced tenant."""
    return [
        Load("tenant-1", method=method, rate=70),
        Load("tenant-2", method=method, rate=70),
        Load("tenant-3", method=method, rate=60),
    ]


def during(disturbance: Callable[[], object], *, errors_allowed: bool = False, note: Any = None) -> list[Load]:
    """Sends before, during and after a disturbance, then checks every answer and the stored messages."""
    sent = loads()
    with load(*sent):
        time.sleep(SECONDS_AROUND)
        begin = time.monotonic()
        disturbance()
        took = time.monotonic() - begin
        time.sleep(SECONDS_AROUND)
    if note:
        name = getattr(disturbance, "__name__", "disturbance")
        requests = sum(sum(one.outcomes.values()) for one in sent)
        note(f"{name}: {took:.1f} s, {requests} requests, {[str(s) for s in sent]}")
    for one in sent:
        bad = one.bad if not errors_allowed else {k: n for k, n in one.bad.items() if k[:3].isdigit()}
        assert bad == {}, str(one)
    check_stored(*sent)
    return sent


def restart_rollout(api: Api, namespace: str, name: str) -> None:
    """As `kubectl rollout restart` does."""
    stamp = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
    change = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    api.patch("deployments.apps", name, namespace, change)
    wait_for(f"the rollout of {name}", lambda: saas.rolled_out(api, namespace, name), 180, 0.2)


DEPLOYMENTS = [
    ("tenant-1", "tenant-1-producer"),
    ("tenant-1", "tenant-1-consumer"),
    ("pool-1", "pool-1-producer"),
    ("pool-1", "pool-1-consumer"),
    ("tenant-3", "tenant-3-consumer"),
]


@pytest.mark.parametrize(("namespace", "name"), DEPLOYMENTS)
def test_a_rolling_update_loses_nothing(api: Api, note: Any, namespace: str, name: str) -> None:
    def rolling_update() -> None:
        restart_rollout(api, namespace, name)

    during(rolling_update, note=note)


@pytest.mark.usefixtures("doubled")
def test_a_drain_of_every_tenants_pods_loses_nothing(api: Api, note: Any) -> None:
    def drain() -> None:
        for namespace in ("tenant-1", "tenant-3", "pool-1"):
            assert api.list("poddisruptionbudgets.policy", namespace), f"{namespace} has no budget"
        node.drain(api, ("tenant-1", "tenant-3", "pool-1"))

    during(drain, note=note)


VALUES = Path("clusters/homelab/tenancy/cluster-values.yaml")


@pytest.fixture(scope="module")
def doubled(api: Api, checkout: saas.Checkout) -> Iterator[None]:
    """Every app of the tenants with two replicas and the budget that goes with them, by the cluster's values.

    With one replica, a kill or a drain leaves a gap. The CPU requests of three replicas do not fit on two cores.
    """
    scale(api, checkout, 2)
    yield
    scale(api, checkout, 1)


def scale(api: Api, checkout: saas.Checkout, replicas: int) -> None:
    line = f"replicaCount: {replicas}"

    def edit(folder: Path) -> None:
        (folder / VALUES).write_text(re.sub(r"replicaCount: \d+", line, (folder / VALUES).read_text()))

    checkout.commit(f"{replicas} replicas", edit)
    wait_for(
        "the values", lambda: line in str(api.get("configmaps", "cluster-values", "flux-tenants")["data"]), 120, 0.3
    )
    for tenant in ("pool-1", "tenant-1", "tenant-3"):
        flux.reconcile(api, flux.RELEASE, tenant, "flux-tenants")
    for namespace, name in DEPLOYMENTS:
        wait_for(name, lambda n=namespace, d=name: saas.rolled_out(api, n, d), 180, 0.2)
        assert api.get("deployments.apps", name, namespace)["spec"]["replicas"] == replicas


@pytest.mark.parametrize(("tenant", "app"), [("pool-1", "producer"), ("pool-1", "consumer"), ("tenant-3", "consumer")])
@pytest.mark.usefixtures("doubled")
def test_a_killed_program_loses_nothing_that_was_accepted(api: Api, note: Any, tenant: str, app: str) -> None:
    def out_of_memory() -> None:
        (pod, *_) = saas.pods(api, tenant, app)
        restarts = pod["status"]["containerStatuses"][0]["restartCount"]
        node.kill(pod)

        def is_back() -> bool:
            now: Object = api.get("pods", pod["metadata"]["name"], pod["metadata"]["namespace"])
            status = now["status"]["containerStatuses"][0]
            return bool(status["restartCount"] > restarts and status["ready"])

        wait_for("its restart", is_back, 120, 0.2)

    # The proxy answers 502 for the requests that were in progress in the killed process.
    sent = loads()
    with load(*sent):
        time.sleep(SECONDS_AROUND)
        out_of_memory()
        time.sleep(SECONDS_AROUND)
    note(f"kill of {tenant} {app}: {[str(one) for one in sent]}")
    for one in sent:
        assert set(one.bad) <= {"502"}, str(one)
    check_stored(*sent)


@pytest.mark.usefixtures("doubled")
def test_a_deleted_pod_loses_nothing(api: Api, note: Any) -> None:
    def pod_delete() -> None:
        for tenant, app in (("pool-1", "producer"), ("tenant-1", "producer")):
            (pod, *_) = saas.pods(api, tenant, app)
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            api.delete("pods", name, namespace)
            wait_for("its end", lambda n=name, s=namespace: api.find("pods", n, s) is None, 120, 0.2)

    during(pod_delete, note=note)


def test_the_api_server_restarts_and_no_client_notices(api: Api, note: Any) -> None:
    def api_server_restart() -> None:
        # SIGKILL, as in a crash: after SIGTERM the API server waits for its watches, more than a minute.
        node.restart("apiserver", signal.SIGKILL)
        wait_for("the API server", lambda: node.is_api_server_ready(api), 120, 0.2)

    during(api_server_restart, note=note)


def test_the_registry_restarts_and_no_client_notices(note: Any) -> None:
    def registry_restart() -> None:
        node.restart("harbor")

    during(registry_restart, note=note)


def test_the_gateways_certificate_is_renewed_and_no_client_notices(api: Api, note: Any) -> None:
    import base64

    def certificate_rotation() -> None:
        pki.certificate("gateway", f"/CN={API_HOST}", [API_HOST], "homelab", renew=True)
        data = {
            f"tls.{kind}": base64.b64encode((pki.PKI / f"gateway.{kind}").read_bytes()).decode()
            for kind in ("crt", "key")
        }
        api.patch("secrets", "tenants-tls", "gateway", {"data": data})

        def serves_it() -> bool:
            import ssl

            connection = saas.Connection()
            connection.connect()
            served = ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(True) or b"")  # type: ignore[union-attr]
            connection.close()
            return served.strip() in (pki.PKI / "gateway.crt").read_text()

        wait_for("the new certificate", serves_it, 60, 0.3)

    during(certificate_rotation, note=note)


def test_an_autoscaler_scales_up_and_down_and_loses_nothing(api: Api, checkout: saas.Checkout, note: Any) -> None:
    """The number of pods never falls when an autoscaler takes over."""
    target = ("pool-1", "pool-1-producer")
    seen: list[int] = []
    tenant_file = "application-plane/production/pooled-envs/pool-1.yaml"
    autoscaled = (
        "      producer:\n        enabled: true\n        replicaCount: 3\n"
        "        autoscaling:\n          enabled: true\n          minReplicas: 1\n          maxReplicas: 3\n"
    )

    def change(new: str) -> None:
        def edit(folder: Any) -> None:
            path = folder / tenant_file
            path.write_text(original.replace("      producer:\n        enabled: true\n", new))

        checkout.commit(f"pool-1: {len(new)}", edit)

    checkout.git("fetch", "--quiet", "origin", "main")
    original = checkout.git("show", f"origin/main:{tenant_file}")
    try:
        change("      producer:\n        enabled: true\n        replicaCount: 3\n")
        wait_for("three replicas", lambda: len(saas.pods(api, "pool-1", "producer")) == 3, 180, 0.3)
        saas.wait_for_release(api, "pool-1")

        def takes_over() -> bool:
            seen.append(api.get("deployments.apps", target[1], target[0])["spec"]["replicas"])
            return api.find("horizontalpodautoscalers.autoscaling", target[1], target[0]) is not None

        change(autoscaled)
        wait_for("the autoscaler", takes_over, 180, 0.05)
        for _ in range(40):
            takes_over()
            time.sleep(0.05)
        note(f"an autoscaler takes over: replicas {sorted(set(seen))}")
        assert min(seen) == 3
    finally:
        change("      producer:\n        enabled: true\n")
        saas.wait_for_release(api, "pool-1")


__all__ = ["ClusterError"]
