"""Dead-letter queues: the policy, and the move of a message after its last receive."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from endpoints import Aws, wait_until
from helpers import (
    drain,
    new_queue,
    queue_arn,
    queue_attributes,
    receive,
    receive_one,
    redrive_policy,
    refused,
    send,
    send_many,
    text,
)


def pair(aws: Aws, count: int | str) -> tuple[str, str]:
    """Creates a queue and its dead-letter queue."""
    dead = new_queue(aws)
    return new_queue(aws, RedrivePolicy=redrive_policy(queue_arn(aws, dead), count)), dead


@pytest.mark.parametrize("count", [2, "2"], ids=["number", "string"])
def test_the_policy_takes_the_count_as_number_or_string_and_answers_a_number(aws: Aws, count: int | str) -> None:
    source, dead = pair(aws, count)
    policy = json.loads(queue_attributes(aws, source, "RedrivePolicy")["RedrivePolicy"])
    assert policy == {"deadLetterTargetArn": queue_arn(aws, dead), "maxReceiveCount": 2}


@pytest.mark.parametrize("count", [2, "2"], ids=["number", "string"])
def test_a_message_moves_after_as_many_receives_as_allowed(aws: Aws, count: int | str) -> None:
    source, dead = pair(aws, count)
    sent = send(aws, source)
    for _ in range(2):
        assert receive_one(aws, source, VisibilityTimeout=0)["MessageId"] == sent["MessageId"]
    assert receive(aws, source) == []
    assert receive_one(aws, dead)["MessageId"] == sent["MessageId"]


def test_a_moved_message_keeps_its_content(aws: Aws) -> None:
    source, dead = pair(aws, 1)
    send(aws, source, "payload", MessageGroupId="tenant-1", MessageAttributes={"tenant_id": text("tenant-1")})
    before = receive_one(aws, source, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])
    assert receive(aws, source) == []
    after = receive_one(aws, dead, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    assert after["Body"] == "payload"
    assert after["MessageAttributes"] == {"tenant_id": text("tenant-1")}
    assert after["Attributes"]["MessageGroupId"] == "tenant-1"
    assert after["Attributes"]["SentTimestamp"] == before["Attributes"]["SentTimestamp"]


def test_a_moved_message_names_its_source(aws: Aws) -> None:
    source, dead = pair(aws, 1)
    send(aws, source)
    receive_one(aws, source, VisibilityTimeout=0)
    assert receive(aws, source) == []
    attributes = receive_one(aws, dead, MessageSystemAttributeNames=["All"])["Attributes"]
    assert attributes["DeadLetterQueueSourceArn"] == queue_arn(aws, source)


def test_a_message_deleted_in_time_does_not_move(aws: Aws) -> None:
    source, dead = pair(aws, 1)
    send(aws, source)
    handle = receive_one(aws, source, VisibilityTimeout=1)["ReceiptHandle"]
    aws.sqs.delete_message(QueueUrl=source, ReceiptHandle=handle)
    assert receive(aws, source, WaitTimeSeconds=2) == []
    assert receive(aws, dead) == []


def test_a_moved_message_makes_room_for_the_next(aws: Aws) -> None:
    source, dead = pair(aws, 1)
    send_many(aws, source, ["a", "b"])
    assert len(drain(aws, source, 2, VisibilityTimeout=0)) == 2
    send(aws, source, "c")
    assert receive_one(aws, source, MaxNumberOfMessages=10)["Body"] == "c"
    assert {receive_one(aws, dead)["Body"] for _ in range(2)} == {"a", "b"}


def test_the_dead_letter_queue_lists_its_sources(aws: Aws) -> None:
    dead = new_queue(aws)
    policy = redrive_policy(queue_arn(aws, dead), 3)
    sources = {new_queue(aws, RedrivePolicy=policy) for _ in range(3)}
    assert set(aws.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"]) == sources


def test_the_sources_are_listed_in_pages(aws: Aws) -> None:
    dead = new_queue(aws)
    policy = redrive_policy(queue_arn(aws, dead), 3)
    sources = {new_queue(aws, RedrivePolicy=policy) for _ in range(3)}
    pages = aws.sqs.get_paginator("list_dead_letter_source_queues").paginate(
        QueueUrl=dead, PaginationConfig={"PageSize": 2}
    )
    listed = [page["queueUrls"] for page in pages]
    assert [len(page) for page in listed] == [2, 1]
    assert {url for page in listed for url in page} == sources


def test_an_ordinary_queue_has_no_sources(aws: Aws, queue: str) -> None:
    assert aws.sqs.list_dead_letter_source_queues(QueueUrl=queue).get("queueUrls", []) == []


INVALID_POLICIES = {
    "not json": "{",
    "not an object": "[]",
    "no count": '{"deadLetterTargetArn": "ARN"}',
    "no target": '{"maxReceiveCount": "3"}',
    "count not a number": '{"deadLetterTargetArn": "ARN", "maxReceiveCount": "three"}',
    "count zero": '{"deadLetterTargetArn": "ARN", "maxReceiveCount": 0}',
    "count over 1000": '{"deadLetterTargetArn": "ARN", "maxReceiveCount": 1001}',
    "target not an arn": '{"deadLetterTargetArn": "somewhere", "maxReceiveCount": 3}',
}


@pytest.mark.parametrize("policy", INVALID_POLICIES.values(), ids=INVALID_POLICIES.keys())
def test_an_invalid_policy_is_refused(aws: Aws, queue: str, policy: str) -> None:
    policy = policy.replace("ARN", queue_arn(aws, new_queue(aws)))
    with refused("InvalidParameterValue"):
        aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    assert "RedrivePolicy" not in queue_attributes(aws, queue)


def test_a_policy_that_names_a_missing_queue_is_refused(aws: Aws, queue: str) -> None:
    policy = redrive_policy(f"{queue_arn(aws, queue)}-missing", 3)
    with refused("InvalidParameterValue"):
        aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})


def dead_lettered(aws: Aws, bodies: list[str]) -> tuple[str, str]:
    """Creates a queue and its dead-letter queue, to which these messages have moved."""
    source, dead = pair(aws, 1)
    send_many(aws, source, bodies)
    assert len(drain(aws, source, len(bodies), VisibilityTimeout=0)) == len(bodies)
    assert receive(aws, source) == []
    return source, dead


def test_dead_letters_are_moved_back_to_their_source(aws: Aws) -> None:
    source, dead = dead_lettered(aws, ["a", "b"])
    aws.sqs.start_message_move_task(SourceArn=queue_arn(aws, dead))
    assert {receive_one(aws, source)["Body"] for _ in range(2)} == {"a", "b"}

    def completed() -> dict[str, Any] | None:
        (task,) = aws.sqs.list_message_move_tasks(SourceArn=queue_arn(aws, dead))["Results"]
        return task if task["Status"] == "COMPLETED" else None

    assert wait_until(completed, "the task is completed", 10)["ApproximateNumberOfMessagesMoved"] == 2


def ended(aws: Aws, dead: str) -> dict[str, Any]:
    """Waits until the latest move task of a queue has ended, and returns it."""

    def task() -> dict[str, Any] | None:
        (latest,) = aws.sqs.list_message_move_tasks(SourceArn=queue_arn(aws, dead))["Results"]
        return latest if latest["Status"] != "RUNNING" else None

    return wait_until(task, "the task has ended", 10)


@pytest.mark.parametrize("direct", [1, 30])
@pytest.mark.parametrize("first", [True, False], ids=["direct first", "direct last"])
def test_a_message_sent_to_the_dead_letter_queue_fails_the_task_and_the_others_move(
    aws: Aws, direct: int, first: bool
) -> None:
    source, dead = pair(aws, 1)
    group = {"MessageGroupId": "tenant-1"}
    if first:
        send_many(aws, dead, ["direct"] * direct, **group)
    send_many(aws, source, [str(n) for n in range(20)], **group)
    assert len(drain(aws, source, 20, VisibilityTimeout=0)) == 20
    assert receive(aws, source) == []
    if not first:
        send_many(aws, dead, ["direct"] * direct, **group)
    aws.sqs.start_message_move_task(SourceArn=queue_arn(aws, dead))
    task = ended(aws, dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert task["ApproximateNumberOfMessagesMoved"] == 20
    assert task["ApproximateNumberOfMessagesToMove"] == 20 + direct
    assert {message["Body"] for message in drain(aws, source, 20)} == {str(n) for n in range(20)}
    assert [message["Body"] for message in drain(aws, dead, direct)] == ["direct"] * direct


def test_a_message_whose_source_is_gone_fails_the_task(aws: Aws) -> None:
    source, dead = dead_lettered(aws, ["a"])
    pair_of = redrive_policy(queue_arn(aws, dead), 1)
    other = new_queue(aws, RedrivePolicy=pair_of)
    aws.sqs.delete_queue(QueueUrl=source)
    aws.sqs.start_message_move_task(SourceArn=queue_arn(aws, dead))
    task = ended(aws, dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    assert receive(aws, other) == []
    assert receive_one(aws, dead)["Body"] == "a"


def test_a_task_with_a_destination_moves_what_was_sent_to_the_dead_letter_queue(aws: Aws, queue: str) -> None:
    _, dead = dead_lettered(aws, ["a"])
    send(aws, dead, "direct")
    arn = queue_arn(aws, queue)
    aws.sqs.start_message_move_task(SourceArn=queue_arn(aws, dead), DestinationArn=arn, MaxNumberOfMessagesPerSecond=50)
    task = ended(aws, dead)
    started = task.pop("StartedTimestamp")
    assert abs(started / 1000 - time.time()) < 60
    assert task == {
        "Status": "COMPLETED",
        "SourceArn": queue_arn(aws, dead),
        "DestinationArn": arn,
        "MaxNumberOfMessagesPerSecond": 50,
        "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 2,
    }
    assert {message["Body"] for message in drain(aws, queue, 2)} == {"a", "direct"}


def test_a_queue_is_not_its_own_destination(aws: Aws) -> None:
    _, dead = dead_lettered(aws, ["a"])
    arn = queue_arn(aws, dead)
    with refused("InvalidParameterValue"):
        aws.sqs.start_message_move_task(SourceArn=arn, DestinationArn=arn)


def test_only_a_dead_letter_queue_can_be_moved_back(aws: Aws, queue: str) -> None:
    with refused("InvalidParameterValue"):
        aws.sqs.start_message_move_task(SourceArn=queue_arn(aws, queue))
