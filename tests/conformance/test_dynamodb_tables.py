"""Tables of the contract's shape: created, described, listed, configured and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config

from endpoints import REGION, Aws
from helpers import ACCOUNT, refused, unique
from tables import SCHEMA, new_table


def test_a_table_is_created_as_requested(aws: Aws) -> None:
    name = new_table(aws)
    table = aws.dynamodb.describe_table(TableName=name)["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert table["TableArn"] == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
    assert table["KeySchema"] == SCHEMA["KeySchema"]
    assert sorted(table["AttributeDefinitions"], key=str) == sorted(SCHEMA["AttributeDefinitions"], key=str)
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_table_is_not_created_twice(aws: Aws) -> None:
    name = new_table(aws)
    with refused("ResourceInUseException", exception=aws.dynamodb.exceptions.ResourceInUseException):
        aws.dynamodb.create_table(TableName=name, **SCHEMA)


@pytest.mark.parametrize("name", ["ab", "a space", "x" * 256], ids=["too short", "space", "too long"])
def test_an_invalid_table_name_is_refused(aws: Aws, name: str) -> None:
    with refused("ValidationException"):
        aws.dynamodb.create_table(TableName=name, **SCHEMA)


def test_an_unknown_table_is_not_found(aws: Aws) -> None:
    with refused("ResourceNotFoundException", exception=aws.dynamodb.exceptions.ResourceNotFoundException):
        aws.dynamodb.describe_table(TableName=unique("missing"))


def test_tables_are_listed_in_pages_by_name(aws: Aws) -> None:
    prefix = unique("listed")
    names = [new_table(aws, f"{prefix}-{n}") for n in range(3)]
    first = aws.dynamodb.list_tables(ExclusiveStartTableName=prefix, Limit=2)
    assert first["TableNames"] == names[:2]
    assert first["LastEvaluatedTableName"] == names[1]
    rest = aws.dynamodb.list_tables(ExclusiveStartTableName=first["LastEvaluatedTableName"], Limit=1)
    assert rest["TableNames"] == names[2:]


def test_items_can_be_given_a_time_to_live(aws: Aws) -> None:
    name = new_table(aws)
    before = aws.dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert before["TimeToLiveStatus"] == "DISABLED"
    specification = {"Enabled": True, "AttributeName": "expires_at"}
    answer = aws.dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)
    assert answer["TimeToLiveSpecification"] == specification
    after = aws.dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert after["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
    assert after["AttributeName"] == "expires_at"


def recovery(answer: dict[str, Any]) -> str:
    return answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]


def test_point_in_time_recovery_is_off_until_switched_on(aws: Aws) -> None:
    name = new_table(aws)
    assert recovery(aws.dynamodb.describe_continuous_backups(TableName=name)) == "DISABLED"
    specification = {"PointInTimeRecoveryEnabled": True}
    aws.dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
    assert recovery(aws.dynamodb.describe_continuous_backups(TableName=name)) == "ENABLED"


def enable_recovery(aws: Aws, name: str, **more: Any) -> dict[str, Any]:
    specification = {"PointInTimeRecoveryEnabled": True, **more}
    answer = aws.dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
    return answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]


@pytest.mark.parametrize("days", [1, 7, 35])
def test_the_days_of_recovery_are_kept_as_asked(aws: Aws, days: int) -> None:
    name = new_table(aws)
    assert enable_recovery(aws, name, RecoveryPeriodInDays=days)["RecoveryPeriodInDays"] == days
    described = aws.dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert described["PointInTimeRecoveryDescription"]["RecoveryPeriodInDays"] == days
    assert enable_recovery(aws, name)["RecoveryPeriodInDays"] == 35


@pytest.mark.parametrize("days", [0, 36, -1])
def test_days_of_recovery_out_of_range_are_refused(aws: Aws, days: int) -> None:
    name = new_table(aws)
    loose = aws.client("dynamodb", config=Config(parameter_validation=False, retries={"total_max_attempts": 1}))
    with refused("ValidationException"):
        loose.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": days},
        )
    assert recovery(aws.dynamodb.describe_continuous_backups(TableName=name)) == "DISABLED"


def encryption(aws: Aws, name: str) -> dict[str, Any] | None:
    return aws.dynamodb.describe_table(TableName=name)["Table"].get("SSEDescription")


def test_the_encryption_of_a_table_can_be_changed_alone_and_beside_others(aws: Aws) -> None:
    name = new_table(aws)
    answer = aws.dynamodb.update_table(TableName=name, SSESpecification={"Enabled": True})["TableDescription"]
    assert answer["TableName"] == name
    described = encryption(aws, name)
    assert described is not None
    assert described["SSEType"] == "KMS"
    assert described["KMSMasterKeyArn"].startswith("arn:aws:kms:")
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/mine"
    specification = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    aws.dynamodb.update_table(TableName=name, SSESpecification=specification, DeletionProtectionEnabled=False)
    described = encryption(aws, name)
    assert described is not None
    assert described["KMSMasterKeyArn"] == key
    aws.dynamodb.update_table(TableName=name, SSESpecification={"Enabled": False})
    assert encryption(aws, name) is None
    aws.dynamodb.delete_table(TableName=name)


def test_the_encryption_of_a_missing_table_cannot_be_changed(aws: Aws) -> None:
    with refused("ResourceNotFoundException"):
        aws.dynamodb.update_table(TableName=unique("missing"), SSESpecification={"Enabled": True})


def test_an_update_of_nothing_is_refused(aws: Aws) -> None:
    with refused("ValidationException"):
        aws.dynamodb.update_table(TableName=new_table(aws))


def test_a_deleted_table_is_gone(aws: Aws) -> None:
    name = new_table(aws)
    assert aws.dynamodb.delete_table(TableName=name)["TableDescription"]["TableName"] == name
    aws.dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    assert name not in aws.dynamodb.list_tables(ExclusiveStartTableName=name[:-1])["TableNames"]
    with refused("ResourceNotFoundException"):
        aws.dynamodb.delete_table(TableName=name)


def test_tables_can_be_tagged(aws: Aws) -> None:
    name = new_table(aws)
    arn = aws.dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
    tags = [{"Key": "tenant", "Value": "tenant-1"}]
    aws.dynamodb.tag_resource(ResourceArn=arn, Tags=tags)
    assert aws.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"] == tags
