"""SendMessageBatch and DeleteMessageBatch: limits of the whole batch, and the outcome of each entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from endpoints import Aws
from helpers import MEBIBYTE, drain, md5, md5_of_attributes, new_queue, receive, receive_one, refused, send_many, text

PREFIX = "AWS.SimpleQueueService."

Batch = Callable[[Aws, str, list[str]], dict[str, Any]]


def send_batch(aws: Aws, url: str, ids: list[str]) -> dict[str, Any]:
    entries = [{"Id": entry, "MessageBody": "hello"} for entry in ids]
    return aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)


def delete_batch(aws: Aws, url: str, ids: list[str]) -> dict[str, Any]:
    entries = [{"Id": entry, "ReceiptHandle": "handle"} for entry in ids]
    return aws.sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def change_batch(aws: Aws, url: str, ids: list[str]) -> dict[str, Any]:
    entries = [{"Id": entry, "ReceiptHandle": "handle", "VisibilityTimeout": 1} for entry in ids]
    return aws.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)


every_batch = pytest.mark.parametrize("batch", [send_batch, delete_batch, change_batch])


@every_batch
def test_more_than_ten_entries_are_refused(aws: Aws, queue: str, batch: Batch) -> None:
    exception = aws.sqs.exceptions.TooManyEntriesInBatchRequest
    with refused(PREFIX + "TooManyEntriesInBatchRequest", exception=exception):
        batch(aws, queue, [str(n) for n in range(11)])


@every_batch
def test_no_entry_is_refused(aws: Aws, queue: str, batch: Batch) -> None:
    with refused(PREFIX + "EmptyBatchRequest", exception=aws.sqs.exceptions.EmptyBatchRequest):
        batch(aws, queue, [])


@every_batch
def test_an_id_used_twice_is_refused(aws: Aws, queue: str, batch: Batch) -> None:
    exception = aws.sqs.exceptions.BatchEntryIdsNotDistinct
    with refused(PREFIX + "BatchEntryIdsNotDistinct", exception=exception):
        batch(aws, queue, ["a", "b", "a"])


@every_batch
@pytest.mark.parametrize("entry", ["", "x" * 81, "a:b", "a b"], ids=["empty", "too long", "colon", "space"])
def test_an_invalid_id_is_refused(aws: Aws, queue: str, batch: Batch, entry: str) -> None:
    with refused(PREFIX + "InvalidBatchEntryId", exception=aws.sqs.exceptions.InvalidBatchEntryId):
        batch(aws, queue, [entry])


def test_a_refused_batch_leaves_nothing_behind(aws: Aws, queue: str) -> None:
    with refused(PREFIX + "BatchEntryIdsNotDistinct"):
        send_batch(aws, queue, ["a", "b", "a"])
    assert receive(aws, queue, MaxNumberOfMessages=10) == []


def test_an_id_may_have_80_characters(aws: Aws, queue: str) -> None:
    entry = "aZ09_-".ljust(80, "x")
    assert [done["Id"] for done in send_batch(aws, queue, [entry])["Successful"]] == [entry]


def test_ten_messages_arrive_each_with_its_own_answer(aws: Aws, queue: str) -> None:
    attributes = {"n": text("1", "Number")}
    entries = [{"Id": f"id-{n}", "MessageBody": f"body {n}", "MessageAttributes": attributes} for n in range(10)]
    answer = aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert "Failed" not in answer
    by_id = {done["Id"]: done for done in answer["Successful"]}
    messages = {message["MessageId"]: message["Body"] for message in drain(aws, queue, 10)}
    for n in range(10):
        done = by_id[f"id-{n}"]
        assert messages[done["MessageId"]] == f"body {n}"
        assert done["MD5OfMessageBody"] == md5(f"body {n}")
        assert done["MD5OfMessageAttributes"] == md5_of_attributes(attributes)


def test_a_batch_may_have_one_mebibyte(aws: Aws, queue: str) -> None:
    send_many(aws, queue, ["x" * (MEBIBYTE // 4)] * 4)
    assert len(drain(aws, queue, 4)) == 4


def test_a_batch_over_one_mebibyte_is_refused(aws: Aws, queue: str) -> None:
    entries = [{"Id": str(n), "MessageBody": "x" * (MEBIBYTE // 4)} for n in range(4)]
    entries.append({"Id": "last", "MessageBody": "x"})
    with refused(PREFIX + "BatchRequestTooLong", exception=aws.sqs.exceptions.BatchRequestTooLong):
        aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)


def test_attributes_count_toward_the_size_of_a_batch(aws: Aws, queue: str) -> None:
    entries: list[dict[str, Any]] = [{"Id": str(n), "MessageBody": "x" * (MEBIBYTE // 4)} for n in range(4)]
    entries[0]["MessageAttributes"] = {"name": text("x")}
    with refused(PREFIX + "BatchRequestTooLong"):
        aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)


INVALID_ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "character": ("InvalidMessageContents", {"MessageBody": "\x01"}),
    "too large for the queue": ("InvalidParameterValue", {"MessageBody": "x" * 1025}),
    "delay": ("InvalidParameterValue", {"MessageBody": "x", "DelaySeconds": 901}),
    "attribute": ("InvalidParameterValue", {"MessageBody": "x", "MessageAttributes": {"name": text("")}}),
}


@pytest.mark.parametrize(("code", "entry"), INVALID_ENTRIES.values(), ids=INVALID_ENTRIES.keys())
def test_an_invalid_entry_fails_alone(aws: Aws, code: str, entry: dict[str, Any]) -> None:
    url = new_queue(aws, MaximumMessageSize="1024")
    entries = [{"Id": "good", "MessageBody": "good"}, {"Id": "bad", **entry}, {"Id": "fine", "MessageBody": "fine"}]
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert {done["Id"] for done in answer["Successful"]} == {"good", "fine"}
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", code, True)
    assert {message["Body"] for message in drain(aws, url, 2)} == {"good", "fine"}


def test_entries_keep_their_own_group_delay_and_trace(aws: Aws, queue: str) -> None:
    trace = text("Root=1-5759e988-bd862e3fe1be46a994272793")
    entries = [
        {"Id": "a", "MessageBody": "a", "MessageGroupId": "tenant-1"},
        {"Id": "b", "MessageBody": "b", "MessageSystemAttributes": {"AWSTraceHeader": trace}},
        {"Id": "c", "MessageBody": "c", "DelaySeconds": 900},
    ]
    aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    messages: dict[str, dict[str, str]] = {}
    while len(messages) < 2:
        message = receive_one(aws, queue, MessageSystemAttributeNames=["MessageGroupId", "AWSTraceHeader"])
        messages[message["Body"]] = message.get("Attributes", {})
    assert messages == {"a": {"MessageGroupId": "tenant-1"}, "b": {"AWSTraceHeader": trace["StringValue"]}}


def test_deleting_a_batch_reports_the_outcome_of_each_entry(aws: Aws) -> None:
    url = new_queue(aws, VisibilityTimeout="2")
    send_many(aws, url, ["one", "two", "three"])
    messages = drain(aws, url, 3)
    entries = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
    entries.append({"Id": "bad", "ReceiptHandle": "no such handle"})
    answer = aws.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert {done["Id"] for done in answer["Successful"]} == {"one", "two", "three"}
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)
    assert receive(aws, url, WaitTimeSeconds=3) == []


def test_a_batch_deleted_without_failure_leaves_the_failures_out(aws: Aws, queue: str) -> None:
    send_many(aws, queue, ["one"])
    handle = receive_one(aws, queue)["ReceiptHandle"]
    answer = aws.sqs.delete_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "ReceiptHandle": handle}])
    assert [done["Id"] for done in answer["Successful"]] == ["a"]
    assert "Failed" not in answer


def test_changing_visibility_in_a_batch_reports_the_outcome_of_each_entry(aws: Aws, queue: str) -> None:
    send_many(aws, queue, ["one", "two"])
    messages = drain(aws, queue, 2)
    entries: list[dict[str, Any]] = [
        {"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for m in messages
    ]
    entries.append({"Id": "bad", "ReceiptHandle": "no such handle", "VisibilityTimeout": 0})
    answer = aws.sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    assert {done["Id"] for done in answer["Successful"]} == {"one", "two"}
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)
    assert {message["Body"] for message in drain(aws, queue, 2)} == {"one", "two"}
