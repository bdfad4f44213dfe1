"""Cost of 10, 100 and 300 basic tenants, and the time of a commit beside them. `docs/scale.md` has the table.

Not part of a plain `make cluster-test`: `make cluster-test CLUSTER_TESTS="-m growth"`. GROWTH_STEPS="10 50"
takes fewer tenants.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import node
import saas
from api import Api, is_current
from machine import pid_of, wait_for

pytestmark = pytest.mark.growth
BASIC = Path("application-plane/production/tenants/basic")
TEMPLATE = Path("application-plane/production/tier-templates/basic_tenant_template.yaml")
STEPS = tuple(map(int, os.environ.get("GROWTH_STEPS", "10 100 300").split()))
CONTROLLERS = ("source-controller", "kustomize-controller", "helm-controller")
PROGRAMS = ("apiserver", "etcd", "controller-manager", "kubelet", "kube-proxy")
TICKS = 100


@dataclass(frozen=True)
class Usage:
    seconds: float
    mebibytes: float


def usage(pid: int) -> Usage:
    """CPU time so far and memory now of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, int(resident[1]) / 1024 if resident else 0)


def processes(api: Api) -> dict[str, int]:
    found = {name: pid for name in PROGRAMS if (pid := pid_of(name))}
    for name in CONTROLLERS:
        (pod,) = api.list("pods", "flux-system", labelSelector=f"app={name}")
        found[name] = node.process_of(pod)
    (gateway,) = api.list("pods", "envoy-gateway-system", labelSelector="app=envoy-gateway")
    return {**found, "gateway": node.process_of(gateway)}


def etcd_bytes() -> float:
    with urlopen("http://127.0.0.1:2379/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r"^etcd_mvcc_db_total_size_in_use_in_bytes (\S+)$", text, re.M)
    assert found
    return float(found[1])


def objects(api: Api) -> int:
    lines = re.findall(r"^apiserver_(?:storage|resource)_objects\{.*\} (\S+)$", api.raw("/metrics"), re.M)
    return int(sum(float(n) for n in lines if float(n) > 0))


def add(checkout: saas.Checkout, names: list[str]) -> None:
    def write(folder: Path) -> None:
        template = (folder / TEMPLATE).read_text()
        listing = folder / BASIC / "kustomization.yaml"
        own = re.search(r"tenantId: (\S+)", template)
        assert own
        for name in names:
            (folder / BASIC / f"{name}.yaml").write_text(template.replace(own[1], name))
        listing.write_text(listing.read_text() + "".join(f"- {name}.yaml\n" for name in names))

    checkout.commit(f"{len(names)} basic tenants", write)


def all_ready(api: Api, names: set[str]) -> bool:
    releases = api.list("helmreleases.helm.toolkit.fluxcd.io", "flux-tenants")
    return names <= {r["metadata"]["name"] for r in releases if is_current(r)}


def test_growth(api: Api, checkout: saas.Checkout, note: Any) -> None:
    pids = processes(api)
    there: list[str] = []
    for step in STEPS:
        new = [f"grown-{n}" for n in range(len(there), step)]
        before = {name: usage(pid) for name, pid in pids.items()}
        bytes_before, objects_before = etcd_bytes(), objects(api)
        begin = time.monotonic()
        add(checkout, new)
        wait_for("the last one's answer", lambda new=new: saas.environment_of(new[-1], "producer"), 1800, 0.5)
        served = time.monotonic() - begin
        wait_for("all releases", lambda names={*there, *new}: all_ready(api, names), 1800, 1)
        ready = time.monotonic() - begin
        there += new
        # The time of a commit beside all of them.
        begin = time.monotonic()
        tenant = saas.new_tenant("one-more")
        saas.tenantctl("onboard", tenant, "--tier", "basic", "--release", "0.0")
        wait_for("one more", lambda tenant=tenant: saas.environment_of(tenant, "producer"), 600, 0.1)
        one_more = time.monotonic() - begin
        after = {name: usage(pid) for name, pid in pids.items()}
        cpu = {n: round(after[n].seconds - before[n].seconds, 1) for n in pids}
        memory = {n: round(after[n].mebibytes) for n in pids}
        added = len(new) + 1
        note(
            f"{step} tenants: {len(new)} more served after {served:.0f} s, ready after {ready:.0f} s; one more after "
            f"{one_more:.1f} s; {(objects(api) - objects_before) / added:.1f} objects and "
            f"{(etcd_bytes() - bytes_before) / added / 1024:.1f} KiB of etcd each; CPU seconds {cpu}; MiB {memory}"
        )
