"""Runs the pool's services as processes, with the endpoint of `local`."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from endpoints import Child, clean_environment, localaws_binary

SERVICES = ("producer", "consumer", "payments")


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[str]:
    """URL of the control plane of a `local` of its own: the tests change its tenants."""
    arguments = ("--listen=127.0.0.1:0", "--aws-listen=127.0.0.1:0", "--console-listen=127.0.0.1:0", "--ephemeral")
    child = Child([str(localaws_binary().parent / "local"), *arguments], clean_environment(), tmp_path)
    try:
        child.wait_until(lambda: re.search("^Ctrl-C", child.output(), re.M), "local is ready")
        address = re.search(r"^console +(\S+)", child.output(), re.M)
        assert address
        yield address[1]
    finally:
        child.stop()


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URL of each service."""
    folder, children = tmp_path_factory.mktemp("services"), []
    binaries = localaws_binary().parent

    def start(name: str, *arguments: str, **variables: str) -> Child:
        place = folder / name
        place.mkdir()
        child = Child([str(binaries / name), *arguments], clean_environment() | variables, place)
        children.append(child)
        return child

    try:
        local = start("local", "--listen=127.0.0.1:0", "--aws-listen=127.0.0.1:0", "--ephemeral")
        local.wait_until(lambda: re.search("^Ctrl-C", local.output(), re.M), "local is ready")
        endpoint = re.search(r"AWS endpoint +(\S+)", local.output())
        assert endpoint
        yield {name: ready(start(name, **pool_of(endpoint[1])), name) for name in SERVICES}
    finally:
        for child in reversed(children):
            child.stop()


def pool_of(endpoint: str) -> dict[str, str]:
    """Returns the variables of the pool's services."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ports = {"BIND_ADDRESS": "127.0.0.1", "PORT": "0", "ADMIN_PORT": "0"}
    wait = {"RECEIVE_WAIT_SECONDS": "1"}
    return {"ENVIRONMENT": "pool-1", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint, **keys, **ports, **wait}


def listening(child: Child) -> str:
    """Waits until a service listens, and returns its URL."""

    def address() -> str | None:
        lines = (json.loads(line) for line in child.output().splitlines() if line.startswith("{"))
        return next((line["address"] for line in lines if line.get("message") == "listening"), None)

    return f"http://{child.wait_until(address, 'the service listens')}"


def ready(child: Child, name: str) -> str:
    """Waits until a service is ready, and returns its URL."""
    url = listening(child)

    def is_ready() -> bool:
        try:
            return urllib.request.urlopen(f"{url}/{name}/readiness-probe", timeout=5).status == 200
        except urllib.error.HTTPError:
            return False

    child.wait_until(is_ready, "the service is ready")
    return url


@pytest.fixture(scope="session")
def settings() -> Path:
    return Path(__file__).with_name("schemathesis.toml")
