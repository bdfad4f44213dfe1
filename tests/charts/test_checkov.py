"""Every finding of checkov in the rendered objects is fixed, or is an exception with a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from checkov_exceptions import EXCEPTIONS
from combinations import APPLICATION_CASES, EXAMPLES, ORIGINALS, TIERS, installed, matrix_case
from engine import ROOT

CHECKOV = ROOT / ".tools" / "checkov" / "bin" / "checkov"

CASES = [
    *EXAMPLES,
    *APPLICATION_CASES,
    *ORIGINALS.values(),
    *(matrix_case(tier, "alb", "none", "irsa") for tier in TIERS),
    *(matrix_case(tier, "gateway", "keda", "secret") for tier in TIERS),
]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Maps each failed check to its objects."""
    directory = tmp_path_factory.mktemp("rendered")
    for case in CASES:
        release = installed(case)
        # checkov does not know the release's namespace: a policy in it would seem to miss its pods.
        objects = [{**o, "metadata": {"namespace": release.namespace_of(o), **o["metadata"]}} for o in release.objects]
        (directory / f"{case.id}.yaml").write_text(yaml.safe_dump_all(objects))
    return run_checkov(directory)


def run_checkov(directory: Path, at_least: int = 1000) -> dict[str, set[str]]:
    """Maps each failed check to its objects. At least `at_least` checks must pass, or checkov did not read the objects.

    Runs offline: `--skip-download` keeps checkov from fetching policies.
    """
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--output", "json"]
    done = subprocess.run(
        [str(CHECKOV), "--directory", str(directory), *options],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > at_least, "checkov did not read the objects"
    found: dict[str, set[str]] = defaultdict(set)
    for finding in report["results"]["failed_checks"]:
        found[finding["check_id"]].add(finding["resource"])
    return found


def test_every_finding_is_an_exception_with_a_reason(findings: dict[str, set[str]]) -> None:
    unexplained = {
        check: sorted(o for o in objects if not re.fullmatch(EXCEPTIONS.get(check, ("", ""))[0], o))
        for check, objects in findings.items()
    }
    assert {check: objects for check, objects in unexplained.items() if objects} == {}


def test_every_exception_has_a_finding(findings: dict[str, set[str]]) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
