"""Runs containers of the images as a hardened cluster does, and reads their processes from the kernel.

Containers share the host's network and listen on loopback, so no bridge and no name server is needed. Every container
is ended by its name, and every process by its id, even after a failed test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoints import free_port

ROOT = Path(__file__).parents[2]
IMAGES = (ROOT / "docker" / "images").read_text().split()
SERVICES = ["producer", "consumer", "payments"]
NONROOT = 65532
MEMORY_BYTES = 128 * 1024 * 1024
CPUS = 0.1
# Deadline of a service's readiness. A tenth of a core makes a start ten times as long.
READY_SECONDS = 60


def podman(*arguments: str) -> str:
    """Runs podman; the assertion of a failure has podman's output."""
    assert "CONTAINERS_STORAGE_CONF" in os.environ, (
        "use `make images`, or `docker/engine python -m pytest tests/images`"
    )
    done = subprocess.run(["podman", *arguments], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def built_with(app: str) -> dict[str, str]:
    """Build arguments of the app's image."""
    lines = (ROOT / ".tools" / "images" / "arguments" / app).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def image_of(app: str) -> str:
    return f"localhost/{app}:{built_with(app)['VERSION']}"


@dataclass(frozen=True)
class Container:
    """A running container."""

    name: str
    pid: int
    port: int
    admin_port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def admin_url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.admin_port}{path}"

    def status(self) -> dict[str, str]:
        """Reads the process's status from the kernel."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def memory_kib(self, field: str) -> int:
        return int(self.status()[field].split()[0])

    def cgroup(self, controller: str, v1: str, v2: str) -> str:
        """Reads a value of the cgroup, by its name in version 1 or 2 of the interface."""
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
        path = Path(f"/proc/{self.pid}/cgroup").read_text().strip().removeprefix("0::")
        return Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()

    def terminate(self) -> tuple[float, int]:
        """Sends SIGTERM, and returns the seconds until the end and the exit code."""
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        process = Path(f"/proc/{self.pid}/cwd")  # disappears at the end, even before the process is reaped
        eventually(lambda: not process.is_symlink(), 30, lambda: f"{self.name} did not end", pause=0.005)
        seconds = time.monotonic() - begin
        return seconds, int(podman("wait", self.name))

    def logs(self) -> str:
        done = subprocess.run(["podman", "logs", self.name], check=False, capture_output=True, text=True)
        return done.stdout + done.stderr


@contextmanager
def running(
    app: str,
    *,
    environment: Mapping[str, str],
    arguments: tuple[str, ...] = (),
    limited: bool = True,
    volumes: tuple[str, ...] = (),
) -> Iterator[Container]:
    """Runs a container: read-only, no capabilities, no new privileges, limits on memory and processor."""
    name = f"tenantry-{app}-{os.getpid()}-{time.monotonic_ns()}"
    port, admin_port = free_port(), free_port()
    hardened = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    limits = [f"--memory={MEMORY_BYTES}", f"--memory-swap={MEMORY_BYTES}", f"--cpus={CPUS}"] if limited else []
    ports = {"PORT": str(port), "ADMIN_PORT": str(admin_port), "BIND_ADDRESS": "127.0.0.1"}
    written = [f"--tmpfs={path}" for path in volumes]
    variables = [f"--env={key}={value}" for key, value in {**ports, **environment}.items()]
    where = ["--detach", f"--name={name}", "--network=host", "--pull=never"]
    given = [text.format(port=port, admin_port=admin_port) for text in arguments]
    try:
        podman("run", *where, *hardened, *limits, *written, *variables, image_of(app), *given)
        pid = int(podman("inspect", "--format={{.State.Pid}}", name))
        container = Container(name, pid, port, admin_port)
        yield container
    finally:
        subprocess.run(["podman", "rm", "--force", "--time=3", name], check=False, capture_output=True)


def get(url: str, *, headers: Mapping[str, str] | None = None, data: bytes | None = None) -> tuple[int, Any]:
    """Returns status and JSON body, with status 0 if no server answers. Sends a POST if data is given."""
    request = urllib.request.Request(url, headers=dict(headers or {}), data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except OSError as error:
        return 0, str(error)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()


def eventually(condition: Callable[[], Any], seconds: float, failure: Callable[[], str], pause: float = 0.05) -> Any:
    """Returns the condition's first true value; fails with the message after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, failure()
        time.sleep(pause)


def wait_until_ready(container: Container, path: str = "/readyz") -> None:
    url = container.admin_url(path)
    eventually(lambda: get(url)[0] == 200, READY_SECONDS, container.logs)
