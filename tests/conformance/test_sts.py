"""Identity of the caller, and tenant-scoped roles with session tags."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from endpoints import REGION, Aws
from helpers import ACCOUNT, refused, unique

ROLE = f"arn:aws:iam::{ACCOUNT}:role/tenant-access"
TENANT_TAG = [{"Key": "tenant_id", "Value": "tenant-1"}]


def assume(aws: Aws, **more: Any) -> dict[str, Any]:
    return aws.sts.assume_role(**{"RoleArn": ROLE, "RoleSessionName": "tenant-1", "Tags": TENANT_TAG, **more})


def test_the_caller_gets_account_arn_and_user(aws: Aws) -> None:
    identity = aws.sts.get_caller_identity()
    assert identity["Account"] == ACCOUNT
    assert identity["Arn"].startswith("arn:aws:")
    assert f":{ACCOUNT}:" in identity["Arn"]
    assert identity["UserId"]


def test_a_role_is_assumed_with_session_tags(aws: Aws) -> None:
    answer = assume(aws, TransitiveTagKeys=["tenant_id"])
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert credentials["SecretAccessKey"]
    assert credentials["SessionToken"]
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/tenant-access/tenant-1"
    assert answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":tenant-1")


@pytest.mark.parametrize("seconds", [None, 900, 7200], ids=["default", "15 minutes", "2 hours"])
def test_the_credentials_expire_as_requested(aws: Aws, seconds: int | None) -> None:
    more = {} if seconds is None else {"DurationSeconds": seconds}
    expiration = assume(aws, **more)["Credentials"]["Expiration"]
    left = expiration - dt.datetime.now(dt.timezone.utc)
    assert abs(left.total_seconds() - (seconds or 3600)) < 60


def with_role(aws: Aws, service: str) -> Any:
    credentials = assume(aws)["Credentials"]
    return aws.client(
        service,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def test_the_credentials_of_a_role_identify_the_role(aws: Aws) -> None:
    identity = with_role(aws, "sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/tenant-access/tenant-1"
    assert identity["UserId"].endswith(":tenant-1")


def test_the_credentials_of_a_role_open_the_same_queues(aws: Aws) -> None:
    name = unique("queue")
    url = aws.sqs.create_queue(QueueName=name)["QueueUrl"]
    assert with_role(aws, "sqs").get_queue_url(QueueName=name)["QueueUrl"] == url


def test_the_region_of_the_client_makes_no_difference_to_the_account(aws: Aws) -> None:
    for region in (REGION, "eu-central-1"):
        assert aws.client("sts", region_name=region).get_caller_identity()["Account"] == ACCOUNT


MALFORMED_ARNS = {
    "no arn": "nothing-valid-in-here",
    "no service": "arn:a::::something/test-role",
    "no resource": "arn:aws:iam::000000000000:",
}


@pytest.mark.parametrize("arn", MALFORMED_ARNS.values(), ids=MALFORMED_ARNS.keys())
def test_a_malformed_role_arn_is_refused(aws: Aws, arn: str) -> None:
    with refused("ValidationError"):
        assume(aws, RoleArn=arn)


def test_a_malformed_session_name_is_refused(aws: Aws) -> None:
    with refused("ValidationError"):
        assume(aws, RoleSessionName="tenant 1:x")


def test_a_session_tag_given_twice_is_refused(aws: Aws) -> None:
    with refused("InvalidParameterValue"):
        assume(aws, Tags=[{"Key": "tenant_id", "Value": "a"}, {"Key": "Tenant_Id", "Value": "b"}])


def test_a_transitive_tag_must_be_among_the_tags(aws: Aws) -> None:
    with refused("InvalidParameterValue"):
        assume(aws, TransitiveTagKeys=["stage"])
