"""Runs checkov offline, and compares its findings with a list of exceptions."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

CHECKOV = Path(__file__).resolve().parents[2] / ".tools" / "checkov" / "bin" / "checkov"

Findings = dict[str, set[str]]
"""Each failed check with its objects or resources."""
Exceptions = Mapping[str, tuple[str, str]]
"""Each accepted check with a pattern of its objects, and the reason."""


def run_checkov(directory: Path, framework: str, at_least: int) -> Findings:
    """Runs every check of a framework. At least `at_least` checks must pass, or checkov did not read the directory.

    `--skip-download` keeps checkov from fetching policies.
    """
    options = ["--framework", framework, "--skip-download", "--compact", "--quiet", "--output", "json"]
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
    assert report["summary"]["passed"] > at_least, f"checkov did not read {directory}"
    found: Findings = defaultdict(set)
    for finding in report["results"]["failed_checks"]:
        found[finding["check_id"]].add(finding["resource"])
    return found


def unexplained(findings: Findings, exceptions: Exceptions) -> dict[str, list[str]]:
    """Lists the findings that are no exception."""
    left = {
        check: sorted(o for o in objects if not re.fullmatch(exceptions.get(check, ("", ""))[0], o))
        for check, objects in findings.items()
    }
    return {check: objects for check, objects in left.items() if objects}
