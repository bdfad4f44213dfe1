"""checkov's advice on the configuration: followed, or an exception with a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict

import pytest

from checkov_exceptions import EXCEPTIONS
from engine import ROOT, TERRAFORM

CHECKOV = ROOT / ".tools" / "checkov" / "bin" / "checkov"


@pytest.fixture(scope="module")
def findings() -> dict[str, set[str]]:
    """The resources each check complains about. Offline: `--skip-download`."""
    options = ["--framework", "terraform", "--skip-download", "--compact", "--quiet", "--output", "json"]
    done = subprocess.run(
        [str(CHECKOV), "--directory", str(TERRAFORM), *options],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 60, "checkov has not read the configuration"
    found: dict[str, set[str]] = defaultdict(set)
    for finding in report["results"]["failed_checks"]:
        found[finding["check_id"]].add(finding["resource"])
    return found


def test_every_finding_is_an_exception_with_a_reason(findings: dict[str, set[str]]) -> None:
    unexplained = {
        check: sorted(r for r in resources if not re.fullmatch(EXCEPTIONS.get(check, ("", ""))[0], r))
        for check, resources in findings.items()
    }
    assert {check: resources for check, resources in unexplained.items() if resources} == {}


def test_no_exception_is_left_over(findings: dict[str, set[str]]) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
