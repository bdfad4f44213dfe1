"""What the tests do at the node: connections from a pod's own network, kills, drains, programs that end and start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import kubernetes
from api import Api, ApiError, Object
from layout import BIN, PYTHON, RUN
from machine import end, pid_of, run, wait_for

# Reads targets, connects to each, prints the result: open, refused, or closed (no packet came back).
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def attempt(target):
    host, port, kind = target
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(float(sys.argv[1]))
    try:
        s.connect((host, port))
        if kind == "udp":
            s.send(bytes.fromhex("00010100000100000000000007636c7573746572056c6f63616c0000010001"))
            s.recv(512)
        return "open"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "closed"
    finally:
        s.close()
targets = json.load(sys.stdin)
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(list(pool.map(attempt, targets))))
"""


@dataclass(frozen=True)
class Target:
    name: str
    host: str
    port: int
    kind: str = "tcp"


def ctr(*arguments: str) -> str:
    return run(BIN / "ctr", "-a", RUN / "containerd" / "containerd.sock", "-n", "k8s.io", *arguments)


def process_of(pod: Object) -> int:
    """The process id of a pod's first container, at the node."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    for line in ctr("tasks", "ls").splitlines()[1:]:
        name, pid, *_ = line.split()
        if name == container:
            return int(pid)
    raise LookupError(f"{pod['metadata']['name']} has no process")


def connections(targets: list[Target], pod: Object | None = None, seconds: float = 2) -> dict[str, str]:
    """Connects to each target, from a pod's network or from the node's; returns the results by name."""
    beside = ["nsenter", f"--net=/proc/{process_of(pod)}/ns/net", "--"] if pod else []
    done = subprocess.run(
        [*beside, str(PYTHON), "-c", PROBE, str(seconds)],
        input=json.dumps([[t.host, t.port, t.kind] for t in targets]),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip((t.name for t in targets), json.loads(done.stdout), strict=True))


def kill(pod: Object) -> None:
    """Ends a pod's program with SIGKILL, as the kernel does when memory runs out."""
    run("kill", "-KILL", str(process_of(pod)))


def evict(api: Api, pod: Object) -> bool:
    """Evicts a pod; False if its disruption budget refuses now."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    try:
        api.ask("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)
    except ApiError as error:
        if error.status == 429:
            return False
        if error.status != 404:
            raise
    return True


def drain(api: Api, namespaces: Iterable[str], seconds: float = 300) -> None:
    """Evicts every pod of some namespaces, as `kubectl drain` does, and waits until each has a successor.

    The one node stays schedulable: the successors run on it, too.
    """
    before = [p for n in namespaces for p in api.list("pods", n) if p["status"]["phase"] == "Running"]

    def out(pod: Object) -> None:
        wait_for(f"leave to evict {pod['metadata']['name']}", lambda: evict(api, pod), seconds, 1)

    with ThreadPoolExecutor(max(1, len(before))) as pool:
        list(pool.map(out, before))
    for pod in before:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        wait_for(f"the end of {name}", lambda n=name, s=namespace: api.find("pods", n, s) is None, seconds, 0.3)


def restart(name: str, number: signal.Signals = signal.SIGTERM) -> None:
    """Ends a program of the control plane or a registry, and starts it again with the same options."""
    pid = pid_of(name)
    assert pid, f"{name} does not run"
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = [part.decode() for part in file.read().split(b"\0")[:-1]]
    from bringup import outside
    from machine import start

    end(name, number, 60)
    beside = outside() if name in ("harbor", "hub", "git") else []
    start(name, *beside, *command, **({"OTEL_TRACES_EXPORTER": "none"} if beside else {}))


@contextmanager
def frozen(name: str) -> Iterator[None]:
    """Stops a program while the block runs: connections to it hang, as to an unreachable machine."""
    pid = pid_of(name)
    assert pid, f"{name} does not run"
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def is_api_server_ready(api: Api) -> bool:
    return kubernetes.answers(api)
