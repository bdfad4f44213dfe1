"""Tenants are onboarded, changed and offboarded; their own requests and every other tenant's are answered meanwhile."""

from __future__ import annotations

import re
import shutil
import time
from typing import Any

import pytest

import saas
from api import Api, is_current
from bringup import docker_config
from layout import REGISTRY, ROOT, RUN
from machine import ClusterError, wait_for
from saas import Answer, Load, check_stored, load

TIERS = ("basic", "advanced", "premium")


def beside() -> list[Load]:
    """Loads on tenants that the test does not change."""
    return [Load("tenant-1", rate=20, workers=3), Load("tenant-2", rate=20, workers=3)]


def check_undisturbed(loads: list[Load]) -> None:
    for one in loads:
        assert one.bad == {}, str(one)
    check_stored(*loads)


def check_answered(own: Load, silo_begins: bool) -> None:
    """Checks that every request is answered 200, except in the one gap that tests/cluster/README.md names.

    The route to a silo's producer is applied with its first pods. Until one is ready, the Gateway has no endpoint and
    answers 503 itself, without `Retry-After`, or 500 while it does not know the Service yet.
    """
    assert set(own.bad) <= ({"500", "503"} if silo_begins else set()), str(own)


def onboard(tenant: str, tier: str) -> None:
    saas.tenantctl("onboard", tenant, "--tier", tier, "--release", "0.0")
    wait_for(f"the answer of {tenant}", lambda: saas.environment_of(tenant, "producer"), 180, 0.1)


def timed(what: str, note: Any, begin: float) -> None:
    note(f"{what}: {time.monotonic() - begin:.1f} s")


def test_a_tenants_whole_life_disturbs_no_other(api: Api, note: Any) -> None:
    others, tenant = beside(), saas.new_tenant("whole-life")
    with load(*others):
        begin = time.monotonic()
        onboard(tenant, "basic")
        timed("onboard a basic tenant, commit to answer", note, begin)

        own = Load(tenant, rate=20, workers=3)
        with load(own):
            begin = time.monotonic()
            saas.tenantctl("move", tenant, "--to", "premium")
            wait_for("its silo", lambda: saas.environment_of(tenant, "producer") == tenant, 180, 0.1)
            timed("move basic → premium, commit to answer from the silo", note, begin)
            saas.wait_for_release(api, tenant)
            time.sleep(2)
        check_answered(own, silo_begins=True)
        begin = time.monotonic()
        settle(tenant)
        timed("settle the move", note, begin)
        check_follows(own)

        begin = time.monotonic()
        saas.tenantctl("suspend", tenant)
        wait_for("no route", lambda: saas.get("/producer", tenant).status == 404, 120, 0.1)
        timed("suspend, commit to no route", note, begin)
        assert sorted(saas.running(api, tenant)) == sorted(saas.APPS), "a suspended tenant's pods go on storing"

        begin = time.monotonic()
        saas.tenantctl("resume", tenant)
        wait_for("the answer", lambda: saas.environment_of(tenant, "producer"), 120, 0.1)
        timed("resume, commit to answer", note, begin)
        wait_for("a message taken", lambda: saas.post("/producer", tenant, {}).status == 200, 120, 0.2)

        begin = time.monotonic()
        saas.tenantctl("offboard", tenant)
        wait_for("no route", lambda: saas.get("/producer", tenant).status == 404, 120, 0.1)
        timed("offboard, commit to no route", note, begin)
    check_undisturbed(others)


def settle(tenant: str) -> None:
    """Moves the tenant's data once the cluster has applied its move; the endpoint counts messages exactly."""

    def settled() -> bool:
        """Exit code 7 means that the endpoint did not answer in time; a repeat continues."""
        try:
            saas.tenantctl("settle", tenant, "--count-seconds", "1", "--late-seconds", "5")
        except ClusterError as error:
            if "exit code 7\n" not in str(error):
                raise
            return False
        return True

    wait_for(f"the data of {tenant}", settled, 180, 1)


def check_follows(own: Load) -> None:
    """Every accepted message is listed after the move. The tenant has no item in another table, and no message left."""
    check_stored(own, seconds=90)
    registered = saas.parameters(own.tenant)
    homes = {registered[name].rpartition("/")[2] for name in ("consumer_ddb", "payments_ddb")}
    for table in {*saas.tables_of(own.tenant), *saas.tables_of("pool-1")} - homes:
        assert saas.items_in(table, own.tenant) == [], f"{own.tenant} has items in {table}, which it has left"
    assert registered["status"] == "active"
    assert not [name for name in registered if name.startswith("unsettled_")], registered
    former = registered.get("retained_consumer_sqs")
    if former:
        sqs = saas.client("sqs")
        url = sqs.get_queue_url(QueueName=former.rpartition(":")[2])["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert set(counts.values()) == {"0"}, f"messages are left in {former}: {counts}"


MOVES = [(before, after) for before in TIERS for after in TIERS if before != after]


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_a_move_loses_nothing(api: Api, note: Any, before: str, after: str) -> None:
    tenant = saas.new_tenant(f"mover-{before}-{after}")
    onboard(tenant, before)
    saas.wait_for_release(api, tenant)
    charge = {"amount": 100, "currency": "EUR", "reference": "before", "metadata": {}}
    recorded = saas.post("/payments/charges", tenant, charge, Idempotency_Key="before")
    assert recorded.status == 201, recorded
    own = Load(tenant, rate=50, workers=4)
    with load(own):
        time.sleep(2)
        saas.tenantctl("move", tenant, "--to", after)
        wanted = {"basic": 0, "advanced": 1, "premium": 3}[after]
        wait_for("its Deployments", lambda: len(saas.running(api, tenant)) == wanted, 180, 0.2)
        saas.wait_for_release(api, tenant)
        time.sleep(3)
    note(f"move {before} → {after}: {own}")
    check_answered(own, silo_begins=after == "premium")
    settle(tenant)
    check_follows(own)

    def repeated() -> Answer | None:
        """The answer, once the services have read the new home of the payments."""
        answer = saas.post("/payments/charges", tenant, charge, Idempotency_Key="before")
        return answer if answer.status != 503 else None

    answer = wait_for("an answer of payments", repeated, 60, 0.5)
    assert (answer.status, answer.body) == (200, recorded.body), "the key is known after the move"
    saas.tenantctl("offboard", tenant)


@pytest.fixture(scope="module")
def next_release() -> str:
    """Pushes the chart again as version 0.1.0, for a deployment of release 0.1."""
    import helm_python

    folder = RUN / "chart" / "helm-tenant-chart"
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(ROOT / "helm-charts" / "helm-tenant-chart", folder)
    described = (folder / "Chart.yaml").read_text()
    (folder / "Chart.yaml").write_text(re.sub(r"^version: .*$", "version: 0.1.0", described, flags=re.M))
    docker_config()
    with helm_python.RegistryClient() as client:
        package = helm_python.package(folder, destination=folder.parent)
        client.push(package, f"oci://{REGISTRY}/charts")
    return "0.1"


def test_a_deployment_by_waves_and_its_way_back(api: Api, note: Any, next_release: str) -> None:
    """Deploys a release to one tenant, then to the rest of its tier, then the former release, while clients send."""
    second = saas.new_tenant("second-premium")
    onboard(second, "premium")
    saas.wait_for_release(api, second)
    others = [*beside(), Load(second, rate=20, workers=3)]
    with load(*others):
        begin = time.monotonic()
        saas.tenantctl("deploy", "--tier", "premium", "--release", next_release, "--canary", second)
        wait_for("the first wave", lambda: runs(api, second, "0.1."), 180, 0.3)
        timed("first wave of a release", note, begin)
        assert runs(api, "tenant-1", "0.0."), "the rest keeps its release"
        begin = time.monotonic()
        saas.tenantctl("deploy", "--tier", "premium", "--release", next_release, "--rest")
        wait_for("the rest", lambda: runs(api, "tenant-1", "0.1."), 180, 0.3)
        timed("the rest of a release", note, begin)
        begin = time.monotonic()
        saas.tenantctl("deploy", "--tier", "premium", "--release", "0.0")
        wait_for("the way back", lambda: all(runs(api, t, "0.0.") for t in ("tenant-1", second)), 240, 0.3)
        timed("back to the release before", note, begin)
    check_undisturbed(others)
    saas.tenantctl("offboard", second)


def runs(api: Api, tenant: str, version: str) -> bool:
    """True once a tenant's release is that version of the chart, and healthy."""
    found = saas.release(api, tenant) or {}
    return is_current(found) and found["status"]["history"][0]["chartVersion"].startswith(version)
