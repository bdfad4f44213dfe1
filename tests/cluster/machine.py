"""The machine the cluster runs on: namespaces of its own for network, mounts and processes.

The first process in them holds all three. When that process ends, the kernel ends every other process in the
namespace and takes mounts and devices away: nothing is left behind, also after a crash. Only control groups outlive
it; `down` removes them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from layout import (
    BIN,
    CGROUP,
    GATEWAY_ADDRESS,
    HERE,
    HOST_ADDRESS,
    LOGS,
    METADATA_ADDRESS,
    NAMES,
    NODE,
    OUTSIDE,
    OUTSIDE_ROUTER,
    PIDS,
    PKI,
    PYTHON,
    RUN,
)

HOLDER = RUN / "holder.pid"
NAME = "tenantry-cluster-holder"
CGROUPS = Path("/sys/fs/cgroup")
T = TypeVar("T")


class ClusterError(Exception):
    """The cluster cannot start or go on; the message says why, and what to do."""


def wait_for(what: str, condition: Callable[[], T], seconds: float = 60, pause: float = 0.1) -> T:
    """Returns the first true value of the condition; an OSError counts as not yet."""
    deadline = time.monotonic() + seconds
    reason = "false"
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except OSError as error:
            reason = str(error)
        time.sleep(pause)
    raise ClusterError(f"{what}: not within {seconds:.0f} s (last: {reason})")


def run(*command: str | Path, quiet: bool = True, **options: object) -> str:
    """Runs a command to its end and returns what it printed; an error has all of that in it."""
    done = subprocess.run([str(c) for c in command], check=False, capture_output=quiet, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout or ""


# From outside


def holder() -> int | None:
    """The first process of the namespaces, as this machine counts, or None."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().split(b"\0")[1:3] == [
                NAME.encode(),
                str(RUN).encode(),
            ]:
                return int(entry.name)
        except OSError:
            continue
    return None


def start_holder() -> int:
    if os.geteuid() != 0:
        raise ClusterError("the cluster needs root: its node mounts, makes network devices and control groups")
    for program in ("runc", "iptables", "nft", "git", "openssl", "curl", "ip", "nsenter", "unshare"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise ClusterError(
                f"{program} is missing; on Debian: apt-get install runc iptables nftables git openssl curl iproute2"
            )
    for folder in (RUN, LOGS, PIDS):
        folder.mkdir(parents=True, exist_ok=True)
    with (LOGS / "holder.log").open("wb") as log:
        subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
                *("--propagation", "private", str(BIN / "pause"), NAME, str(RUN)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    pid = wait_for("the holder of the namespaces", holder, 10, 0.02)
    # The pair ends with either of its namespaces.
    run("ip", "link", "add", "tenantry0", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "address", "add", f"{HOST_ADDRESS}/24", "dev", "tenantry0")
    run("ip", "link", "set", "tenantry0", "up")
    return pid


def inside(pid: int, *command: str | Path) -> list[str]:
    """The command line that runs another one in the cluster's namespaces."""
    return ["nsenter", "--target", str(pid), "--net", "--mount", "--pid", "--wd=/", "--", *map(str, command)]


def stop() -> None:
    """Ends every process of the cluster and removes its folders, also after an incomplete start."""
    if pid := holder():
        os.kill(pid, signal.SIGKILL)
        wait_for("the end of the cluster's processes", lambda: holder() is None, 30, 0.05)
    remove_control_groups()
    shutil.rmtree(RUN, ignore_errors=True)


def remove_control_groups() -> None:
    hierarchies = [CGROUPS] if is_unified() else [p for p in CGROUPS.iterdir() if p.is_dir()]
    hugetlb = CGROUPS / "hugetlb"
    mounted = False
    if not is_unified() and hugetlb.is_dir() and not os.path.ismount(hugetlb):
        mounted = (
            subprocess.run(
                ["mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", hugetlb], capture_output=True
            ).returncode
            == 0
        )

    def emptied() -> bool:
        left = False
        for hierarchy in hierarchies:
            for folder, _, _ in os.walk(hierarchy / CGROUP, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    left = True
        return not left

    try:
        wait_for("control groups that can be removed", emptied, 20)
    finally:
        if mounted:
            run("umount", hugetlb)
            hugetlb.rmdir()


def is_unified() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


# From inside


def prepare() -> None:
    """Makes the namespaces look like a node: folders, addresses, names, certificates, control groups."""
    hide_folders()
    for address in (NODE, GATEWAY_ADDRESS):
        run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "route", "add", "default", "via", HOST_ADDRESS)
    for name in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"):
        run("sysctl", "--quiet", "--write", name)
    make_outside()
    hosts = RUN / "hosts"
    hosts.write_text("127.0.0.1 localhost node-1\n" + "".join(f"{address} {name}\n" for name, address in NAMES.items()))
    resolver = RUN / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    run("mount", "--bind", hosts, "/etc/hosts")
    run("mount", "--bind", resolver, os.path.realpath("/etc/resolv.conf"))
    run("mount", "--bind", PKI / "bundle.crt", os.path.realpath("/etc/ssl/certs/ca-certificates.crt"))
    run("mount", "--make-rshared", "/")
    if not is_unified():
        hugetlb = CGROUPS / "hugetlb"
        hugetlb.mkdir(exist_ok=True)
        if not os.path.ismount(hugetlb):
            run("mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", hugetlb)
    for hierarchy in [CGROUPS] if is_unified() else [p for p in CGROUPS.iterdir() if p.is_dir()]:
        (hierarchy / CGROUP).mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (hierarchy / CGROUP / setting).write_text((hierarchy / setting).read_text())


def hide_folders() -> None:
    """Mounts private folders over /run, /var/log and /var/lib, where node programs write to fixed paths."""
    inner = RUN / "private-run"
    inner.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=755", "run", inner)
    (inner / RUN.relative_to("/run")).mkdir(parents=True)
    run("mount", "--bind", RUN, inner / RUN.relative_to("/run"))
    run("mount", "--rbind", inner, "/run")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "log", "/var/log")
    upper, work = RUN / "var-lib", RUN / "var-lib-work"
    upper.mkdir()
    work.mkdir()
    run("mount", "-t", "overlay", "-o", f"lowerdir=/var/lib,upperdir={upper},workdir={work}", "overlay", "/var/lib")


def make_outside() -> None:
    """Makes the network of everything that is not part of the cluster. Policies apply to traffic that leaves for it."""
    pid = start("outside", "unshare", "--net", BIN / "pause", "outside")
    wait_for(
        "the outside network", lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"), 10, 0.02
    )
    run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "address", "add", f"{OUTSIDE_ROUTER}/24", "dev", "out0")
    run("ip", "link", "set", "out0", "up")
    run("ip", "route", "add", METADATA_ADDRESS, "via", OUTSIDE[0])
    for address in OUTSIDE:
        run(*outside(), "ip", "address", "add", f"{address}/24", "dev", "eth0")
    run(*outside(), "ip", "address", "add", f"{METADATA_ADDRESS}/32", "dev", "lo")
    run(*outside(), "ip", "link", "set", "lo", "up")
    run(*outside(), "ip", "link", "set", "eth0", "up")
    run(*outside(), "ip", "route", "add", "default", "via", OUTSIDE_ROUTER)


def outside() -> list[str]:
    """The beginning of a command line that runs in the outside network."""
    return ["nsenter", f"--net=/proc/{(PIDS / 'outside').read_text()}/ns/net", "--"]


def start(name: str, *command: str | Path, **environment: str) -> int:
    """Starts a program in the background. Its output is in LOGS, its process id in PIDS."""
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(c) for c in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin", **environment},
        )
    (PIDS / name).write_text(str(process.pid))
    return process.pid


def start_python(name: str, script: str, *arguments: str | Path, beside: Sequence[str] = ()) -> int:
    """Starts a script; `beside` is a prefix such as `outside()`."""
    return start(name, *beside, PYTHON, HERE / script, *arguments)


def pid_of(name: str) -> int | None:
    try:
        pid = int((PIDS / name).read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return None
    return None if state == "Z" else pid


def end(name: str, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> None:
    """Ends a program that `start` started, and waits until it has."""
    if pid := pid_of(name):
        os.kill(pid, number)
        wait_for(f"the end of {name}", lambda: pid_of(name) is None, seconds, 0.05)


def log_tail(name: str, lines: int = 15) -> str:
    try:
        return "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def wait_for_program(name: str, what: str, condition: Callable[[], T], seconds: float = 60) -> T:
    """Waits like `wait_for`, and fails with the last lines of the program's log as soon as the program has ended."""

    def checked() -> T:
        if pid_of(name) is None:
            raise ClusterError(f"{name} ended:\n{log_tail(name)}")
        return condition()

    try:
        return wait_for(what, checked, seconds)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{name}:\n{log_tail(name)}") from None


def processes() -> Sequence[str]:
    return sorted(p.name for p in PIDS.iterdir())
