"""Shared by the tests: the running images, an endpoint, a registry, and the figures that are printed at the end.

`make images` builds the images, then runs these tests. `make test` runs the tests that need no image.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from containers import IMAGES, READY_SECONDS, SERVICES, Container, eventually, get, running, wait_until_ready
from endpoints import free_port

# A second pool that only the containers serve, because `local` runs its own pool-1.
POOL, TENANT = "pool-2", "tenant-4"
REGION, ACCOUNT = "us-east-1", "000000000000"

FIGURES = pytest.StashKey[dict[str, dict[str, str]]]()


@dataclass(frozen=True)
class Endpoint:
    """The running image of `local`: AWS endpoint, sample tenants, load balancer."""

    container: Container
    url: str

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
        )

    def environment(self, name: str) -> dict[str, str]:
        """Returns a service's variables."""
        return {
            "ENVIRONMENT": name,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            # A receive in flight is never canceled, because it may already have leased messages. So an idle consumer
            # ends within this time. The default of 20 seconds needs fewer calls.
            "RECEIVE_WAIT_SECONDS": "1",
        }


@dataclass(frozen=True)
class Registry:
    """An OCI registry on loopback."""

    host: str


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = defaultdict(dict)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    """Measurements, by image."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    aws = f"127.0.0.1:{free_port()}"
    arguments = ("--ephemeral", "--listen=127.0.0.1:{port}", f"--aws-listen={aws}")
    with running("local", environment={}, arguments=arguments, limited=False, volumes=("/tmp",)) as container:
        url, headers = container.url("/producer"), {"tenantID": "tenant-2"}
        eventually(lambda: get(url, headers=headers)[0] == 200, READY_SECONDS, container.logs)
        yield Endpoint(container, f"http://{aws}")


@pytest.fixture(scope="session")
def pool(endpoint: Endpoint) -> Iterator[dict[str, Container]]:
    """Producer, consumer and payments of a pool with one tenant, one container each."""
    provision(endpoint)
    with ExitStack() as stack:
        containers = {
            app: stack.enter_context(running(app, environment=endpoint.environment(POOL))) for app in SERVICES
        }
        for container in containers.values():
            wait_until_ready(container)
        yield containers


def provision(endpoint: Endpoint) -> None:
    """Makes a queue and a table like the sample pool's, and the parameters that name them."""
    sqs, dynamodb, ssm = (endpoint.client(name) for name in ("sqs", "dynamodb", "ssm"))
    sample = next(name for name in dynamodb.list_tables()["TableNames"] if name.startswith("consumer-pool-1-"))
    schema = dynamodb.describe_table(TableName=sample)["Table"]
    indexes = [
        {key: index[key] for key in ("IndexName", "KeySchema", "Projection")}
        for index in schema["GlobalSecondaryIndexes"]
    ]
    name = f"consumer-{POOL}-abc"
    sqs.create_queue(QueueName=name)
    dynamodb.create_table(
        TableName=name,
        KeySchema=schema["KeySchema"],
        AttributeDefinitions=schema["AttributeDefinitions"],
        GlobalSecondaryIndexes=indexes,
        BillingMode="PAY_PER_REQUEST",
    )
    values = {
        "consumer_sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
        "consumer_ddb": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}",
    }
    for holder in (POOL, TENANT):
        for parameter, value in values.items():
            ssm.put_parameter(Name=f"/{holder}/{parameter}", Value=value, Type="String", Overwrite=True)
    ssm.put_parameter(Name=f"/{TENANT}/tier", Value="basic", Type="String", Overwrite=True)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    host = f"127.0.0.1:{free_port()}"
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: warn, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{host}'}}\n"
    )
    log = (folder / "log").open("w")
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        eventually(lambda: get(f"http://{host}/v2/")[0] == 200, 20, (folder / "log").read_text)
        yield Registry(host)
    finally:
        process.terminate()
        process.wait(10)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[FIGURES]
    columns = ["compressed", "unpacked", "RSS idle", "RSS after load", "peak", "SIGTERM to end"]
    if not rows:
        return
    terminalreporter.section("images, under 128 MiB and 0.1 CPU")
    terminalreporter.write_line("".join(f"{text:>16}" for text in ["image", *columns]))
    for app in IMAGES:
        terminalreporter.write_line("".join(f"{text:>16}" for text in [app, *(rows[app].get(c, "-") for c in columns)]))
