"""The Terraform object is made only on request, and never destroys a tenant's data by accident."""

from __future__ import annotations

import pytest

from combinations import APPS, POOL, TENANT_CASES, TIERS, Case, Values, installed, tier_case
from manifests import Manifest


def terraform(tier: str, **infra: object) -> Manifest:
    options: Values = {"infra": {"enabled": True, **infra}}
    (found,) = installed(tier_case("", tier, TIERS[tier], POOL, options)).of("Terraform")
    return found


@pytest.mark.parametrize("case", TENANT_CASES, ids=str)
def test_the_object_is_made_only_on_request(case: Case) -> None:
    is_enabled = case.values.get("infra", {}).get("enabled", False)
    assert len(installed(case).of("Terraform")) == int(is_enabled)


@pytest.mark.parametrize("tier", TIERS)
def test_an_uninstall_destroys_nothing(tier: str) -> None:
    spec = terraform(tier)["spec"]
    assert spec.get("destroyResourcesOnDeletion", False) is False
    assert spec.get("destroy", False) is False
    assert spec.get("force", False) is False


def test_destruction_needs_its_own_value() -> None:
    assert terraform("premium", destroyResourcesOnDeletion=True)["spec"]["destroyResourcesOnDeletion"] is True


@pytest.mark.parametrize("tier", TIERS)
def test_the_module_gets_the_tenant_and_its_own_apps(tier: str) -> None:
    manifest = terraform(tier)
    assert manifest["metadata"]["name"] == TIERS[tier]
    assert manifest["metadata"]["namespace"] == "flux-system"
    variables = {v["name"]: v["value"] for v in manifest["spec"]["vars"]}
    assert variables["tenant_id"] == TIERS[tier]
    own = {"premium": APPS, "pool": APPS, "advanced": ("consumer",), "basic": ()}[tier]
    assert {app: variables[f"enable_{app}"] for app in APPS} == {app: app in own for app in APPS}
    assert manifest["spec"]["sourceRef"] == {"kind": "GitRepository", "name": "terraform-v0-0-1"}
    assert manifest["spec"]["writeOutputsToSecret"]["name"] == f"{TIERS[tier]}-infra-output"


def variables(tier: str, options: Values) -> dict[str, object]:
    case = tier_case("", tier, TIERS[tier], POOL, {"infra": {"enabled": True}}, options)
    (found,) = installed(case).of("Terraform")
    return {v["name"]: v["value"] for v in found["spec"]["vars"]}


@pytest.mark.parametrize("tier", TIERS)
def test_the_module_gets_tier_and_pool(tier: str) -> None:
    given = variables(tier, {})
    assert given.get("tier") == (tier if tier != "pool" else None)
    assert given.get("pool_id") == (POOL if tier in ("basic", "advanced") else None)
    assert (given["suspended"], given["delete_data"], given["retain"]) == (False, False, [])


def test_the_module_gets_the_pool_that_has_the_data() -> None:
    given = variables("basic", {"apps": {"consumer": {"envId": "pool-2"}}})
    assert given["pool_id"] == "pool-2"


@pytest.mark.parametrize("tier", ["premium", "advanced", "basic"])
def test_the_module_gets_a_suspension(tier: str) -> None:
    assert variables(tier, {"suspended": True})["suspended"] is True


def test_lifting_the_protection_of_data_sets_both_switches() -> None:
    manifest = terraform("premium", deleteData=True)
    assert {"name": "delete_data", "value": True} in manifest["spec"]["vars"]
    assert manifest["spec"]["destroyResourcesOnDeletion"] is True


def test_a_tombstone_keeps_data_and_runs_nothing() -> None:
    off = {app: {"enabled": False, "ingress": {"enabled": False}} for app in APPS}
    options: Values = {"infra": {"enabled": True, "retain": ["consumer", "payments"]}, "apps": off}
    release = installed(tier_case("", "premium", "tenant-1", POOL, options))
    assert [o["kind"] for o in release.objects] == ["Terraform"]
    given = {v["name"]: v["value"] for v in release.objects[0]["spec"]["vars"]}
    assert given["retain"] == ["consumer", "payments"]
    assert given["suspended"] is True, "a pool's catch-all route would serve the tenant"
    assert not any(given[f"enable_{app}"] for app in APPS)
    assert release.objects[0]["spec"]["destroyResourcesOnDeletion"] is False


def test_the_runner_gets_its_variables() -> None:
    env = [{"name": "AWS_ENDPOINT_URL", "value": "http://localaws.aws.svc:4566"}]
    assert terraform("basic", runnerEnv=env)["spec"]["runnerPodTemplate"] == {"spec": {"env": env}}
    assert "runnerPodTemplate" not in terraform("basic")["spec"]


def test_the_module_gets_other_variables() -> None:
    variables = terraform("premium", vars={"read_capacity": 5})["spec"]["vars"]
    assert {"name": "read_capacity", "value": 5} in variables
