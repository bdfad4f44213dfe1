"""Shared by the tests: the schema check of every object, and a summary of the rendered and checked objects."""

from __future__ import annotations

from typing import Any

import pytest

from combinations import APPLICATION_CASES, EVERYTHING, EXAMPLES, LONG_NAMES, MATRIX, OPTIONS, ORIGINALS, installed
from engine import KUBERNETES, RenderError, helm_version
from manifests import ManifestError
from schemas import Checker, versions_available

CHECKER = pytest.StashKey[Checker]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CHECKER] = Checker()


@pytest.fixture(scope="session")
def all_checked(request: pytest.FixtureRequest) -> Checker:
    """A checker that has seen the objects of every case."""
    checker = request.config.stash[CHECKER]
    objects = []
    for case in EVERYTHING:
        try:
            objects += installed(case).objects
        except (RenderError, ManifestError):
            continue  # the case's own tests fail
    checker.prepare(objects)
    return checker


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    checker = config.stash[CHECKER]
    if not checker.distinct:
        return
    out = terminalreporter
    out.section("charts")
    out.line(f"rendered by {helm_version()} for Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}")
    parts = {
        "the matrix tier x routing x autoscaler x identity": len(MATRIX),
        "single options": len(OPTIONS),
        "longest names": len(LONG_NAMES),
        "the tenant chart's examples": len(EXAMPLES),
        "values of the original sample": len(ORIGINALS),
        "the application chart": len(APPLICATION_CASES),
    }
    out.line(f"{len(EVERYTHING)} combinations: " + ", ".join(f"{count} {part}" for part, count in parts.items()))
    for line in checker.summary():
        out.line(line)
    missing = [version for version in KUBERNETES if version not in versions_available()]
    out.line(f"versions of Kubernetes without a schema: {', '.join(missing) or 'none'}")
    out.line("not in any schema: CEL rules, admission controllers, checks in the API server's code")
