"""Queues: creating, finding, describing, configuring, tagging and deleting them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from endpoints import REGION, Aws
from helpers import (
    ACCOUNT,
    NO_SUCH_QUEUE,
    new_queue,
    queue_arn,
    queue_attributes,
    receive,
    redrive_policy,
    refused,
    send,
    unique,
)


def test_queue_url_is_the_endpoint_then_account_then_name(aws: Aws) -> None:
    name = unique("queue")
    assert aws.sqs.create_queue(QueueName=name)["QueueUrl"] == f"{aws.url}/{ACCOUNT}/{name}"


def test_creating_a_queue_again_with_the_same_attributes_returns_it(aws: Aws) -> None:
    name = unique("queue")
    attributes = {"VisibilityTimeout": "20", "DelaySeconds": "1"}
    first = aws.sqs.create_queue(QueueName=name, Attributes=attributes)
    again = aws.sqs.create_queue(QueueName=name, Attributes=attributes)
    assert first["QueueUrl"] == again["QueueUrl"]


def test_creating_a_queue_again_without_attributes_returns_it(aws: Aws) -> None:
    name = unique("queue")
    first = aws.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "20"})
    assert first["QueueUrl"] == aws.sqs.create_queue(QueueName=name)["QueueUrl"]


def test_creating_a_queue_again_with_another_attribute_value_is_refused(aws: Aws) -> None:
    name = unique("queue")
    aws.sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "1"})
    with refused("QueueAlreadyExists", exception=aws.sqs.exceptions.QueueNameExists):
        aws.sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "2"})


def test_a_queue_name_may_have_80_characters(aws: Aws) -> None:
    name = unique("queue").ljust(80, "x")
    assert aws.sqs.create_queue(QueueName=name)["QueueUrl"].endswith(f"/{name}")


INVALID_NAMES = {"81 characters": "x" * 81, "space": "a b", "slash": "a/b", "dot": "a.b", "not ascii": "ümlaut"}


@pytest.mark.parametrize("name", INVALID_NAMES.values(), ids=INVALID_NAMES.keys())
def test_an_invalid_queue_name_is_refused(aws: Aws, name: str) -> None:
    with refused("InvalidParameterValue"):
        aws.sqs.create_queue(QueueName=name)


def test_a_queue_is_found_by_name(aws: Aws) -> None:
    name = unique("queue")
    url = aws.sqs.create_queue(QueueName=name)["QueueUrl"]
    assert aws.sqs.get_queue_url(QueueName=name)["QueueUrl"] == url


def test_an_unknown_queue_is_not_found_by_name(aws: Aws) -> None:
    with refused(NO_SUCH_QUEUE, exception=aws.sqs.exceptions.QueueDoesNotExist):
        aws.sqs.get_queue_url(QueueName=unique("missing"))


MISSING_QUEUE_CALLS: dict[str, Callable[[Aws, str], object]] = {
    "send": lambda aws, url: aws.sqs.send_message(QueueUrl=url, MessageBody="x"),
    "send batch": lambda aws, url: aws.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}]),
    "receive": lambda aws, url: aws.sqs.receive_message(QueueUrl=url),
    "long poll": lambda aws, url: aws.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20),
    "delete message": lambda aws, url: aws.sqs.delete_message(QueueUrl=url, ReceiptHandle="x"),
    "get attributes": lambda aws, url: aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]),
    "set attributes": lambda aws, url: aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"}),
    "purge": lambda aws, url: aws.sqs.purge_queue(QueueUrl=url),
    "tag": lambda aws, url: aws.sqs.tag_queue(QueueUrl=url, Tags={"a": "b"}),
    "list tags": lambda aws, url: aws.sqs.list_queue_tags(QueueUrl=url),
    "list sources": lambda aws, url: aws.sqs.list_dead_letter_source_queues(QueueUrl=url),
}


@pytest.mark.parametrize("call", MISSING_QUEUE_CALLS.values(), ids=MISSING_QUEUE_CALLS.keys())
def test_a_call_to_a_missing_queue_is_refused(aws: Aws, call: Callable[[Aws, str], object]) -> None:
    url = f"{aws.url}/{ACCOUNT}/{unique('missing')}"
    with refused(NO_SUCH_QUEUE, exception=aws.sqs.exceptions.QueueDoesNotExist):
        call(aws, url)


def test_queues_are_listed_by_prefix(aws: Aws) -> None:
    prefix = unique("listed")
    urls = {aws.sqs.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(3)}
    assert set(aws.sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"]) == urls


def test_listing_no_queue_leaves_the_list_out(aws: Aws) -> None:
    assert "QueueUrls" not in aws.sqs.list_queues(QueueNamePrefix=unique("nothing"))


def test_queues_are_listed_in_pages(aws: Aws) -> None:
    prefix = unique("paged")
    urls = {aws.sqs.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(5)}
    pages = list(
        aws.sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
    )
    assert [len(page["QueueUrls"]) for page in pages] == [2, 2, 1]
    assert {url for page in pages for url in page["QueueUrls"]} == urls


def test_a_deleted_queue_is_gone(aws: Aws) -> None:
    name = unique("queue")
    url = aws.sqs.create_queue(QueueName=name)["QueueUrl"]
    aws.sqs.delete_queue(QueueUrl=url)
    with refused(NO_SUCH_QUEUE):
        aws.sqs.get_queue_url(QueueName=name)
    with refused(NO_SUCH_QUEUE):
        send(aws, url)
    assert aws.sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []) == []


def test_a_new_queue_has_the_documented_defaults(aws: Aws) -> None:
    attributes = queue_attributes(aws, new_queue(aws))
    defaults = {
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
        "SqsManagedSseEnabled": "true",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
    }
    assert {name: attributes.get(name) for name in defaults} == defaults
    assert "FifoQueue" not in attributes
    assert "RedrivePolicy" not in attributes


def test_a_queue_reports_its_arn_and_times(aws: Aws) -> None:
    name = unique("queue")
    url = aws.sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = queue_attributes(aws, url)
    assert attributes["QueueArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    for stamp in ("CreatedTimestamp", "LastModifiedTimestamp"):
        assert abs(int(attributes[stamp]) - time.time()) < 60


def test_only_requested_attributes_are_returned(aws: Aws, queue: str) -> None:
    assert queue_attributes(aws, queue, "VisibilityTimeout", "DelaySeconds") == {
        "VisibilityTimeout": "30",
        "DelaySeconds": "0",
    }


def test_an_unset_attribute_is_left_out(aws: Aws, queue: str) -> None:
    assert queue_attributes(aws, queue, "RedrivePolicy") == {}


def test_an_unknown_attribute_cannot_be_requested(aws: Aws, queue: str) -> None:
    with refused("InvalidAttributeName"):
        aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Color"])


def test_set_attributes_are_read_back_and_the_others_kept(aws: Aws) -> None:
    url = new_queue(aws, DelaySeconds="7")
    changes = {
        "VisibilityTimeout": "43200",
        "MaximumMessageSize": "1024",
        "MessageRetentionPeriod": "1209600",
        "ReceiveMessageWaitTimeSeconds": "20",
    }
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes=changes)
    attributes = queue_attributes(aws, url)
    assert {name: attributes[name] for name in changes} == changes
    assert attributes["DelaySeconds"] == "7"


OUT_OF_RANGE = [
    ("VisibilityTimeout", "43201"),
    ("VisibilityTimeout", "-1"),
    ("VisibilityTimeout", "soon"),
    ("DelaySeconds", "901"),
    ("MessageRetentionPeriod", "59"),
    ("MessageRetentionPeriod", "1209601"),
    ("MaximumMessageSize", "1023"),
    ("MaximumMessageSize", "1048577"),
    ("ReceiveMessageWaitTimeSeconds", "21"),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_an_attribute_value_out_of_range_is_refused(aws: Aws, queue: str, name: str, value: str) -> None:
    before = queue_attributes(aws, queue, name)
    with refused("InvalidAttributeValue"):
        aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: value})
    assert queue_attributes(aws, queue, name) == before


def test_a_queue_with_a_value_out_of_range_is_not_created(aws: Aws) -> None:
    name = unique("queue")
    with refused("InvalidAttributeValue"):
        aws.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "43201"})
    with refused(NO_SUCH_QUEUE):
        aws.sqs.get_queue_url(QueueName=name)


@pytest.mark.parametrize("name", ["Color", "QueueArn", "FifoQueue"])
def test_an_attribute_that_cannot_be_set_is_refused(aws: Aws, queue: str, name: str) -> None:
    with refused("InvalidAttributeName"):
        aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: "true"})


def test_server_side_encryption_can_be_switched_off(aws: Aws, queue: str) -> None:
    aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"SqsManagedSseEnabled": "false"})
    assert queue_attributes(aws, queue, "SqsManagedSseEnabled") == {"SqsManagedSseEnabled": "false"}


def test_a_policy_is_kept_and_an_empty_one_removes_it(aws: Aws, queue: str) -> None:
    policy = {"Version": "2012-10-17", "Statement": []}
    aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    assert json.loads(queue_attributes(aws, queue)["Policy"]) == policy
    aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert "Policy" not in queue_attributes(aws, queue)


def test_an_empty_redrive_policy_removes_it(aws: Aws, queue: str) -> None:
    policy = redrive_policy(queue_arn(aws, new_queue(aws)), 3)
    aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    assert "RedrivePolicy" in queue_attributes(aws, queue)
    aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    assert "RedrivePolicy" not in queue_attributes(aws, queue)


def test_the_counts_separate_visible_in_flight_and_delayed(aws: Aws, queue: str) -> None:
    for _ in range(3):
        send(aws, queue)
    send(aws, queue, DelaySeconds=900)
    assert len(receive(aws, queue, MaxNumberOfMessages=1, WaitTimeSeconds=5)) == 1
    counts = queue_attributes(
        aws,
        queue,
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    assert counts == {
        "ApproximateNumberOfMessages": "2",
        "ApproximateNumberOfMessagesNotVisible": "1",
        "ApproximateNumberOfMessagesDelayed": "1",
    }


def test_tags_are_added_overwritten_and_removed(aws: Aws, queue: str) -> None:
    aws.sqs.tag_queue(QueueUrl=queue, Tags={"team": "a", "stage": "dev", "empty": ""})
    aws.sqs.tag_queue(QueueUrl=queue, Tags={"team": "b"})
    assert aws.sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"team": "b", "stage": "dev", "empty": ""}
    aws.sqs.untag_queue(QueueUrl=queue, TagKeys=["stage", "never-set"])
    assert aws.sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"team": "b", "empty": ""}


def test_a_queue_without_tags_leaves_them_out(aws: Aws, queue: str) -> None:
    assert "Tags" not in aws.sqs.list_queue_tags(QueueUrl=queue)


def test_a_queue_can_be_created_with_tags(aws: Aws) -> None:
    url = aws.sqs.create_queue(QueueName=unique("queue"), tags={"team": "a"})["QueueUrl"]
    assert aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a"}


def test_purging_removes_visible_in_flight_and_delayed_messages(aws: Aws, queue: str) -> None:
    for _ in range(3):
        send(aws, queue)
    send(aws, queue, DelaySeconds=900)
    receive(aws, queue, WaitTimeSeconds=5, VisibilityTimeout=1)
    aws.sqs.purge_queue(QueueUrl=queue)
    assert receive(aws, queue, MaxNumberOfMessages=10, WaitTimeSeconds=2) == []
    attributes = queue_attributes(aws, queue)
    assert attributes["ApproximateNumberOfMessages"] == "0"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "0"


def test_a_second_purge_within_a_minute_is_refused(aws: Aws, queue: str) -> None:
    aws.sqs.purge_queue(QueueUrl=queue)
    with refused("AWS.SimpleQueueService.PurgeQueueInProgress", status=403):
        aws.sqs.purge_queue(QueueUrl=queue)
