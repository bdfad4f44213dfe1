"""The containers of docker/compose.yaml run, hardened and limited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import CPUS, MEMORY_BYTES, READY_SECONDS, ROOT, SERVICES, eventually, get, podman
from endpoints import free_port

TENANT = {"tenantID": "tenant-2"}
# Deadline of a podman-compose command, even on a slow machine.
COMPOSE_SECONDS = 180


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Ports of the services of a running project."""
    ports = {name: free_port() for name in ["GATEWAY_PORT", "AWS_PORT", *(f"{app.upper()}_PORT" for app in SERVICES)]}
    environment = {**os.environ, **{name: str(port) for name, port in ports.items()}}
    project = f"tenantry-{os.getpid()}"
    program = Path(sys.executable).parent / "podman-compose"
    command = [program, "--file", ROOT / "docker" / "compose.yaml", "--project-name", project]

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        # podman-compose waits forever for a container that podman could not start.
        return subprocess.run(
            ["timeout", str(COMPOSE_SECONDS), *command, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )

    try:
        up = compose("up", "--detach", "--no-build")
        assert up.returncode == 0, up.stderr
        for app in SERVICES:
            url = f"http://127.0.0.1:{ports[f'{app.upper()}_PORT']}/{app}/readiness-probe"
            eventually(lambda url=url: get(url)[0] == 200, READY_SECONDS, lambda: compose("logs").stdout)
        yield ports
    finally:
        compose("down", "--timeout", "5")


def test_a_message_passes_through_the_containers(ports: dict[str, int]) -> None:
    producer, consumer = (f"http://127.0.0.1:{ports[f'{app}_PORT']}" for app in ("PRODUCER", "CONSUMER"))
    status, posted = get(f"{producer}/producer", headers=TENANT, data=b'{"order":8}')
    assert (status, posted["environment"]) == (200, "pool-1")

    def is_stored() -> bool:
        messages = get(f"{consumer}/consumer/messages", headers=TENANT)[1]["messages"]
        return posted["message_id"] in [message["message_id"] for message in messages]

    eventually(is_stored, READY_SECONDS, lambda: "the accepted message is not stored")


def test_the_services_are_hardened_and_limited(ports: dict[str, int]) -> None:
    del ports
    for app in SERVICES:
        name = podman("ps", f"--filter=label=com.docker.compose.service={app}", "--format={{.Names}}")
        form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.EffectiveCaps}}"
        assert podman("inspect", f"--format={form}", name) == f"true {MEMORY_BYTES} {int(CPUS * 1e9)} []"
