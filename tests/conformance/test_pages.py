"""The `aws` commands of every page, with each generation of the AWS CLI that this machine has.

A block runs in a shell that has text tools and the CLI, and none of the other programs. A stub in the CLI's place
passes the arguments on. Pages for AWS itself get the endpoint from the stub; pages for `local` and `localaws` must name
it themselves.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints import REPOSITORY, Aws, clean_environment, localaws
from helpers import queue_arn, redrive_policy
from tables import SCHEMA, item

LOCAL_PAGES = ["README.md", "docs/deploy-homelab.md"]
SERVED = {"sqs", "ssm", "sts", "dynamodb"}
PORT = "http://127.0.0.1:4566"
"""The endpoint's address on the pages."""
TOOLS = ["bash", "cat", "cut", "grep", "head", "jq", "mktemp", "sed", "sort", "tr"]
VARIABLES = "kind=onboarding repository=producer REGISTRY=registry.example"
"""Variables that loops over programs' output would set."""

JSON_SINCE = {"1": 31, "2": 14}
"""Minor version of each generation of the CLI that calls SQS by the JSON protocol."""

CALL = re.compile(r"(?:^|[(;|{]|\bdo)\s*aws ([a-z0-9]+) ([a-z-]+)(?= |$)", re.M)
SETTING = re.compile(r"export |[a-z]+\(\) \{.*\}( #.*)?$|[a-z]+=\S+$")


def pages() -> list[str]:
    found = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("*/README.md")]
    return sorted(str(page.relative_to(REPOSITORY)) for page in found if page.name != "CHANGELOG.md")


def blocks(page: str) -> Iterator[str]:
    """The shell blocks of a page; of a console block, what is typed."""
    for kind, block in re.findall(
        r"^ *```(sh|bash|console)\n(.*?)^ *```", (REPOSITORY / page).read_text(), re.M | re.S
    ):
        if kind != "console":
            yield block
            continue
        typed, goes_on = [], False
        for line in block.splitlines():
            if line.startswith("$ ") or goes_on:
                typed.append(line.removeprefix("$ "))
                goes_on = line.endswith("\\")
        yield "\n".join(typed)


def calling_blocks() -> Iterator[tuple[str, str, str]]:
    """Page, settings of its earlier blocks, and block, of each block that calls the CLI."""
    for page in pages():
        settings: list[str] = []
        for block in blocks(page):
            if CALL.search(block):
                yield page, "\n".join(settings), block
            settings += [line for line in block.splitlines() if SETTING.match(line)]


def test_the_first_page_is_short_and_its_pictures_are_small() -> None:
    page = (REPOSITORY / "README.md").read_text()
    assert len(page.splitlines()) <= 150
    pictures = re.findall(r"!\[[^\]]+\]\((docs/images/[^)]+)\)", page)
    assert len(pictures) == 2
    for picture in pictures:
        assert (REPOSITORY / picture).stat().st_size <= 150_000, picture


BLOCKS = list(calling_blocks())


def generations() -> dict[str, list[str]]:
    """Command lines of the CLIs here, by version; `AWS_CLIS` names more programs.

    Older ones call SQS by the Query protocol, which `localaws` does not serve.
    """
    ours = [sys.executable, str(Path(sys.executable).parent / "aws")]
    others = [path for path in (*os.environ.get("AWS_CLIS", "").split(":"), "/usr/bin/aws") if shutil.which(path)]
    found: dict[str, list[str]] = {}
    for command in (ours, *([path] for path in others)):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"aws-cli/((\d+)\.(\d+))", done.stdout + done.stderr)
        if version and int(version[3]) >= JSON_SINCE[version[2]]:
            found.setdefault(version[1], command)
    return found


GENERATIONS = generations()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An endpoint with what the pages name."""
    with localaws(tmp_path_factory.mktemp("pages")) as aws:
        for kind in ("onboarding", "offboarding", "deployment"):
            dead = aws.sqs.create_queue(QueueName=f"argoworkflows-{kind}-queue-dlq")["QueueUrl"]
            policy = redrive_policy(queue_arn(aws, dead), 5)
            aws.sqs.create_queue(QueueName=f"argoworkflows-{kind}-queue", Attributes={"RedrivePolicy": policy})
        for name in ("consumer-tenant-3-x11", "consumer-tenant-4-x11", "consumer-pool-1-x7k"):
            aws.dynamodb.create_table(TableName=name, **SCHEMA)
        parts = ("tenant_id", "sk", "outbox_shard")
        aws.dynamodb.create_table(
            TableName="payments-pool-1-x7k",
            AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in parts],
            KeySchema=[{"AttributeName": "tenant_id", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "outbox",
                    "KeySchema": [{"AttributeName": "outbox_shard", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        for name, value in {
            "/tenant-3/consumer_sqs": "arn:aws:sqs:us-east-1:000000000000:consumer-tenant-3-x11",
            "/pool-1/consumer_ddb": "arn:aws:dynamodb:us-east-1:000000000000:table/consumer-pool-1-x7k",
            "/pool-1/payments_ddb": "arn:aws:dynamodb:us-east-1:000000000000:table/payments-pool-1-x7k",
        }.items():
            aws.ssm.put_parameter(Name=name, Value=value, Type="String")
        yield aws


STUB = """
import json, os, subprocess, sys

settings = json.loads(os.environ["STUB"])
arguments = [argument.replace(settings["port"], settings["url"]) for argument in sys.argv[1:]]
named = "--endpoint-url" in arguments
words = [word for word in arguments if not word.startswith("-") and "://" not in word]
environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_ENDPOINT_URL")}
if words[0] not in settings["served"]:
    # Nothing answers: a call that fails for this has valid arguments.
    arguments = ["--endpoint-url", "http://127.0.0.1:9", *arguments]
    environment["AWS_MAX_ATTEMPTS"] = "1"
elif settings["is_aws"]:
    arguments = ["--endpoint-url", settings["url"], *arguments]
done = subprocess.run([*settings["command"], *arguments], env=environment, capture_output=True, text=True)
works = done.returncode == 0 or "Could not connect" in done.stderr
call = {"words": words[:2], "arguments": sys.argv[1:], "named": named, "works": works, "error": done.stderr}
with open(settings["log"], "a") as log:
    log.write(json.dumps(call) + "\\n")
sys.stdout.write(done.stdout)
sys.exit(done.returncode)
"""


def test_the_pages_call_every_service_of_the_endpoint() -> None:
    assert {service for _, _, block in BLOCKS for service, _ in CALL.findall(block)} >= SERVED
    assert {page for page, *_ in BLOCKS} >= {*LOCAL_PAGES, "docs/deploy-eks.md", "docs/payments.md", "gitops/README.md"}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    ("page", "settings", "block"), BLOCKS, ids=[f"{page}-{number}" for number, (page, *_) in enumerate(BLOCKS)]
)
def test_the_commands_of_a_page_work(
    seeded: Aws, tmp_path: Path, generation: str, page: str, settings: str, block: str
) -> None:
    seeded.dynamodb.put_item(TableName="consumer-pool-1-x7k", Item=item("m1", "tenant-4"))
    tools, log = tmp_path / "bin", tmp_path / "log"
    tools.mkdir()
    shutil.copytree(REPOSITORY / "docker", tmp_path / "docker")
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    (tools / "tofu").write_text("#!/bin/bash\necho 'aws_ecr_repository.published[\"producer\"]'\n")
    (tools / "tofu").chmod(0o755)
    # The pages wait for objects of a cluster: here each of them exists at once.
    (tools / "kubectl").write_text("#!/bin/bash\n")
    (tools / "kubectl").chmod(0o755)
    (tools / "aws").write_text(f"#!{sys.executable}\n{STUB}")
    (tools / "aws").chmod(0o755)
    stub = {
        "port": PORT,
        "url": seeded.url,
        "is_aws": page not in LOCAL_PAGES,
        "served": sorted(SERVED),
        "command": GENERATIONS[generation],
        "log": str(log),
    }
    environment = {**clean_environment(), "PATH": str(tools), "STUB": json.dumps(stub), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/bash", "-c", f"{VARIABLES}\n{settings}\n{block}"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert log.exists(), done.stderr
    made = [json.loads(line) for line in log.read_text().splitlines()]
    for call in made:
        shown = shlex.join(["aws", *call["arguments"]])
        assert call["works"], f"{shown}: {call['error']}"
        if page in LOCAL_PAGES:
            assert call["named"], f"not every version of the CLI finds the endpoint: {shown}"
    written = set(CALL.findall(block))
    if not shutil.which("jq"):
        written.discard(("dynamodb", "batch-write-item"))
    assert {tuple(call["words"]) for call in made} >= written
