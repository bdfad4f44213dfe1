"""The walk-through, on Kubernetes: the environments that answer, the stored items, tenants onboarded and offboarded."""

from __future__ import annotations

import time
from typing import Any

import pytest

import saas
from api import Api
from machine import wait_for

# Environment of each app by tenant, as in README.md.
TABLE = {
    "tenant-1": {"producer": "tenant-1", "consumer": "tenant-1", "payments": "tenant-1"},
    "tenant-2": {"producer": "pool-1", "consumer": "pool-1", "payments": "pool-1"},
    "tenant-3": {"producer": "pool-1", "consumer": "tenant-3", "payments": "pool-1"},
}
SILOS = {"tenant-1": ("consumer", "payments", "producer"), "tenant-2": (), "tenant-3": ("consumer",)}
OWN_TIERS = {"basic": (), "advanced": ("consumer",), "premium": ("consumer", "payments", "producer")}


@pytest.mark.parametrize("tenant", TABLE)
def test_each_tenant_is_answered_by_its_environments(tenant: str) -> None:
    assert {app: saas.environment_of(tenant, app) for app in saas.APPS} == TABLE[tenant]


@pytest.mark.parametrize("tenant", SILOS)
def test_each_tenant_has_the_deployments_of_its_tier_in_its_own_namespace(api: Api, tenant: str) -> None:
    assert saas.running(api, tenant) == dict.fromkeys(SILOS[tenant], tenant)


def test_the_pool_runs_every_app(api: Api) -> None:
    assert saas.running(api, "pool-1") == dict.fromkeys(saas.APPS, "pool-1")


def test_the_identity_answer_is_the_contracts() -> None:
    answer = saas.get("/producer", "tenant-2")
    assert list(answer.body) == ["environment", "microservice", "tenant_id", "version"]
    assert answer.body == {
        "environment": "pool-1",
        "microservice": "producer",
        "tenant_id": "tenant-2",
        "version": answer.body["version"],
    }


def test_a_hybrid_tenants_message_is_accepted_in_the_pool_and_stored_in_its_silo() -> None:
    answer = saas.post("/producer", "tenant-3", {"order": 7}, tier="advanced")
    assert answer.status == 200
    assert answer.body["environment"] == "pool-1"
    table = saas.parameters("tenant-3")["consumer_ddb"].rpartition("/")[2]
    assert table.startswith("consumer-tenant-3-")

    def item() -> Any:
        key = {"tenant_id": {"S": "tenant-3"}, "message_id": {"S": answer.body["message_id"]}}
        return saas.client("dynamodb").get_item(TableName=table, Key=key).get("Item")

    stored = wait_for("the item", item, 30, 0.1)
    assert (stored["producer_environment"]["S"], stored["consumer_environment"]["S"]) == ("pool-1", "tenant-3")
    listed = saas.messages("tenant-3")
    assert answer.body["message_id"] in [m["message_id"] for m in listed]


def test_a_tenant_that_is_not_there_is_answered_by_none() -> None:
    assert saas.get("/producer", "tenant-404").status == 404
    assert saas.post("/producer", "tenant-404", {}).status == 404


def test_a_request_without_the_header_reaches_no_environment() -> None:
    assert saas.get("/producer", None).status == 404
    assert saas.post("/producer", None, {}).status == 404


@pytest.mark.parametrize("tier", OWN_TIERS)
def test_a_tenant_comes_by_message_and_goes_by_message(api: Api, checkout: saas.Checkout, note: Any, tier: str) -> None:
    tenant = saas.new_tenant(f"message-{tier}")
    before = checkout.head()
    begin = time.monotonic()
    saas.send_message("onboarding", tenant_id=tenant, tenant_tier=tier, release_version="0.0")
    wait_for("the commit", lambda: checkout.head() != before, 30, 0.1)
    committed = time.monotonic() - begin
    wait_for("the answer", lambda: saas.environment_of(tenant, "producer"), 180, 0.1)
    note(f"onboarding a {tier} tenant: commit after {committed:.1f} s, answer after {time.monotonic() - begin:.1f} s")
    saas.wait_for_release(api, tenant)
    own = dict.fromkeys(OWN_TIERS[tier], tenant)
    assert saas.running(api, tenant) == own
    assert {app: saas.environment_of(tenant, app) for app in saas.APPS} == {
        app: own.get(app, "pool-1") for app in saas.APPS
    }
    accepted = saas.post("/producer", tenant, {"hello": tier})
    assert accepted.status == 200
    wait_for(
        "the item", lambda: accepted.body["message_id"] in [m["message_id"] for m in saas.messages(tenant)], 30, 0.2
    )

    begin = time.monotonic()
    saas.send_message("offboarding", tenant_id=tenant, tenant_tier=tier)
    wait_for("no answer", lambda: saas.get("/producer", tenant).status == 404, 180, 0.1)
    note(f"offboarding a {tier} tenant: no answer after {time.monotonic() - begin:.1f} s")
    wait_for("the end of its Deployments", lambda: saas.running(api, tenant) == {}, 60, 0.2)
    wait_for("its status", lambda: saas.parameters(tenant).get("status") == "suspended", 60, 0.2)
    protected = {"basic": 0, "advanced": 1, "premium": 2}[tier]
    assert len(saas.tables_of(tenant)) == protected, "the data stays"


def test_a_tenant_comes_by_commit_and_is_forgotten_with_its_data(api: Api, note: Any) -> None:
    tenant = saas.new_tenant("by-commit")
    begin = time.monotonic()
    saas.tenantctl("onboard", tenant, "--tier", "premium", "--release", "0.0")
    wait_for("the answer", lambda: saas.environment_of(tenant, "producer"), 180, 0.1)
    note(f"onboarding a premium tenant by commit: answer after {time.monotonic() - begin:.1f} s")
    saas.wait_for_release(api, tenant)
    saas.tenantctl("offboard", tenant)
    wait_for("no answer", lambda: saas.get("/producer", tenant).status == 404, 180, 0.2)
    saas.tenantctl("offboard", tenant, "--delete-data")
    dynamodb = saas.client("dynamodb")

    def unprotected() -> bool:
        tables = [dynamodb.describe_table(TableName=n)["Table"] for n in saas.tables_of(tenant)]
        return len(tables) == 2 and not any(t.get("DeletionProtectionEnabled") for t in tables)

    wait_for("tables without protection", unprotected, 120, 0.3)
    saas.wait_for_release(api, tenant)
    saas.tenantctl("forget", tenant)
    saas.wait_until_gone(api, "terraforms.infra.contrib.fluxcd.io", tenant, "flux-tenants")
    assert saas.tables_of(tenant) == []
    assert saas.parameters(tenant) == {}
    saas.wait_until_gone(api, "namespaces", tenant, seconds=180)
