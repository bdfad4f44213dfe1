"""Features of our endpoint alone: call counts, faults on request, and data that survives a kill."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from endpoints import Aws, clean_environment, localaws, localaws_binary, start_localaws
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
    unique,
)
from tables import item, key, new_table, put_all

Rule = dict[str, Any]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An endpoint for these tests only, so that no other calls are counted."""
    with localaws(tmp_path_factory.mktemp("localaws-only")) as endpoint:
        yield endpoint


@pytest.fixture
def ours(process: Aws) -> Iterator[Aws]:
    """The endpoint without counts and faults, before and after the test."""
    ask(process, "DELETE", "faults")
    ask(process, "DELETE", "calls")
    yield process
    ask(process, "DELETE", "faults")


def ask(aws: Aws, method: str, path: str, body: Any = None) -> Any:
    """Sends a request to the endpoint's own pages, and returns the parsed answer, if any."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{aws.url}/_localaws/{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = response.read()
    return json.loads(answer) if answer else None


def calls(aws: Aws) -> dict[str, int]:
    return ask(aws, "GET", "calls")


def fault(aws: Aws, *rules: Rule) -> None:
    ask(aws, "PUT", "faults", list(rules))


def test_calls_are_counted_by_action(ours: Aws) -> None:
    url = new_queue(ours)
    for _ in range(3):
        send(ours, url)
    send_many(ours, url, ["a", "b"])
    ours.sts.get_caller_identity()
    ours.dynamodb.list_tables()
    with refused("ParameterNotFound"):
        ours.ssm.get_parameter(Name=f"/{unique('missing')}")
    assert calls(ours) == {
        "SQS.CreateQueue": 1,
        "SQS.SendMessage": 3,
        "SQS.SendMessageBatch": 1,
        "STS.GetCallerIdentity": 1,
        "DynamoDB.ListTables": 1,
        "SSM.GetParameter": 1,
    }


def test_the_counts_can_be_set_to_zero(ours: Aws) -> None:
    ours.sqs.list_queues()
    ask(ours, "DELETE", "calls")
    assert calls(ours) == {}


def test_a_faulted_call_is_counted_too(ours: Aws) -> None:
    fault(ours, {"action": "SQS.ListQueues", "error": {"code": "RequestThrottled"}})
    with refused("RequestThrottled"):
        ours.sqs.list_queues()
    assert calls(ours) == {"SQS.ListQueues": 1}


ERRORS = [
    ("SQS.ListQueues", "RequestThrottled", 400, lambda aws: aws.sqs.list_queues()),
    ("SSM.GetParameters", "ThrottlingException", 400, lambda aws: aws.ssm.get_parameters(Names=["/a"])),
    ("STS.GetCallerIdentity", "ServiceUnavailable", 503, lambda aws: aws.sts.get_caller_identity()),
    ("DynamoDB.ListTables", "InternalServerError", 500, lambda aws: aws.dynamodb.list_tables()),
]


@pytest.mark.parametrize(("action", "code", "status", "call"), ERRORS, ids=[error[0] for error in ERRORS])
def test_an_action_fails_as_configured(ours: Aws, action: str, code: str, status: int, call: Any) -> None:
    fault(ours, {"action": action, "error": {"code": code, "status": status}})
    with refused(code, status=status):
        call(ours)


def test_other_actions_do_not_fail(ours: Aws) -> None:
    fault(ours, {"action": "SQS.SendMessage", "error": {"code": "RequestThrottled"}})
    url = new_queue(ours)
    send_many(ours, url, ["a"])
    with refused("RequestThrottled"):
        send(ours, url)


def test_a_whole_service_can_fail(ours: Aws) -> None:
    fault(ours, {"action": "SQS.*", "error": {"code": "ServiceUnavailable", "status": 503}})
    with refused("ServiceUnavailable", status=503):
        ours.sqs.list_queues()
    ours.dynamodb.list_tables()


def outcomes(aws: Aws, count: int) -> list[bool]:
    done = []
    for _ in range(count):
        try:
            aws.sqs.list_queues()
        except ClientError:
            done.append(False)
        else:
            done.append(True)
    return done


def test_the_same_seed_gives_the_same_run(ours: Aws) -> None:
    rule = {"action": "SQS.ListQueues", "rate": 0.5, "error": {"code": "RequestThrottled"}}
    runs = []
    for seed in (7, 7, 8):
        fault(ours, {**rule, "seed": seed})
        runs.append(outcomes(ours, 60))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert 10 < sum(runs[0]) < 50


def test_a_fault_ends_at_its_limit(ours: Aws) -> None:
    fault(ours, {"action": "SQS.ListQueues", "error": {"code": "RequestThrottled"}, "limit": 2})
    assert outcomes(ours, 4) == [False, False, True, True]


def test_removed_faults_do_not_act(ours: Aws) -> None:
    fault(ours, {"action": "*", "error": {"code": "RequestThrottled"}})
    ask(ours, "DELETE", "faults")
    assert ask(ours, "GET", "faults") == []
    assert outcomes(ours, 1) == [True]


def test_the_faults_report_how_often_they_acted(ours: Aws) -> None:
    rule = {"action": "SQS.ListQueues", "error": {"code": "RequestThrottled", "status": 400}, "limit": 1}
    fault(ours, rule)
    outcomes(ours, 3)
    (report,) = ask(ours, "GET", "faults")
    assert report.items() >= {**rule, "injected": 1}.items()


def test_a_malformed_fault_is_refused_and_changes_nothing(ours: Aws) -> None:
    fault(ours, {"action": "SQS.ListQueues", "drop": True})
    with pytest.raises(urllib.error.HTTPError) as caught:
        fault(ours, {"action": "SQS.ListQueues", "rate": 2, "drop": True})
    assert caught.value.code == 400
    assert "rate" in json.loads(caught.value.read())["msg"]
    assert [rule["action"] for rule in ask(ours, "GET", "faults")] == ["SQS.ListQueues"]


def test_an_answer_is_delayed_as_configured(ours: Aws) -> None:
    fault(ours, {"action": "SQS.ListQueues", "delay_ms": 300})
    begin = time.monotonic()
    ours.sqs.list_queues()
    assert 0.3 <= time.monotonic() - begin < 3


@pytest.mark.parametrize(("when", "sent"), [("before", 0), ("after", 1)])
def test_a_connection_is_dropped_before_or_after_the_work(ours: Aws, when: str, sent: int) -> None:
    url = new_queue(ours)
    fault(ours, {"action": "SQS.SendMessage", "drop": True, "when": when})
    with pytest.raises(ConnectionClosedError):
        send(ours, url)
    assert len(receive(ours, url, MaxNumberOfMessages=10)) == sent


def test_an_error_can_hide_work_that_was_done(ours: Aws) -> None:
    fault(
        ours, {"action": "SSM.PutParameter", "error": {"code": "InternalServerError", "status": 500}, "when": "after"}
    )
    name = f"/{unique('hidden')}"
    with refused("InternalServerError", status=500):
        ours.ssm.put_parameter(Name=name, Value="x", Type="String")
    assert ours.ssm.get_parameter(Name=name)["Parameter"]["Value"] == "x"


def test_single_entries_of_a_batch_fail_as_configured(ours: Aws) -> None:
    url = new_queue(ours)
    fault(ours, {"action": "SQS.SendMessageBatch", "partial": {"code": "InternalError"}, "limit": 2})
    entries = [{"Id": name, "MessageBody": name} for name in "abcd"]
    answer = ours.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    failed = {entry["Id"]: entry["Code"] for entry in answer["Failed"]}
    assert set(failed.values()) == {"InternalError"}
    assert len(failed) == 2
    assert {message["Body"] for message in drain(ours, url, 2)} == set("abcd") - set(failed)


def test_a_deleted_entry_that_fails_is_still_there(ours: Aws) -> None:
    url = new_queue(ours)
    send(ours, url)
    handle = receive_one(ours, url, VisibilityTimeout=1)["ReceiptHandle"]
    fault(ours, {"action": "SQS.DeleteMessageBatch", "partial": {"code": "InternalError"}})
    answer = ours.sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": handle}])
    assert [entry["Id"] for entry in answer["Failed"]] == ["a"]
    receive_one(ours, url)


def test_items_are_left_unprocessed_as_configured(ours: Aws) -> None:
    table = new_table(ours)
    fault(ours, {"action": "DynamoDB.BatchWriteItem", "unprocessed": True, "limit": 2})
    requests = [{"PutRequest": {"Item": item(name)}} for name in "abcd"]
    answer = ours.dynamodb.batch_write_item(RequestItems={table: requests})
    assert len(answer["UnprocessedItems"][table]) == 2
    assert ours.dynamodb.scan(TableName=table)["Count"] == 2
    again = ours.dynamodb.batch_write_item(RequestItems=answer["UnprocessedItems"])
    assert again["UnprocessedItems"] == {}
    assert ours.dynamodb.scan(TableName=table)["Count"] == 4


@pytest.mark.parametrize("path", ["", "unknown"])
def test_an_unknown_page_is_not_found(ours: Aws, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(ours, "GET", path)
    assert caught.value.code == 404


class Killable:
    """Our endpoint over a folder, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arguments = ("--data-dir", str(folder / "data"))
        self.aws = self.start()

    def start(self) -> Aws:
        self._child, url = start_localaws(self._folder, *self._arguments)
        self.aws = Aws("localaws", url)
        return self.aws

    def kill(self) -> None:
        self._child.kill()

    def stop(self) -> None:
        self._child.stop()


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Killable]:
    endpoint = Killable(tmp_path)
    yield endpoint
    endpoint.stop()


def here(aws: Aws, url: str) -> str:
    """Returns the queue's URL with the endpoint's current port."""
    return f"{aws.url}/{url.split('/', 3)[3]}"


def test_messages_survive_a_kill(killable: Killable) -> None:
    aws = killable.aws
    url = new_queue(aws)
    system = {"AWSTraceHeader": text("Root=1-5759e988-bd862e3fe1be46a994272793")}
    attributes = {"tenant_id": text("tenant-1"), "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    sent = send(
        aws, url, "grüße", MessageAttributes=attributes, MessageSystemAttributes=system, MessageGroupId="tenant-1"
    )
    before = receive_one(aws, url, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])
    killable.kill()
    aws = killable.start()
    after = receive_one(aws, here(aws, url), MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])
    assert (after["MessageId"], after["Body"]) == (sent["MessageId"], "grüße")
    assert after["MessageAttributes"] == attributes
    assert after["Attributes"] == {**before["Attributes"], "ApproximateReceiveCount": "2"}


def test_leases_and_delays_survive_a_kill(killable: Killable) -> None:
    aws = killable.aws
    url = new_queue(aws)
    send(aws, url, "leased")
    handle = receive_one(aws, url, VisibilityTimeout=600)["ReceiptHandle"]
    send(aws, url, "delayed", DelaySeconds=900)
    send(aws, url, "visible")
    killable.kill()
    aws = killable.start()
    url = here(aws, url)
    assert [message["Body"] for message in receive(aws, url, MaxNumberOfMessages=10)] == ["visible"]
    aws.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    leased = receive_one(aws, url)
    assert leased["Body"] == "leased"


def test_deleted_messages_stay_deleted_after_a_kill(killable: Killable) -> None:
    aws = killable.aws
    url = new_queue(aws)
    send(aws, url)
    aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=receive_one(aws, url, VisibilityTimeout=0)["ReceiptHandle"])
    killable.kill()
    aws = killable.start()
    assert receive(aws, here(aws, url)) == []


def test_queues_survive_a_kill(killable: Killable) -> None:
    aws = killable.aws
    dead = new_queue(aws)
    policy = redrive_policy(queue_arn(aws, dead), 5)
    name = unique("queue")
    attributes = {"VisibilityTimeout": "77", "RedrivePolicy": policy}
    url = aws.sqs.create_queue(QueueName=name, Attributes=attributes, tags={"team": "a"})["QueueUrl"]
    gone = new_queue(aws)
    aws.sqs.delete_queue(QueueUrl=gone)
    before = queue_attributes(aws, url)
    killable.kill()
    aws = killable.start()
    url = aws.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    assert queue_attributes(aws, url) == before
    assert aws.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a"}
    assert len(aws.sqs.list_queues()["QueueUrls"]) == 2


def test_parameters_survive_a_kill(killable: Killable) -> None:
    aws = killable.aws
    tags = [{"Key": "team", "Value": "a"}]
    aws.ssm.put_parameter(Name="/a/secret", Value="hunter1", Type="SecureString", Tags=tags)
    aws.ssm.put_parameter(Name="/a/secret", Value="hunter2", Overwrite=True)
    aws.ssm.put_parameter(Name="/a/gone", Value="x", Type="String")
    aws.ssm.delete_parameter(Name="/a/gone")
    before = aws.ssm.get_parameters_by_path(Path="/a", WithDecryption=True)["Parameters"]
    killable.kill()
    aws = killable.start()
    assert aws.ssm.get_parameters_by_path(Path="/a", WithDecryption=True)["Parameters"] == before
    history = aws.ssm.get_parameter_history(Name="/a/secret", WithDecryption=True)["Parameters"]
    assert [version["Value"] for version in history] == ["hunter1", "hunter2"]
    assert aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/a/secret")["TagList"] == tags


def test_tables_survive_a_kill(killable: Killable) -> None:
    aws = killable.aws
    table = new_table(aws)
    put_all(aws, table, [item(str(n)) for n in range(30)])
    aws.dynamodb.delete_item(TableName=table, Key=key("0"))
    before = aws.dynamodb.scan(TableName=table)["Items"]
    killable.kill()
    aws = killable.start()
    assert aws.dynamodb.scan(TableName=table)["Items"] == before
    assert len(before) == 29


def test_no_acknowledged_message_is_lost_in_a_kill(killable: Killable) -> None:
    aws = killable.aws
    url = new_queue(aws)
    acknowledged: list[str] = []
    enough = threading.Event()

    def send_until_killed(name: str) -> None:
        client = aws.client("sqs")
        for n in range(5_000):
            body = f"{name} {n}"
            try:
                client.send_message(QueueUrl=url, MessageBody=body)
            except Exception:  # noqa: BLE001 the process has ended, so any error may come
                return
            acknowledged.append(body)
            if len(acknowledged) >= 300:
                enough.set()

    senders = [threading.Thread(target=send_until_killed, args=(str(n),)) for n in range(4)]
    for sender in senders:
        sender.start()
    assert enough.wait(30)
    killable.kill()
    for sender in senders:
        sender.join(30)

    aws = killable.start()
    stored = {message["Body"] for message in drain(aws, here(aws, url), len(acknowledged), seconds=30)}
    assert set(acknowledged) <= stored


def run_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(localaws_binary()), *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        done = run_to_its_end("--listen", address, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert address in done.stderr


def test_an_unusable_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = str(tmp_path / "file" / "data")
    done = run_to_its_end("--listen", "127.0.0.1:0", "--data-dir", folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert folder in done.stderr


def test_a_folder_of_another_process_is_reported_in_one_line(killable: Killable, tmp_path: Path) -> None:
    done = run_to_its_end("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_an_ephemeral_endpoint_leaves_no_file(tmp_path: Path) -> None:
    with localaws(tmp_path) as aws:
        send(aws, new_queue(aws))
        new_table(aws)
    assert [path.suffix for path in tmp_path.iterdir()] == [".log"]


def logged_on_a_terminal(folder: Path, **variables: str) -> str:
    """Starts the endpoint with a terminal for its log, and returns its first line."""
    terminal, slave = os.openpty()
    process = subprocess.Popen(
        [str(localaws_binary()), "--ephemeral", "--listen", "0.0.0.0:0"],
        env={**clean_environment(), **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    try:
        line = b""
        while b"\n" not in line:
            line += os.read(terminal, 4096)
        return line.decode()
    finally:
        process.terminate()
        process.wait(10)
        os.close(terminal)


def test_log_lines_have_colors_on_a_terminal_unless_it_asks_for_none(tmp_path: Path) -> None:
    assert "\x1b[" in logged_on_a_terminal(tmp_path, TERM="xterm", NO_COLOR="")
    assert "\x1b[" not in logged_on_a_terminal(tmp_path, TERM="xterm", NO_COLOR="1")


def test_what_the_database_engine_takes_and_aws_refuses_is_refused(ours: Aws) -> None:
    name = new_table(ours)
    dynamodb = ours.dynamodb
    expiry = {"Enabled": True, "AttributeName": "expires_at"}
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    with refused("ValidationException"):
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    with refused("ValidationException"):
        dynamodb.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    dynamodb.update_table(TableName=name, StreamSpecification=stream)
    with refused("ValidationException"):
        dynamodb.update_table(TableName=name, StreamSpecification=stream)
    values = {":n": {"N": "2"}, ":m": {"N": "1"}, ":t": {"BOOL": True}}
    for expression, used in (("a BETWEEN :n AND :m", ":n :m"), ("a < :t", ":t"), ("begins_with(a, :n)", ":n")):
        of_expression = {name: values[name] for name in used.split()}
        with refused("ValidationException"):
            dynamodb.scan(TableName=name, FilterExpression=expression, ExpressionAttributeValues=of_expression)
    with refused("ValidationException"):
        dynamodb.batch_write_item(
            RequestItems={name: [{"PutRequest": {"Item": item("a", "b")}, "DeleteRequest": {"Key": key("a", "b")}}]}
        )
