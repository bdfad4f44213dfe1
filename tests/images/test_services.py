"""The services as containers: limits hold, the walk-through works, SIGTERM ends them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import POOL, TENANT, Endpoint
from containers import CPUS, MEMORY_BYTES, NONROOT, SERVICES, Container, eventually, get, running, wait_until_ready

END_SECONDS_MAX = 2.0
# A bounded load that uses every pool and buffer.
LOAD_REQUESTS, LOAD_CLIENTS = 500, 16
# A service has a tenth of a core.
STORED_WITHIN_SECONDS = 60

each_service = pytest.mark.parametrize("app", SERVICES)


@each_service
def test_a_service_is_pid_1_without_rights_on_a_read_only_root(pool: dict[str, Container], app: str) -> None:
    container = pool[app]
    status = container.status()
    assert status["NSpid"].split()[-1] == "1"
    assert set(status["Uid"].split() + status["Gid"].split()) == {str(NONROOT)}
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in mounts}
    assert "ro" in options["/"]
    assert "/tmp" not in options


@each_service
def test_memory_and_processor_of_a_service_are_limited(pool: dict[str, Container], app: str) -> None:
    container = pool[app]
    assert container.cgroup("memory", "memory.limit_in_bytes", "memory.max") == str(MEMORY_BYTES)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        quota, period = container.cgroup("cpu", "", "cpu.max").split()
    else:
        quota, period = (container.cgroup("cpu", f"cpu.cfs_{part}_us", "") for part in ("quota", "period"))
    assert int(quota) / int(period) == CPUS


@each_service
def test_a_service_reports_its_environment(pool: dict[str, Container], app: str) -> None:
    status, answer = get(pool[app].url(f"/{app}"), headers={"tenantID": TENANT})
    expected = {"environment": POOL, "microservice": app, "tenant_id": TENANT}
    assert (status, {key: answer.get(key) for key in expected}) == (200, expected)
    assert get(pool[app].url(f"/{app}/readiness-probe")) == (200, {"Status": "OK"})
    assert get(pool[app].admin_url("/livez"))[0] == 200


def test_an_accepted_message_is_stored_in_the_consumers_table(endpoint: Endpoint, pool: dict[str, Container]) -> None:
    headers = {"tenantID": TENANT, "tier": "basic", "content-type": "application/json"}
    status, posted = get(pool["producer"].url("/producer"), headers=headers, data=b'{"order":7}')
    assert (status, posted.get("environment"), posted.get("tenant_id")) == (200, POOL, TENANT), posted

    stored = eventually(
        lambda: stored_message(pool["consumer"], posted["message_id"]), STORED_WITHIN_SECONDS, pool["consumer"].logs
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", stored.pop("timestamp"))
    expected = {
        "consumer_environment": POOL,
        "message_id": posted["message_id"],
        "payload": {"order": 7},
        "producer_environment": POOL,
        "tenant_id": TENANT,
    }
    assert stored == expected
    key = {"tenant_id": {"S": TENANT}, "message_id": {"S": posted["message_id"]}}
    item = endpoint.client("dynamodb").get_item(TableName=f"consumer-{POOL}-abc", Key=key)["Item"]
    assert item["consumer_environment"]["S"] == POOL


def test_invalid_posts_are_refused(pool: dict[str, Container]) -> None:
    producer = pool["producer"].url("/producer")
    for headers, code in [
        ({}, 404),
        ({"tenantID": TENANT, "tier": "gold"}, 400),
        ({"tenantID": TENANT, "tier": "premium"}, 400),
        ({"tenantID": "unknown"}, 404),
        ({"tenantID": "Not A Tenant"}, 400),
    ]:
        status, answer = get(producer, headers=headers, data=b"")
        assert status == code, (headers, answer)
        assert answer["msg"]


def test_the_walk_through_works_on_the_image_of_local(endpoint: Endpoint) -> None:
    local = endpoint.container
    rows = [
        ("tenant-1", "producer", "tenant-1"),
        ("tenant-1", "consumer", "tenant-1"),
        ("tenant-2", "producer", "pool-1"),
        ("tenant-2", "consumer", "pool-1"),
        ("tenant-3", "producer", "pool-1"),
        ("tenant-3", "consumer", "tenant-3"),
    ]
    for tenant, app, environment in rows:
        status, answer = get(local.url(f"/{app}"), headers={"tenantID": tenant})
        assert (status, answer["environment"], answer["tenant_id"]) == (200, environment, tenant)
    headers = {"tenantID": "tenant-3", "tier": "advanced"}
    status, posted = get(local.url("/producer"), headers=headers, data=b"")
    assert status == 200, posted
    dynamodb = endpoint.client("dynamodb")
    table = next(name for name in dynamodb.list_tables()["TableNames"] if "tenant-3" in name)
    key = {"tenant_id": {"S": "tenant-3"}, "message_id": {"S": posted["message_id"]}}
    item = eventually(
        lambda: dynamodb.get_item(TableName=table, Key=key).get("Item"), STORED_WITHIN_SECONDS, local.logs
    )
    assert (item["producer_environment"]["S"], item["consumer_environment"]["S"]) == ("pool-1", "tenant-3")


def test_under_load_no_message_is_lost_and_memory_stays_within_the_limit(
    pool: dict[str, Container], figures: dict[str, dict[str, str]]
) -> None:
    for app, container in pool.items():
        figures[app]["RSS idle"] = mib(container.memory_kib("VmRSS"))
    before = stored_total(pool["consumer"])

    def post(number: int) -> int:
        body = json.dumps({"number": number}).encode()
        return get(pool["producer"].url("/producer"), headers={"tenantID": TENANT}, data=body)[0]

    with ThreadPoolExecutor(LOAD_CLIENTS) as clients:
        answers = list(clients.map(post, range(LOAD_REQUESTS)))
        list(clients.map(lambda _: get(pool["payments"].url("/payments")), range(LOAD_REQUESTS)))
    accepted = answers.count(200)
    assert accepted == LOAD_REQUESTS, {status: answers.count(status) for status in set(answers)}
    eventually(
        lambda: stored_total(pool["consumer"]) - before >= accepted,
        STORED_WITHIN_SECONDS,
        lambda: f"{accepted} accepted, {stored_total(pool['consumer']) - before} stored",
    )
    for app, container in pool.items():
        figures[app]["RSS after load"] = mib(container.memory_kib("VmRSS"))
        figures[app]["peak"] = mib(container.memory_kib("VmHWM"))
        assert container.memory_kib("VmHWM") * 1024 < MEMORY_BYTES


@each_service
def test_sigterm_ends_a_service_in_time_with_exit_code_0(
    endpoint: Endpoint, pool: dict[str, Container], app: str, figures: dict[str, dict[str, str]]
) -> None:
    del pool  # makes the environment that these replicas join
    with running(app, environment=endpoint.environment(POOL)) as container:
        wait_until_ready(container)
        assert get(container.url(f"/{app}"), headers={"tenantID": TENANT})[0] == 200
        seconds, code = container.terminate()
        figures[app]["SIGTERM to end"] = f"{seconds:.2f} s"
        assert code == 0, container.logs()
        assert "drained" in container.logs()
        assert seconds < END_SECONDS_MAX


def stored_message(consumer: Container, message_id: str) -> dict[str, object] | None:
    status, page = get(consumer.url("/consumer/messages"), headers={"tenantID": TENANT})
    assert status == 200, page
    return next((message for message in page["messages"] if message["message_id"] == message_id), None)


def stored_total(consumer: Container) -> int:
    lines = str(get(consumer.admin_url("/metrics"))[1]).splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if re.match(r"\w*stored_total\b", line))


def mib(kib: int) -> str:
    return f"{kib / 1024:.1f} MiB"
