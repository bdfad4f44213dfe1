"""The AWS command line tool against the endpoint: the walk-through's commands and the basics of each service."""

from __future__ import annotations

import json
from typing import Any

from endpoints import Aws
from helpers import ACCOUNT, new_queue, queue_arn, receive_one, send, unique
from tables import ids, item, key, new_table


def answer(aws: Aws, *arguments: str) -> Any:
    """Runs a command that must succeed, and parses its output (None if empty)."""
    done = aws.cli(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def error(aws: Aws, *arguments: str) -> str:
    done = aws.cli(*arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_a_lifecycle_message_is_sent_and_received(aws: Aws) -> None:
    name = unique("argoworkflows-onboarding-queue")
    url = answer(aws, "sqs", "create-queue", "--queue-name", name)["QueueUrl"]
    assert answer(aws, "sqs", "get-queue-url", "--queue-name", name)["QueueUrl"] == url
    body = '{"tenant_id":"tenant-1","tenant_tier":"premium","release_version":"0.0"}'
    sent = answer(aws, "sqs", "send-message", "--queue-url", url, "--message-body", body)
    received = answer(aws, "sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "5")
    (message,) = received["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], body)
    handle = message["ReceiptHandle"]
    assert answer(aws, "sqs", "delete-message", "--queue-url", url, "--receipt-handle", handle) is None


def test_a_message_with_attributes_is_sent_in_short_hand(aws: Aws, queue: str) -> None:
    attributes = "tenant_id={DataType=String,StringValue=tenant-1},n={DataType=Number,StringValue=7}"
    answer(
        aws, "sqs", "send-message", "--queue-url", queue, "--message-body", "hello", "--message-attributes", attributes
    )
    message = receive_one(aws, queue, MessageAttributeNames=["All"])
    assert message["MessageAttributes"]["tenant_id"] == {"DataType": "String", "StringValue": "tenant-1"}
    assert message["MessageAttributes"]["n"] == {"DataType": "Number", "StringValue": "7"}


def test_an_empty_queue_prints_nothing(aws: Aws, queue: str) -> None:
    assert answer(aws, "sqs", "receive-message", "--queue-url", queue) is None


def test_queue_attributes_are_printed(aws: Aws, queue: str) -> None:
    command = ("sqs", "get-queue-attributes", "--queue-url", queue, "--attribute-names", "All")
    assert answer(aws, *command)["Attributes"]["QueueArn"] == queue_arn(aws, queue)


def test_a_dead_letter_queue_is_set_from_json(aws: Aws, queue: str) -> None:
    policy = {"deadLetterTargetArn": queue_arn(aws, new_queue(aws)), "maxReceiveCount": 5}
    attributes = json.dumps({"RedrivePolicy": json.dumps(policy)})
    answer(aws, "sqs", "set-queue-attributes", "--queue-url", queue, "--attributes", attributes)
    command = ("sqs", "get-queue-attributes", "--queue-url", queue, "--attribute-names", "RedrivePolicy")
    assert json.loads(answer(aws, *command)["Attributes"]["RedrivePolicy"]) == policy


def test_a_queue_is_purged(aws: Aws, queue: str) -> None:
    send(aws, queue)
    assert answer(aws, "sqs", "purge-queue", "--queue-url", queue) is None
    assert answer(aws, "sqs", "receive-message", "--queue-url", queue) is None


def test_a_missing_queue_is_named_by_the_error(aws: Aws) -> None:
    printed = error(aws, "sqs", "get-queue-url", "--queue-name", unique("missing"))
    assert "AWS.SimpleQueueService.NonExistentQueue" in printed


def test_queues_are_listed_by_prefix(aws: Aws) -> None:
    prefix = unique("listed")
    url = aws.sqs.create_queue(QueueName=f"{prefix}-a")["QueueUrl"]
    assert answer(aws, "sqs", "list-queues", "--queue-name-prefix", prefix)["QueueUrls"] == [url]


def test_the_table_of_a_tenant_is_found_by_name(aws: Aws) -> None:
    name = new_table(aws, unique("consumer-tenant-3"))
    query = f"TableNames[?contains(@, '{name[:-4]}')]"
    done = aws.cli("dynamodb", "list-tables", "--query", query, "--output", "text")
    assert (done.returncode, done.stdout.strip()) == (0, name)


def test_a_stored_item_is_found_by_scan_and_by_key(aws: Aws) -> None:
    table = new_table(aws)
    stored = item("m1", payload={"M": {"event": {"S": "Event raised!"}}})
    aws.dynamodb.put_item(TableName=table, Item=stored)
    scanned = answer(aws, "dynamodb", "scan", "--table-name", table)
    assert (scanned["Items"], scanned["Count"]) == ([stored], 1)
    got = answer(aws, "dynamodb", "get-item", "--table-name", table, "--key", json.dumps(key("m1")))
    assert got["Item"] == stored


def test_a_missing_item_prints_nothing(aws: Aws) -> None:
    table = new_table(aws)
    assert answer(aws, "dynamodb", "get-item", "--table-name", table, "--key", json.dumps(key("m1"))) is None


def test_items_are_queried(aws: Aws) -> None:
    table = new_table(aws)
    for message in ("a", "b"):
        aws.dynamodb.put_item(TableName=table, Item=item(message))
    command = ("dynamodb", "query", "--table-name", table, "--no-scan-index-forward")
    condition = ("--key-condition-expression", "tenant_id = :t")
    values = ("--expression-attribute-values", '{":t":{"S":"tenant-1"}}')
    assert ids(answer(aws, *command, *condition, *values)["Items"]) == ["b", "a"]


def test_a_missing_table_is_named_by_the_error(aws: Aws) -> None:
    assert "ResourceNotFoundException" in error(aws, "dynamodb", "scan", "--table-name", unique("missing"))


def test_a_parameter_is_put_and_read(aws: Aws) -> None:
    name = f"/{unique('tenant')}/consumer_sqs"
    put = answer(aws, "ssm", "put-parameter", "--name", name, "--type", "SecureString", "--value", "arn:aws:sqs:x")
    assert put["Version"] == 1
    got = answer(aws, "ssm", "get-parameter", "--name", name, "--with-decryption")["Parameter"]
    assert (got["Name"], got["Type"], got["Value"]) == (name, "SecureString", "arn:aws:sqs:x")


def test_a_path_of_parameters_is_read_page_by_page(aws: Aws) -> None:
    path = f"/{unique('tenant')}"
    names = [f"{path}/{n:02}" for n in range(12)]
    for name in names:
        aws.ssm.put_parameter(Name=name, Value="x", Type="String")
    listed = answer(aws, "ssm", "get-parameters-by-path", "--path", path)["Parameters"]
    assert sorted(parameter["Name"] for parameter in listed) == names


def test_a_missing_parameter_is_named_by_the_error(aws: Aws) -> None:
    assert "ParameterNotFound" in error(aws, "ssm", "get-parameter", "--name", f"/{unique('missing')}")


def test_the_caller_gets_its_account(aws: Aws) -> None:
    assert answer(aws, "sts", "get-caller-identity")["Account"] == ACCOUNT


def test_a_role_is_assumed_with_a_session_tag(aws: Aws) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/tenant-access"
    command = ("sts", "assume-role", "--role-arn", role, "--role-session-name", "tenant-1")
    assumed = answer(aws, *command, "--tags", "Key=tenant_id,Value=tenant-1")
    assert assumed["AssumedRoleUser"]["Arn"].endswith("assumed-role/tenant-access/tenant-1")
