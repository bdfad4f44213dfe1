"""ReceiveMessage: long polling, the fields of a message, and filters."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from endpoints import REGION, Aws
from helpers import drain, new_queue, queue_attributes, receive, receive_one, refused, send, send_many, text

WAKE_ROUNDS = 11
GENEROUS_WAKE_SECONDS = 1.0


def elapsed_since(begin: float) -> float:
    return time.monotonic() - begin


def test_an_empty_queue_answers_at_once_and_without_a_list(aws: Aws, queue: str) -> None:
    begin = time.monotonic()
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=queue)
    assert elapsed_since(begin) < 1


def test_a_long_poll_of_an_empty_queue_waits_its_time(aws: Aws, queue: str) -> None:
    begin = time.monotonic()
    assert receive(aws, queue, WaitTimeSeconds=1) == []
    assert 0.95 <= elapsed_since(begin) < 2.5


def test_a_long_poll_answers_at_once_when_there_is_a_message(aws: Aws, queue: str) -> None:
    send(aws, queue)
    begin = time.monotonic()
    assert len(receive(aws, queue, WaitTimeSeconds=10, MaxNumberOfMessages=10)) == 1
    assert elapsed_since(begin) < 2


def test_the_wait_time_of_the_queue_applies_and_a_call_overrides_it(aws: Aws) -> None:
    url = new_queue(aws, ReceiveMessageWaitTimeSeconds="1")
    begin = time.monotonic()
    assert receive(aws, url) == []
    assert 0.95 <= elapsed_since(begin) < 2.5
    begin = time.monotonic()
    assert receive(aws, url, WaitTimeSeconds=0) == []
    assert elapsed_since(begin) < 0.9


def wake_seconds(aws: Aws, url: str) -> float:
    """Measures the time from a send to the return of a waiting long poll."""
    polling = threading.Event()

    def poll() -> tuple[str, float]:
        polling.set()
        message = receive_one(aws, url, WaitTimeSeconds=10)
        return message["Body"], time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(poll)
        polling.wait(5)
        threading.Event().wait(0.05)  # lets the poll reach the endpoint; the check also holds without
        begin = time.monotonic()
        send(aws, url, "wake up")
        body, end = answer.result(15)
    assert body == "wake up"
    return end - begin


def test_a_long_poll_wakes_on_a_send(aws: Aws, queue: str) -> None:
    seconds = [wake_seconds(aws, queue) for _ in range(WAKE_ROUNDS)]
    aws.measured["milliseconds from a send to the end of a waiting poll"] = [s * 1000 for s in seconds]
    assert median(seconds) < GENEROUS_WAKE_SECONDS


def test_every_waiting_poll_gets_its_own_message(aws: Aws, queue: str) -> None:
    with ThreadPoolExecutor(5) as pool:
        polls = [pool.submit(receive_one, aws, queue, WaitTimeSeconds=10) for _ in range(5)]
        send_many(aws, queue, [str(n) for n in range(5)])
        bodies = {poll.result(15)["Body"] for poll in polls}
    assert bodies == {"0", "1", "2", "3", "4"}


def test_a_long_poll_wakes_when_a_message_becomes_visible_again(aws: Aws, queue: str) -> None:
    send(aws, queue)
    receive_one(aws, queue, VisibilityTimeout=1)
    begin = time.monotonic()
    receive_one(aws, queue, WaitTimeSeconds=10)
    assert elapsed_since(begin) < 3


def test_a_long_poll_wakes_when_a_message_is_released(aws: Aws, queue: str) -> None:
    send(aws, queue)
    handle = receive_one(aws, queue, VisibilityTimeout=600)["ReceiptHandle"]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(receive_one, aws, queue, WaitTimeSeconds=10)
        begin = time.monotonic()
        aws.sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
        poll.result(15)
    assert elapsed_since(begin) < 3


def test_one_message_is_returned_unless_more_are_requested(aws: Aws, queue: str) -> None:
    send_many(aws, queue, ["a", "b", "c"])
    assert len(receive(aws, queue, WaitTimeSeconds=5)) == 1


def test_no_message_is_received_twice_while_in_flight(aws: Aws, queue: str) -> None:
    bodies = [str(n) for n in range(50)]
    send_many(aws, queue, bodies)
    assert sorted(message["Body"] for message in drain(aws, queue, 50)) == sorted(bodies)
    assert receive(aws, queue, MaxNumberOfMessages=10) == []


OUT_OF_RANGE = [
    {"MaxNumberOfMessages": 0},
    {"MaxNumberOfMessages": 11},
    {"WaitTimeSeconds": -1},
    {"WaitTimeSeconds": 21},
    {"VisibilityTimeout": -1},
    {"VisibilityTimeout": 43201},
]


@pytest.mark.parametrize("parameter", OUT_OF_RANGE, ids=lambda p: " ".join(f"{k}={v}" for k, v in p.items()))
def test_a_parameter_out_of_range_is_refused(aws: Aws, queue: str, parameter: dict[str, int]) -> None:
    send(aws, queue)  # keeps an endpoint that accepts the parameter from waiting
    with refused("InvalidParameterValue"):
        aws.sqs.receive_message(QueueUrl=queue, **parameter)


def test_a_message_has_its_sender_send_time_and_receive_count(aws: Aws, queue: str) -> None:
    send(aws, queue)
    attributes = receive_one(aws, queue, MessageSystemAttributeNames=["All"])["Attributes"]
    expected = {"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"}
    assert set(attributes) == expected
    now = time.time() * 1000
    assert now - 60_000 < int(attributes["SentTimestamp"]) <= now + 1_000
    assert int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"]) <= now + 1_000
    assert attributes["ApproximateReceiveCount"] == "1"


def test_the_receive_count_grows_and_the_first_receive_stays(aws: Aws, queue: str) -> None:
    send(aws, queue)
    seen = [
        receive_one(aws, queue, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])["Attributes"]
        for _ in range(3)
    ]
    assert [attributes["ApproximateReceiveCount"] for attributes in seen] == ["1", "2", "3"]
    assert len({attributes["ApproximateFirstReceiveTimestamp"] for attributes in seen}) == 1


def test_the_older_parameter_for_system_attributes_works_too(aws: Aws, queue: str) -> None:
    send(aws, queue)
    message = receive_one(aws, queue, AttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"] == {"ApproximateReceiveCount": "1"}


def test_only_requested_fields_are_returned(aws: Aws, queue: str) -> None:
    send(aws, queue, MessageAttributes={"a": text("1")})
    message = receive_one(aws, queue)
    assert set(message) == {"MessageId", "ReceiptHandle", "Body", "MD5OfBody"}


FILTERS = {
    "All": {"a", "b.one", "b.two", "c"},
    ".*": {"a", "b.one", "b.two", "c"},
    "a": {"a"},
    "b.*": {"b.one", "b.two"},
    "unknown": set(),
}


@pytest.mark.parametrize(("name", "kept"), FILTERS.items(), ids=FILTERS.keys())
def test_message_attributes_are_filtered_by_name_or_prefix(aws: Aws, queue: str, name: str, kept: set[str]) -> None:
    send(aws, queue, MessageAttributes={n: text(n) for n in ("a", "b.one", "b.two", "c")})
    message = receive_one(aws, queue, MessageAttributeNames=[name])
    assert set(message.get("MessageAttributes", {})) == kept
    assert ("MD5OfMessageAttributes" in message) == bool(kept)


def test_an_unknown_system_attribute_cannot_be_requested(aws: Aws, queue: str) -> None:
    with refused("InvalidAttributeName"):
        aws.sqs.receive_message(QueueUrl=queue, AttributeNames=["Color"])


def test_the_region_of_the_client_is_in_the_arn(aws: Aws, queue: str) -> None:
    assert queue_attributes(aws, queue, "QueueArn")["QueueArn"].split(":")[3] == REGION
