"""What the tests share: clients, and a cluster that is healthy before each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import saas
from api import Api, condition, is_current
from layout import KUBECONFIG, LOGS
from machine import ClusterError, wait_for

RESULTS: list[str] = []


@pytest.fixture(scope="session")
def api() -> Api:
    if not KUBECONFIG.exists():
        pytest.exit("no cluster is running, or this is not its namespaces: `make cluster`, then `make cluster-test`", 2)
    return Api()


@pytest.fixture(scope="session")
def checkout() -> saas.Checkout:
    return saas.Checkout()


@pytest.fixture
def note() -> Any:
    """Adds a measured line to the summary, and to the logs in case the run does not end."""

    def keep(line: str) -> None:
        RESULTS.append(line)
        with (LOGS / "measured.log").open("a") as log:
            log.write(f"{line}\n")

    return keep


@pytest.fixture(autouse=True)
def healthy(api: Api) -> Iterator[None]:
    """Waits until the cluster is healthy before each test, and offboards the test's tenants after it.

    An API server alone has no tenants.
    """
    if os.environ.get("CLUSTER_BARE"):
        yield
        return

    def all_ready() -> bool:
        for name in ("pool-1", "tenant-1", "tenant-2", "tenant-3"):
            found = saas.release(api, name)
            if not found or not is_current(found):
                return False
        return all(saas.environment_of(t, "producer") for t in ("tenant-1", "tenant-2", "tenant-3"))

    try:
        wait_for("a healthy cluster", all_ready, 180, 0.5)
    except ClusterError as error:
        states = [f"{n}: {condition(saas.release(api, n) or {}).get('message')}" for n in ("pool-1", "tenant-1")]
        pytest.fail(f"{error}; {'; '.join(states)}")
    yield
    saas.offboard_all()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if RESULTS:
        terminalreporter.section("measured")
        for line in RESULTS:
            terminalreporter.line(line)
