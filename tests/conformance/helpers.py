"""Helpers of the checks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from endpoints import Aws

ACCOUNT = "000000000000"
MEBIBYTE = 1024 * 1024

NO_SUCH_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


def unique(prefix: str) -> str:
    """Makes a name that no other check uses, because all checks share one endpoint."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@contextlib.contextmanager
def refused(
    code: str, *, status: int = 400, exception: type[ClientError] = ClientError
) -> Iterator[pytest.ExceptionInfo[ClientError]]:
    """Expects the block to end with an AWS error of this code and HTTP status, raised by boto3 as this class."""
    with pytest.raises(exception) as caught:
        yield caught
    response = caught.value.response
    assert response["Error"]["Code"] == code, response["Error"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status


def new_queue(aws: Aws, **attributes: str) -> str:
    """Creates a queue with a unique name, and returns its URL."""
    return aws.sqs.create_queue(QueueName=unique("queue"), Attributes=attributes)["QueueUrl"]


def queue_attributes(aws: Aws, url: str, *names: str) -> dict[str, str]:
    answer = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ("All",)))
    return answer.get("Attributes", {})


def queue_arn(aws: Aws, url: str) -> str:
    return queue_attributes(aws, url, "QueueArn")["QueueArn"]


def redrive_policy(arn: str, count: int | str) -> str:
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})


def send(aws: Aws, url: str, body: str = "hello", **more: Any) -> dict[str, Any]:
    return aws.sqs.send_message(QueueUrl=url, MessageBody=body, **more)


def send_many(aws: Aws, url: str, bodies: list[str], **more: Any) -> None:
    """Sends in batches of ten; `more` is added to each entry."""
    for start in range(0, len(bodies), 10):
        entries = [
            {"Id": str(index), "MessageBody": body, **more} for index, body in enumerate(bodies[start : start + 10])
        ]
        answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert not answer.get("Failed"), answer["Failed"]


def receive(aws: Aws, url: str, **more: Any) -> list[dict[str, Any]]:
    """Sends one ReceiveMessage, and returns its messages, possibly none."""
    return aws.sqs.receive_message(QueueUrl=url, **more).get("Messages", [])


def receive_one(aws: Aws, url: str, **more: Any) -> dict[str, Any]:
    """Receives exactly one message within five seconds."""
    messages = receive(aws, url, **{"WaitTimeSeconds": 5, **more})
    assert len(messages) == 1, f"expected one message, got {len(messages)}"
    return messages[0]


def drain(aws: Aws, url: str, count: int, seconds: float = 15, **more: Any) -> list[dict[str, Any]]:
    """Receives until there are `count` messages, or the time is up."""
    messages: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        messages += receive(aws, url, **{"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, **more})
    return messages


def text(value: str, kind: str = "String") -> dict[str, str]:
    """Makes a message attribute with a text value."""
    return {"DataType": kind, "StringValue": value}


def md5(data: str | bytes) -> str:
    return hashlib.md5(data.encode() if isinstance(data, str) else data).hexdigest()


def md5_of_attributes(attributes: dict[str, dict[str, Any]]) -> str:
    """Computes the developer guide's digest: sorted by name, lengths before name, type and value, a transport byte."""
    encoded = b""
    for name, attribute in sorted(attributes.items()):
        binary = "BinaryValue" in attribute
        value = attribute["BinaryValue"] if binary else attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            encoded += struct.pack(">I", len(part)) + part
        encoded += (b"\x02" if binary else b"\x01") + struct.pack(">I", len(value)) + value
    return md5(encoded)
