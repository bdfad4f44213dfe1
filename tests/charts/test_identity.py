"""AWS credentials and authentication variables of the pods, for each identity and authentication type."""

from __future__ import annotations

from typing import Any

import pytest

from combinations import ACCOUNT, APPS, POOL, PREMIUM_OPTIONS, TIERS, Case, installed, matrix_case, tier_case
from manifests import Release, env_of
from test_every_release import services_pods

ROLE = "eks.amazonaws.com/role-arn"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
RUNNING_TIERS = ("premium", "advanced", "pool")


def roles(release: Release) -> dict[str, str | None]:
    return {o["metadata"]["name"]: o["metadata"].get("annotations", {}).get(ROLE) for o in release.of("ServiceAccount")}


def environments(release: Release) -> list[dict[str, Any]]:
    return [env_of(template["spec"]["containers"][0]) for _, template in services_pods(release)]


def option(name: str) -> Case:
    return tier_case(name, "premium", "tenant-1", POOL, PREMIUM_OPTIONS[name])


@pytest.mark.parametrize("tier", RUNNING_TIERS)
def test_irsa_names_each_apps_role(tier: str) -> None:
    case = matrix_case(tier, "alb", "none", "irsa")
    apps = ["consumer"] if tier == "advanced" else APPS
    expected = {f"{case.tenant}-{app}": f"arn:aws:iam::{ACCOUNT}:role/{app}-role-{case.tenant}" for app in apps}
    assert roles(installed(case)) == expected


@pytest.mark.parametrize("tier", RUNNING_TIERS)
def test_pod_identity_leaves_the_account_plain(tier: str) -> None:
    """EKS associates a role with the account by the account's name."""
    case = matrix_case(tier, "alb", "none", "podidentity")
    apps = ["consumer"] if tier == "advanced" else APPS
    assert roles(installed(case)) == {f"{case.tenant}-{app}": None for app in apps}


@pytest.mark.parametrize("tier", RUNNING_TIERS)
def test_each_app_runs_as_its_own_account(tier: str) -> None:
    case = matrix_case(tier, "alb", "none", "irsa")
    for _, template in services_pods(installed(case)):
        container = template["spec"]["containers"][0]["name"]
        assert template["spec"]["serviceAccountName"] == f"{case.tenant}-{container}"


@pytest.mark.parametrize("identity", ["podidentity", "irsa"])
def test_on_eks_neither_keys_nor_endpoints_are_set(identity: str) -> None:
    for tier in RUNNING_TIERS:
        for env in environments(installed(matrix_case(tier, "alb", "none", identity))):
            assert {name for name in env if name.startswith("AWS_")} <= {"AWS_EC2_METADATA_DISABLED"}


@pytest.mark.parametrize("tier", RUNNING_TIERS)
def test_off_aws_keys_come_from_the_secret(tier: str) -> None:
    release = installed(matrix_case(tier, "alb", "none", "secret"))
    assert set(roles(release).values()) <= {None}
    for env in environments(release):
        for key in KEYS:
            assert env[key] == {"secretKeyRef": {"name": "aws-credentials", "key": key}}
        assert env["AWS_REGION"] == "us-east-1"
        assert env["AWS_ENDPOINT_URL"] == "http://localaws.tenantry.svc:4566"


def test_an_account_id_alone_selects_irsa() -> None:
    release = installed(option("identity-auto-irsa"))
    assert roles(release)["tenant-1-producer"] == f"arn:aws:iam::{ACCOUNT}:role/producer-role-tenant-1"


def test_partition_and_role_arn_can_be_set() -> None:
    found = roles(installed(option("identity-irsa-partition")))
    assert found["tenant-1-producer"] == f"arn:aws-cn:iam::{ACCOUNT}:role/producer-role-tenant-1"
    assert found["tenant-1-payments"] == f"arn:aws:iam::{ACCOUNT}:role/other"


def test_a_role_has_the_path_that_the_module_gives_it() -> None:
    options = {"awsAccountId": ACCOUNT, "identity": {"irsa": {"rolePath": "/tenantry/"}}}
    found = roles(installed(tier_case("", "premium", "tenant-1", POOL, options)))
    assert found["tenant-1-producer"] == f"arn:aws:iam::{ACCOUNT}:role/tenantry/producer-role-tenant-1"


def test_an_existing_service_account_is_used() -> None:
    release = installed(option("service-account-existing"))
    assert release.of("ServiceAccount") == []
    assert {t["spec"]["serviceAccountName"] for _, t in services_pods(release)} == {"existing"}


def test_an_endpoint_for_one_service_only() -> None:
    for env in environments(installed(option("endpoints"))):
        assert env["AWS_ENDPOINT_URL_SQS"] == "http://elasticmq:9324"
        assert env["AWS_ENDPOINT_URL_DYNAMODB"] == "https://scylla.db.svc:8043/"
        assert "AWS_ENDPOINT_URL" not in env


@pytest.mark.parametrize("tier", TIERS)
def test_the_environment_is_the_tenant_or_the_pool(tier: str) -> None:
    case = matrix_case(tier, "alb", "none", "irsa")
    assert {env["ENVIRONMENT"] for env in environments(installed(case))} <= {case.tenant}


def test_without_tokens_only_auth_is_set_and_with_tokens_every_app_gets_the_same_settings() -> None:
    for env in environments(installed(tier_case("plain", "premium", "tenant-1", POOL, {}))):
        assert {name: value for name, value in env.items() if name.startswith("AUTH")} == {"AUTH": "none"}
    for env in environments(installed(option("auth"))):
        assert {name: value for name, value in env.items() if name.startswith("AUTH")} == {
            "AUTH": "jwt",
            "AUTH_ISSUER": "https://issuer.example.com",
            "AUTH_AUDIENCE": "tenantry,other",
            "AUTH_CLAIM": "custom:tenant_id",
            "AUTH_SOURCE": "authorization",
            "AUTH_JWKS": "https://issuer.example.com:8443/jwks.json",
            "AUTH_LEEWAY_SECONDS": "10",
            "AUTH_JWKS_REFRESH_SECONDS": "300",
        }
    for env in environments(installed(option("auth-alb"))):
        assert (env["AUTH_SOURCE"], "AUTH_JWKS" in env) == ("alb", False)
        assert env["AUTH_ALB_ARN"].endswith("/tenants/0123456789abcdef")


def test_helm_test_sends_no_tenant_id_when_tokens_are_required() -> None:
    for name, expected in (("auth", ""), ("labels-and-annotations", "tenant-1")):
        pods = [
            pod for pod in installed(option(name)).of("Pod") if pod["metadata"]["labels"]["tenantry/role"] == "test"
        ]
        assert pods
        assert {env_of(pod["spec"]["containers"][0])["TENANT"] for pod in pods} == {expected}


def test_only_the_consumer_gets_a_tenant_role() -> None:
    release = installed(option("auth"))
    found = {
        template["spec"]["containers"][0]["name"]: env_of(template["spec"]["containers"][0]).get("TENANT_ROLE_ARN")
        for _, template in services_pods(release)
    }
    assert found["consumer"] == "arn:aws:iam::123456789012:role/reader-role-pool-1"
    assert {app: role for app, role in found.items() if role} == {"consumer": found["consumer"]}
