"""Visibility timeouts and receipt handles: how long a message is hidden, and what an old handle can do."""

from __future__ import annotations

import time

import pytest

from endpoints import Aws
from helpers import new_queue, queue_attributes, receive, receive_one, refused, send

FOREVER = 43200


def change(aws: Aws, url: str, handle: str, seconds: int) -> None:
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=seconds)


def test_a_received_message_is_hidden_for_its_visibility_timeout(aws: Aws, queue: str) -> None:
    sent = send(aws, queue)
    first = receive_one(aws, queue, VisibilityTimeout=1)
    begin = time.monotonic()
    assert receive(aws, queue) == []
    second = receive_one(aws, queue)
    assert time.monotonic() - begin > 0.5
    assert first["MessageId"] == second["MessageId"] == sent["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]


def test_the_visibility_timeout_of_the_queue_applies(aws: Aws) -> None:
    url = new_queue(aws, VisibilityTimeout="1")
    send(aws, url)
    receive_one(aws, url)
    assert receive(aws, url) == []
    receive_one(aws, url)


def test_a_visibility_timeout_of_zero_hides_nothing(aws: Aws, queue: str) -> None:
    send(aws, queue)
    receive_one(aws, queue, VisibilityTimeout=0)
    receive_one(aws, queue, VisibilityTimeout=0)


def test_a_released_message_is_received_again_at_once(aws: Aws, queue: str) -> None:
    send(aws, queue)
    change(aws, queue, receive_one(aws, queue)["ReceiptHandle"], 0)
    assert len(receive(aws, queue)) == 1


def test_a_lease_can_be_extended(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue, VisibilityTimeout=1)["ReceiptHandle"]
    change(aws, queue, handle, 600)
    assert receive(aws, queue, WaitTimeSeconds=2) == []


def test_a_lease_can_be_shortened(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue, VisibilityTimeout=600)["ReceiptHandle"]
    change(aws, queue, handle, 1)
    assert receive(aws, queue) == []
    receive_one(aws, queue)


def test_a_changed_visibility_is_for_one_receive_only(aws: Aws, queue: str) -> None:
    send(aws, queue)
    change(aws, queue, receive_one(aws, queue)["ReceiptHandle"], 0)
    receive_one(aws, queue)
    assert receive(aws, queue) == []


@pytest.mark.parametrize("seconds", [-1, FOREVER + 1])
def test_a_visibility_timeout_out_of_range_is_refused(aws: Aws, queue: str, seconds: int) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue)["ReceiptHandle"]
    with refused("InvalidParameterValue"):
        change(aws, queue, handle, seconds)


def test_a_malformed_handle_cannot_change_visibility(aws: Aws, queue: str) -> None:
    with refused("ReceiptHandleIsInvalid", exception=aws.sqs.exceptions.ReceiptHandleIsInvalid):
        change(aws, queue, "garbage", 60)


def test_the_visibility_of_a_deleted_message_cannot_be_changed(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue)["ReceiptHandle"]
    aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    with refused("InvalidParameterValue"):
        change(aws, queue, handle, 60)


def test_a_deleted_message_does_not_come_back(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue, VisibilityTimeout=1)["ReceiptHandle"]
    aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    assert receive(aws, queue, WaitTimeSeconds=2) == []
    assert queue_attributes(aws, queue, "ApproximateNumberOfMessagesNotVisible") == {
        "ApproximateNumberOfMessagesNotVisible": "0"
    }


def test_deleting_twice_is_no_error(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue)["ReceiptHandle"]
    for _ in range(3):
        aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)


def test_a_malformed_handle_cannot_delete(aws: Aws, queue: str) -> None:
    with refused("ReceiptHandleIsInvalid", exception=aws.sqs.exceptions.ReceiptHandleIsInvalid):
        aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle="garbage")


def test_a_handle_of_another_queue_cannot_delete(aws: Aws, queue: str) -> None:
    other = new_queue(aws)
    send(aws, other)
    handle = receive_one(aws, other, VisibilityTimeout=0)["ReceiptHandle"]
    with refused("ReceiptHandleIsInvalid"):
        aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    assert len(receive(aws, other)) == 1


def test_an_expired_handle_deletes_if_the_message_was_not_received_again(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue, VisibilityTimeout=0)["ReceiptHandle"]
    aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    assert receive(aws, queue) == []


def test_a_stale_handle_deletes_nothing_and_is_no_error(aws: Aws, queue: str) -> None:
    send(aws, queue)
    stale = receive_one(aws, queue, VisibilityTimeout=0)["ReceiptHandle"]
    receive_one(aws, queue, VisibilityTimeout=0)
    aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=stale)
    assert len(receive(aws, queue, WaitTimeSeconds=1)) == 1
