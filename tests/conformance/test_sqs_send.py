"""SendMessage: accepted messages, refused messages, and the digests in the answer."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from endpoints import Aws
from helpers import MEBIBYTE, md5, md5_of_attributes, new_queue, receive_one, refused, send, text

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def test_the_answer_carries_a_message_id_and_the_digest_of_the_body(aws: Aws, queue: str) -> None:
    answer = send(aws, queue, "grüße ✓")
    assert uuid.UUID(answer["MessageId"])
    assert answer["MD5OfMessageBody"] == md5("grüße ✓")
    assert "MD5OfMessageAttributes" not in answer
    assert "SequenceNumber" not in answer


def test_a_message_arrives_as_it_was_sent(aws: Aws, queue: str) -> None:
    body = '{"text":"grüße ✓ 😀","lines":"a\\tb\\r\\nc","markup":"<a href=\\"x\\">&amp;</a>"}\r\n\t'
    sent = send(aws, queue, body)
    message = receive_one(aws, queue)
    assert message["Body"] == body
    assert message["MD5OfBody"] == md5(body)
    assert message["MessageId"] == sent["MessageId"]


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "tenant_id": text("tenant-1"),
    "count": text("1614717034367", "Number"),
    "price": text("-12.5e3", "Number.float"),
    "kind": text("grüße", "String.custom"),
    "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01\xfe\xff"},
    "packed": {"DataType": "Binary.gzip", "BinaryValue": b"\x1f\x8b"},
}


def test_the_answer_carries_the_digest_of_the_attributes(aws: Aws, queue: str) -> None:
    answer = send(aws, queue, MessageAttributes=ATTRIBUTES)
    assert answer["MD5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)


def test_attributes_of_every_type_arrive_as_they_were_sent(aws: Aws, queue: str) -> None:
    send(aws, queue, MessageAttributes=ATTRIBUTES)
    message = receive_one(aws, queue, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == ATTRIBUTES
    assert message["MD5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)


def test_ten_attributes_are_accepted(aws: Aws, queue: str) -> None:
    attributes = {f"name-{n}": text(str(n)) for n in range(10)}
    send(aws, queue, MessageAttributes=attributes)
    assert receive_one(aws, queue, MessageAttributeNames=["All"])["MessageAttributes"] == attributes


INVALID_ATTRIBUTES: dict[str, dict[str, dict[str, Any]]] = {
    "eleven": {f"name-{n}": text(str(n)) for n in range(11)},
    "empty value": {"name": text("")},
    "unknown type": {"name": text("x", "Color")},
    "not a number": {"name": text("twelve", "Number")},
    "invalid character in value": {"name": text("\x08")},
    "invalid character in name": {"a b": text("x")},
    "reserved name": {"AWS.name": text("x")},
    "leading period in name": {".name": text("x")},
    "name of 257 characters": {"x" * 257: text("x")},
}


@pytest.mark.parametrize("attributes", INVALID_ATTRIBUTES.values(), ids=INVALID_ATTRIBUTES.keys())
def test_an_invalid_attribute_is_refused(aws: Aws, queue: str, attributes: dict[str, dict[str, Any]]) -> None:
    with refused("InvalidParameterValue"):
        send(aws, queue, MessageAttributes=attributes)


def test_an_empty_body_is_refused(aws: Aws, queue: str) -> None:
    with refused("MissingParameter"):
        send(aws, queue, "")


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ufffe"], ids=["nul", "vt", "us", "fffe"])
def test_a_character_outside_of_xml_is_refused(aws: Aws, queue: str, character: str) -> None:
    with refused("InvalidMessageContents"):
        send(aws, queue, f"a{character}b")


def test_a_message_may_have_one_mebibyte(aws: Aws, queue: str) -> None:
    send(aws, queue, "x" * MEBIBYTE)
    assert len(receive_one(aws, queue)["Body"]) == MEBIBYTE


def test_a_body_over_one_mebibyte_is_refused(aws: Aws, queue: str) -> None:
    with refused("InvalidParameterValue"):
        send(aws, queue, "x" * (MEBIBYTE + 1))


def test_the_size_is_counted_in_bytes(aws: Aws) -> None:
    url = new_queue(aws, MaximumMessageSize="1024")
    with refused("InvalidParameterValue"):
        send(aws, url, "ü" * 513)


def test_attributes_count_toward_the_size(aws: Aws) -> None:
    url = new_queue(aws, MaximumMessageSize="1024")
    attribute = {"name": text("x" * 20)}
    room = 1024 - len("name") - len("String") - 20
    send(aws, url, "x" * room, MessageAttributes=attribute)
    with refused("InvalidParameterValue"):
        send(aws, url, "x" * (room + 1), MessageAttributes=attribute)


def test_the_size_limit_of_the_queue_applies(aws: Aws) -> None:
    url = new_queue(aws, MaximumMessageSize="1024")
    send(aws, url, "x" * 1024)
    with refused("InvalidParameterValue"):
        send(aws, url, "x" * 1025)


def test_a_group_id_on_a_standard_queue_is_kept(aws: Aws, queue: str) -> None:
    send(aws, queue, MessageGroupId="tenant-1")
    message = receive_one(aws, queue, MessageSystemAttributeNames=["All"])
    assert message["Attributes"]["MessageGroupId"] == "tenant-1"


@pytest.mark.parametrize("group", ["", "x" * 129, "a space", "ü"], ids=["empty", "too long", "space", "not ascii"])
def test_an_invalid_group_id_is_refused(aws: Aws, queue: str, group: str) -> None:
    with refused("InvalidParameterValue"):
        send(aws, queue, MessageGroupId=group)


def test_a_group_id_may_have_128_characters_and_punctuation(aws: Aws, queue: str) -> None:
    group = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".ljust(128, "x")
    send(aws, queue, MessageGroupId=group)
    message = receive_one(aws, queue, MessageSystemAttributeNames=["MessageGroupId"])
    assert message["Attributes"] == {"MessageGroupId": group}


def test_a_trace_header_is_kept_and_answered_with_its_digest(aws: Aws, queue: str) -> None:
    system = {"AWSTraceHeader": text(TRACE)}
    answer = send(aws, queue, MessageSystemAttributes=system)
    assert answer["MD5OfMessageSystemAttributes"] == md5_of_attributes(system)
    message = receive_one(aws, queue, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert message["Attributes"] == {"AWSTraceHeader": TRACE}


def test_no_other_system_attribute_can_be_sent(aws: Aws, queue: str) -> None:
    with refused("InvalidParameterValue"):
        send(aws, queue, MessageSystemAttributes={"SenderId": text("me")})


def test_a_delayed_message_arrives_when_it_is_due(aws: Aws, queue: str) -> None:
    send(aws, queue, "later", DelaySeconds=1)
    assert aws.sqs.receive_message(QueueUrl=queue).get("Messages", []) == []
    assert receive_one(aws, queue)["Body"] == "later"


def test_the_delay_of_the_queue_applies_and_a_message_overrides_it(aws: Aws) -> None:
    url = new_queue(aws, DelaySeconds="900")
    send(aws, url, "delayed")
    send(aws, url, "at once", DelaySeconds=0)
    assert receive_one(aws, url)["Body"] == "at once"


@pytest.mark.parametrize("seconds", [-1, 901])
def test_a_delay_out_of_range_is_refused(aws: Aws, queue: str, seconds: int) -> None:
    with refused("InvalidParameterValue"):
        send(aws, queue, DelaySeconds=seconds)
