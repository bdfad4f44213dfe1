"""The Terraform object: made only when asked for, and never a way to lose a tenant's data by accident."""

from __future__ import annotations

import pytest

from combinations import APPS, POOL, TENANT_CASES, TIERS, Case, Values, installed, tier_case
from manifests import Manifest


def terraform(tier: str, **infra: object) -> Manifest:
    options: Values = {"infra": {"enabled": True, **infra}}
    (found,) = installed(tier_case("", tier, TIERS[tier], POOL, options)).of("Terraform")
    return found


@pytest.mark.parametrize("case", TENANT_CASES, ids=str)
def test_only_on_request(case: Case) -> None:
    asked = case.values.get("infra", {}).get("enabled", False)
    assert len(installed(case).of("Terraform")) == int(asked)


@pytest.mark.parametrize("tier", TIERS)
def test_an_uninstall_destroys_nothing(tier: str) -> None:
    spec = terraform(tier)["spec"]
    assert spec.get("destroyResourcesOnDeletion", False) is False
    assert spec.get("destroy", False) is False
    assert spec.get("force", False) is False


def test_destroying_is_a_choice() -> None:
    assert terraform("premium", destroyResourcesOnDeletion=True)["spec"]["destroyResourcesOnDeletion"] is True


@pytest.mark.parametrize("tier", TIERS)
def test_the_module_is_told_the_tenant_and_its_own_apps(tier: str) -> None:
    manifest = terraform(tier)
    assert manifest["metadata"]["name"] == TIERS[tier]
    assert manifest["metadata"]["namespace"] == "flux-system"
    variables = {v["name"]: v["value"] for v in manifest["spec"]["vars"]}
    assert variables["tenant_id"] == TIERS[tier]
    own = {"premium": APPS, "pool": APPS, "advanced": ("consumer",), "basic": ()}[tier]
    assert {app: variables[f"enable_{app}"] for app in APPS} == {app: app in own for app in APPS}
    assert manifest["spec"]["sourceRef"] == {"kind": "GitRepository", "name": "terraform-v0-0-1"}
    assert manifest["spec"]["writeOutputsToSecret"]["name"] == f"{TIERS[tier]}-infra-output"


def test_further_variables() -> None:
    variables = terraform("premium", vars={"read_capacity": 5})["spec"]["vars"]
    assert {"name": "read_capacity", "value": 5} in variables
