"""Fair queues: on a standard queue, a message group with a backlog does not delay the others."""

from __future__ import annotations

from endpoints import Aws
from helpers import drain, receive, send, send_many

FEW_RECEIVES = 3


def test_a_quiet_group_does_not_wait_behind_a_noisy_one(aws: Aws, queue: str) -> None:
    send_many(aws, queue, [f"noisy {n}" for n in range(200)], MessageGroupId="noisy")
    send(aws, queue, "quiet", MessageGroupId="quiet")
    early = [
        message["Body"]
        for _ in range(FEW_RECEIVES)
        for message in receive(aws, queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    ]
    assert "quiet" in early


def test_every_message_of_every_group_arrives_once(aws: Aws, queue: str) -> None:
    sent = {"noisy": [f"noisy {n}" for n in range(30)], "quiet": [f"quiet {n}" for n in range(5)]}
    for group, bodies in sent.items():
        send_many(aws, queue, bodies, MessageGroupId=group)
    send_many(aws, queue, ["of no group"])
    expected = sorted([*sent["noisy"], *sent["quiet"], "of no group"])
    assert sorted(message["Body"] for message in drain(aws, queue, len(expected))) == expected
