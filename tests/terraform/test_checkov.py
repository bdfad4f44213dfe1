"""Every finding of checkov in the configuration is fixed, or is an exception with a reason."""

from __future__ import annotations

import pytest

from checkov_exceptions import EXCEPTIONS
from checkov_findings import Findings, run_checkov, unexplained
from engine import TERRAFORM


@pytest.fixture(scope="module")
def findings() -> Findings:
    return run_checkov(TERRAFORM, "terraform", at_least=60)


def test_every_finding_is_an_exception_with_a_reason(findings: Findings) -> None:
    assert unexplained(findings, EXCEPTIONS) == {}


def test_every_exception_has_a_finding(findings: Findings) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
