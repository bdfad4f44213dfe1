"""Runs each check with the fixture `aws` once per endpoint, and compares the endpoints.

Our endpoint must pass every check. `ministack_differences.py` lists the checks that the third-party endpoint fails,
with AWS's documented behavior as the reason. A change in either direction fails the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from endpoints import STARTERS, Aws
from helpers import new_queue
from ministack_differences import DIFFERENCES

OURS, FOREIGN = "localaws", "ministack"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--endpoint",
        action="append",
        choices=list(STARTERS),
        help="run the checks against this endpoint only",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "aws" in metafunc.fixturenames:
        names = metafunc.config.getoption("endpoint") or list(STARTERS)
        metafunc.parametrize("aws", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The tested endpoint."""
    with STARTERS[request.param](tmp_path_factory.mktemp(request.param)) as endpoint:
        yield endpoint
        request.config.stash[SCORES].measured[request.param] = dict(endpoint.measured)


@pytest.fixture
def queue(aws: Aws) -> str:
    """URL of an empty queue that no other check uses."""
    return new_queue(aws)


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Fails if a listed difference names an unknown check. Looks only at files that were collected whole."""
    if any("::" in argument for argument in session.config.args):
        return
    checks = {f"{check[1]}::{check[2]}" for check in map(check_of, items) if check}
    areas = {check.split("::")[0] for check in checks}
    unknown = sorted(check for check in DIFFERENCES.keys() - checks if check.split("::")[0] in areas)
    if unknown:
        raise pytest.UsageError(f"ministack_differences.py names checks that do not exist: {', '.join(unknown)}")


class Scores:
    """Results of each check, by endpoint."""

    def __init__(self) -> None:
        self.passed: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        self.measured: dict[str, dict[str, list[float]]] = {}

    def count(self, endpoint: str, area: str | None = None) -> int:
        return sum(by.get(endpoint, False) for (a, _), by in self.passed.items() if area in (None, a))

    def compared(self) -> bool:
        return any({OURS, FOREIGN} <= by.keys() for by in self.passed.values())


SCORES = pytest.StashKey[Scores]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SCORES] = Scores()


def check_of(item: pytest.Item) -> tuple[str, str, str] | None:
    """Returns (endpoint, area, name without the endpoint), or None for a test that does not run per endpoint."""
    parameters = getattr(item, "callspec", None)
    if parameters is None or "aws" not in parameters.params:
        return None
    endpoint = parameters.params["aws"]
    others = [part for part in parameters.id.split("-") if part != endpoint]
    name = item.originalname + (f"[{'-'.join(others)}]" if others else "")
    return endpoint, Path(item.path).stem.removeprefix("test_"), name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    check = check_of(item)
    if check is None or (report.when != "call" and report.passed):
        return report
    endpoint, area, name = check
    item.config.stash[SCORES].passed[area, name][endpoint] = report.passed
    if endpoint == FOREIGN and report.when == "call":
        settle_difference(report, f"{area}::{name}")
    return report


def settle_difference(report: pytest.TestReport, check: str) -> None:
    """Reports a listed difference. An unlisted difference, or a listed one that is gone, is a failure."""
    reason = DIFFERENCES.get(check)
    if report.failed and reason is not None:
        report.outcome = "passed"
        report.differs = True
    elif report.failed:
        report.sections.append(("new difference", f"ministack fails {check}: decide by AWS's documentation"))
    elif reason is not None:
        report.outcome = "failed"
        report.longrepr = f"ministack now passes {check}: remove it from ministack_differences.py"


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if getattr(report, "differs", False):
        return "ministack differs", "d", "MINISTACK DIFFERS"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    scores = session.config.stash[SCORES]
    if scores.compared() and scores.count(OURS) < scores.count(FOREIGN):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    scores = config.stash[SCORES]
    if not scores.passed:
        return
    out = terminalreporter
    row = "{:<24} {:>7} {:>10} {:>10}".format
    out.section("checks passed by each endpoint")
    out.line(row("", "checks", OURS, FOREIGN))
    areas: dict[str, int] = defaultdict(int)
    for area, _ in scores.passed:
        areas[area] += 1
    for area, checks in areas.items():
        out.line(row(area, checks, scores.count(OURS, area), scores.count(FOREIGN, area)))
    out.line(row("all", len(scores.passed), scores.count(OURS), scores.count(FOREIGN)))
    if scores.compared() and scores.count(OURS) < scores.count(FOREIGN):
        out.line(f"{OURS} passes fewer checks than {FOREIGN}", red=True)

    by_reason: dict[str, list[str]] = defaultdict(list)
    for (area, name), by in scores.passed.items():
        if by.get(FOREIGN) is False:
            check = f"{area}::{name}"
            by_reason[DIFFERENCES.get(check, "NOT LISTED YET: decide by AWS's documentation")].append(check)
    if by_reason:
        out.section(f"differences between {FOREIGN} and AWS's documentation")
    for reason, checks in by_reason.items():
        out.line(reason)
        for check in checks:
            out.line(f"    {check}")
    for endpoint, measured in scores.measured.items():
        for measurement, values in measured.items():
            out.line(f"{endpoint}: {measurement}, median of {len(values)}: {median(values):.1f}")
