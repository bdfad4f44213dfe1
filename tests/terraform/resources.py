"""Makes the stand-in provider's resources at an AWS endpoint, with the main calls of the real provider.

Resources whose service a test endpoint lacks (Pod Identity, registries) stay in memory.
"""

from __future__ import annotations

import itertools
import random
import string
from typing import Any

import boto3
from botocore.config import Config

from provider import Values

ACCOUNT = "000000000000"
REGION = "us-east-1"


class Endpoint:
    """Resources at one endpoint."""

    def __init__(self, url: str, seed: int = 7) -> None:
        settings = {
            "region_name": REGION,
            "endpoint_url": url,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(retries={"total_max_attempts": 1}),
        }
        self.sqs, self.dynamodb, self.ssm, self.iam = (
            boto3.client(service, **settings) for service in ("sqs", "dynamodb", "ssm", "iam")
        )
        self._random = random.Random(seed)
        self._ids = itertools.count(1)
        # Every change, in order, because the module promises an order.
        self.log: list[tuple[str, str, str]] = []

    def create(self, kind: str, planned: Values) -> Values:
        made = getattr(self, f"_create_{kind}", self._create_in_memory)(planned)
        self.log.append(("create", kind, name_of(planned | made)))
        return made

    def update(self, kind: str, prior: Values, planned: Values) -> Values:
        self.log.append(("update", kind, name_of(planned)))
        return getattr(self, f"_update_{kind}", lambda *_: {})(prior, planned)

    def delete(self, kind: str, prior: Values) -> None:
        getattr(self, f"_delete_{kind}", lambda _: None)(prior)
        self.log.append(("delete", kind, name_of(prior)))

    def read(self, kind: str, config: Values) -> Values:
        if kind == "aws_ssm_parameters_by_path":
            pages = self.ssm.get_paginator("get_parameters_by_path").paginate(Path=config["path"])
            found = [parameter for page in pages for parameter in page["Parameters"]]
            return {
                "names": [parameter["Name"] for parameter in found],
                "values": [parameter["Value"] for parameter in found],
                "id": config["path"],
            }
        return {
            "aws_caller_identity": {"account_id": ACCOUNT, "id": ACCOUNT},
            "aws_partition": {"partition": "aws", "id": "aws"},
            "aws_region": {"region": REGION, "id": REGION},
        }[kind]

    def _create_in_memory(self, planned: Values) -> Values:
        number = next(self._ids)
        return {"id": f"id-{number}", "arn": f"arn:aws:test:{REGION}:{ACCOUNT}:thing/{number}"}

    def _create_random_string(self, planned: Values) -> Values:
        letters = string.digits + (string.ascii_lowercase if planned["lower"] is not False else "")
        letters += string.ascii_uppercase if planned["upper"] is not False else ""
        letters += "!@#" if planned["special"] is not False else ""
        result = "".join(self._random.choice(letters) for _ in range(int(planned["length"])))
        return {"result": result, "id": result}

    def _create_aws_sqs_queue(self, planned: Values) -> Values:
        url = self.sqs.create_queue(
            QueueName=planned["name"], Attributes=queue_attributes(planned), tags=planned["tags"] or {}
        )["QueueUrl"]
        return {"id": url, "url": url, "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{planned['name']}"}

    def _update_aws_sqs_queue(self, prior: Values, planned: Values) -> Values:
        self.sqs.set_queue_attributes(QueueUrl=prior["url"], Attributes=queue_attributes(planned))
        self.sqs.tag_queue(QueueUrl=prior["url"], Tags=planned["tags"] or {})
        return {}

    def _delete_aws_sqs_queue(self, prior: Values) -> None:
        self.sqs.delete_queue(QueueUrl=prior["url"])

    def _create_aws_sqs_queue_policy(self, planned: Values) -> Values:
        self.sqs.set_queue_attributes(QueueUrl=planned["queue_url"], Attributes={"Policy": planned["policy"]})
        return {"id": planned["queue_url"]}

    def _create_aws_sqs_queue_redrive_allow_policy(self, planned: Values) -> Values:
        attributes = {"RedriveAllowPolicy": planned["redrive_allow_policy"]}
        self.sqs.set_queue_attributes(QueueUrl=planned["queue_url"], Attributes=attributes)
        return {"id": planned["queue_url"]}

    def _create_aws_dynamodb_table(self, planned: Values) -> Values:
        name = planned["name"]
        request: dict[str, Any] = {
            "TableName": name,
            "BillingMode": planned["billing_mode"],
            "KeySchema": keys(planned),
            "AttributeDefinitions": [
                {"AttributeName": one["name"], "AttributeType": one["type"]} for one in planned["attribute"]
            ],
            "DeletionProtectionEnabled": planned["deletion_protection_enabled"],
        }
        if planned["global_secondary_index"]:
            request["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": index["name"],
                    "KeySchema": keys(index),
                    "Projection": {"ProjectionType": index["projection_type"]},
                }
                for index in planned["global_secondary_index"]
            ]
        arn = self.dynamodb.create_table(**request)["TableDescription"]["TableArn"]
        self.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        for recovery in planned["point_in_time_recovery"]:
            self.dynamodb.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": recovery["enabled"]},
            )
        for ttl in [ttl for ttl in planned["ttl"] if ttl["enabled"]]:
            self.dynamodb.update_time_to_live(
                TableName=name,
                TimeToLiveSpecification={"Enabled": ttl["enabled"], "AttributeName": ttl["attribute_name"]},
            )
        return {"id": name, "arn": arn}

    def _update_aws_dynamodb_table(self, prior: Values, planned: Values) -> Values:
        self.dynamodb.update_table(
            TableName=prior["name"], DeletionProtectionEnabled=planned["deletion_protection_enabled"]
        )
        return {}

    def _delete_aws_dynamodb_table(self, prior: Values) -> None:
        # Applies AWS's rule here, because not every endpoint has deletion protection.
        if prior["deletion_protection_enabled"]:
            raise ValueError(f"ValidationException: table {prior['name']} is protected against deletion")
        self.dynamodb.delete_table(TableName=prior["name"])

    def _create_aws_ssm_parameter(self, planned: Values) -> Values:
        self.ssm.put_parameter(Name=planned["name"], Value=planned["value"], Type=planned["type"], Overwrite=True)
        return {
            "id": planned["name"],
            "arn": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{planned['name']}",
            "version": 1,
            "data_type": "text",
        }

    def _update_aws_ssm_parameter(self, prior: Values, planned: Values) -> Values:
        return self._create_aws_ssm_parameter(planned)

    def _delete_aws_ssm_parameter(self, prior: Values) -> None:
        self.ssm.delete_parameter(Name=prior["name"])

    def _create_aws_iam_role(self, planned: Values) -> Values:
        self.iam.create_role(RoleName=planned["name"], AssumeRolePolicyDocument=planned["assume_role_policy"])
        return {"id": planned["name"], "arn": f"arn:aws:iam::{ACCOUNT}:role{planned['path']}{planned['name']}"}

    def _delete_aws_iam_role(self, prior: Values) -> None:
        self.iam.delete_role(RoleName=prior["name"])

    def _create_aws_iam_role_policy(self, planned: Values) -> Values:
        self.iam.put_role_policy(RoleName=planned["role"], PolicyName=planned["name"], PolicyDocument=planned["policy"])
        return {"id": f"{planned['role']}:{planned['name']}"}

    def _update_aws_iam_role_policy(self, prior: Values, planned: Values) -> Values:
        return self._create_aws_iam_role_policy(planned)

    def _delete_aws_iam_role_policy(self, prior: Values) -> None:
        self.iam.delete_role_policy(RoleName=prior["role"], PolicyName=prior["name"])


def name_of(values: Values) -> str:
    return str(values.get("name") or values.get("id"))


def keys(of: Values) -> list[dict[str, str]]:
    return [
        {"AttributeName": of["hash_key"], "KeyType": "HASH"},
        {"AttributeName": of["range_key"], "KeyType": "RANGE"},
    ]


def queue_attributes(planned: Values) -> dict[str, str]:
    """Returns the set attributes, as text, in SQS's format."""
    names = {
        "VisibilityTimeout": "visibility_timeout_seconds",
        "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
        "MessageRetentionPeriod": "message_retention_seconds",
        "MaximumMessageSize": "max_message_size",
        "RedrivePolicy": "redrive_policy",
        "KmsMasterKeyId": "kms_master_key_id",
    }
    attributes = {theirs: str(planned[ours]) for theirs, ours in names.items() if planned.get(ours) is not None}
    if planned.get("sqs_managed_sse_enabled"):
        attributes["SqsManagedSseEnabled"] = "true"
    return attributes
