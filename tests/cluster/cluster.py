"""The test cluster from outside: cluster.py up [--programs FOLDER] | down | run COMMAND… | status."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import kinds
import machine
import pki
import tools
from layout import API_HOST, GATEWAY_ADDRESS, HERE, KUBECONFIG, PKI, PYTHON, ROOT, RUN
from machine import ClusterError


def up(programs: Path) -> None:
    if machine.holder():
        raise ClusterError(f"a cluster is running (in {RUN}); `make cluster-down` ends it")
    if not (programs / "producer").exists():
        raise ClusterError(
            f"{programs} has no services: run `cargo build --release`, or name another folder with --programs"
        )
    tools.build()
    begin = time.monotonic()
    machine.stop()
    kinds.collect()
    pki.make()
    pid = machine.start_holder()
    done = subprocess.run(machine.inside(pid, PYTHON, HERE / "bringup.py", programs.resolve()), check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"the cluster did not come up; its logs are in {RUN / 'logs'}. `make cluster-down` removes it"
        )
    curl = f"curl --silent --cacert {PKI.relative_to(ROOT)}/homelab.crt --resolve {API_HOST}:443:{GATEWAY_ADDRESS}"
    print(
        f"""
Tenantry is ready after {time.monotonic() - begin:.0f} s.

  kubeconfig  {KUBECONFIG}
  address     https://{API_HOST} at {GATEWAY_ADDRESS}

{curl} --header 'tenantID: tenant-1' https://{API_HOST}/producer
{curl} --header 'tenantID: tenant-3' --request POST --data '{{"order":7}}' https://{API_HOST}/producer
{curl} --header 'tenantID: tenant-3' https://{API_HOST}/consumer/messages
"""
    )


def run_inside(command: list[str]) -> int:
    pid = machine.holder()
    if not pid:
        raise ClusterError("no cluster is running: `make cluster` starts one")
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG), "SSL_CERT_FILE": str(PKI / "bundle.crt")}
    entered = machine.inside(pid, "env", f"--chdir={ROOT}", *command)
    return subprocess.run(entered, env=environment, check=False).returncode


def descendants(pid: int) -> list[int]:
    """Returns a process and its descendants. Orphans of a container's program become children of the first process."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(int(file.read_text().rpartition(") ")[2].split()[1]), []).append(int(file.parent.name))
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def status() -> None:
    """Prints the memory of every program; a shared page counts in proportion."""
    pid = machine.holder()
    if not pid:
        raise ClusterError("no cluster is running: `make cluster` starts one")
    found = Counter[str]()
    for one in descendants(pid):
        try:
            size = re.search(r"^Pss: +(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)
            words = Path(f"/proc/{one}/cmdline").read_text().split("\0")
        except OSError:
            continue
        found[words[1] if words[0].endswith("/kube") else Path(words[0]).name] += int(size[1]) if size else 0
    for name, kibibytes in found.most_common():
        print(f"{kibibytes / 1024:8.0f} MiB  {name}")
    print(f"{found.total() / 1024:8.0f} MiB  all")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="build the tools once, start the cluster, wait until all tiers answer")
    starting.add_argument(
        "--programs", type=Path, default=ROOT / "target" / "release", help="folder with the services' binaries"
    )
    commands.add_parser("down", help="end the cluster and remove everything but the tools")
    commands.add_parser("status", help="print the memory of every program")
    inside = commands.add_parser("run", help="run a command in the cluster's namespaces")
    inside.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        if options.command == "up":
            up(options.programs)
        elif options.command == "down":
            machine.stop()
        elif options.command == "status":
            status()
        else:
            sys.exit(run_inside(options.arguments))
    except ClusterError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
