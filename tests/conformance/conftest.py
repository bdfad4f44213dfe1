"""Runs each check with the fixture `aws` once per endpoint, and compares the endpoints.

Our endpoint must pass every check. `differences.py` lists the checks that each third-party endpoint fails, with AWS's
documented behavior as the reason. A change in either direction fails the run. ministack is always compared; fauxqs and
ElasticMQ, which have SQS alone, are compared by `make referees`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from differences import DIFFERENCES
from endpoints import STARTERS, Aws
from helpers import new_queue

OURS, DEFAULT = "localaws", ["localaws", "ministack"]
SQS_ALONE = {"fauxqs", "elasticmq"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--endpoint",
        action="append",
        choices=list(STARTERS),
        help="run the checks against this endpoint only",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "aws" in metafunc.fixturenames:
        names = metafunc.config.getoption("endpoint") or DEFAULT
        if not Path(metafunc.module.__file__).stem.startswith("test_sqs_"):
            names = [name for name in names if name not in SQS_ALONE]
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
    checks |= {check.split("[")[0] for check in checks}
    areas = {check.split("::")[0] for check in checks}
    listed = {check for differences in DIFFERENCES.values() for check in differences}
    unknown = sorted(check for check in listed - checks if check.split("::")[0] in areas)
    if unknown:
        raise pytest.UsageError(f"differences.py names checks that do not exist: {', '.join(unknown)}")


class Scores:
    """Results of each check, by endpoint."""

    def __init__(self) -> None:
        self.passed: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
        self.measured: dict[str, dict[str, list[float]]] = {}

    def count(self, endpoint: str, area: str | None = None) -> int:
        return sum(by.get(endpoint, False) for (a, _), by in self.passed.items() if area in (None, a))

    def foreign(self) -> list[str]:
        return sorted({name for by in self.passed.values() for name in by} - {OURS})

    def outdone(self) -> list[str]:
        """Endpoints that pass more of the checks that they share with ours."""
        shared = {name: [by for by in self.passed.values() if {OURS, name} <= by.keys()] for name in self.foreign()}
        return [name for name, of in shared.items() if sum(by[name] for by in of) > sum(by[OURS] for by in of)]


SCORES = pytest.StashKey[Scores]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SCORES] = Scores()


def check_of(item: pytest.Item) -> tuple[str, str, str] | None:
    """Returns (endpoint, area, name without the endpoint), or None for a test that does not run per endpoint."""
    parameters = getattr(item, "callspec", None)
    if parameters is None or "aws" not in parameters.params:
        return None
    endpoint = parameters.params["aws"]
    if endpoint not in STARTERS:
        # The check is for none of the selected endpoints.
        return None
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
    if endpoint in DIFFERENCES and report.when == "call":
        settle_difference(report, endpoint, f"{area}::{name}")
    return report


def reason_of(endpoint: str, check: str) -> str | None:
    """Reason of a listed difference. A check without its parameters is listed for each of them."""
    differences = DIFFERENCES[endpoint]
    return differences.get(check) or differences.get(check.split("[")[0])


def settle_difference(report: pytest.TestReport, endpoint: str, check: str) -> None:
    """Reports a listed difference. An unlisted difference, or a listed one that is gone, is a failure."""
    reason = reason_of(endpoint, check)
    if report.failed and reason is not None:
        report.outcome = "passed"
        report.differs = True
    elif report.failed:
        report.sections.append(("new difference", f"{endpoint} fails {check}: decide by AWS's documentation"))
    elif reason is not None:
        report.outcome = "failed"
        report.longrepr = f"{endpoint} now passes {check}: remove it from differences.py"


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if getattr(report, "differs", False):
        return "differ", "d", "DIFFERS"
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[SCORES].outdone():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    scores = config.stash[SCORES]
    if not scores.passed:
        return
    out = terminalreporter
    endpoints = [OURS, *scores.foreign()]
    row = ("{:<24} {:>7}" + " {:>10}" * len(endpoints)).format
    out.section("checks passed by each endpoint")
    out.line(row("", "checks", *endpoints))
    areas: dict[str, int] = defaultdict(int)
    for area, _ in scores.passed:
        areas[area] += 1
    for area, checks in areas.items():
        out.line(row(area, checks, *(scores.count(endpoint, area) for endpoint in endpoints)))
    out.line(row("all", len(scores.passed), *(scores.count(endpoint) for endpoint in endpoints)))
    for endpoint in scores.outdone():
        out.line(f"{OURS} passes fewer checks than {endpoint}", red=True)

    for endpoint in scores.foreign():
        by_reason: dict[str, list[str]] = defaultdict(list)
        for (area, name), by in scores.passed.items():
            if by.get(endpoint) is False:
                check = f"{area}::{name}"
                by_reason[reason_of(endpoint, check) or "NOT LISTED YET: decide by AWS's documentation"].append(check)
        if by_reason:
            out.section(f"differences between {endpoint} and AWS's documentation")
        for reason, failed in by_reason.items():
            out.line(reason)
            for check in failed:
                out.line(f"    {check}")
    for endpoint, measured in scores.measured.items():
        for measurement, values in measured.items():
            out.line(f"{endpoint}: {measurement}, median of {len(values)}: {median(values):.1f}")
