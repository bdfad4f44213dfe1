"""Every finding of checkov in the rendered objects is fixed, or is an exception with a reason."""

from __future__ import annotations

import pytest
import yaml

from checkov_exceptions import EXCEPTIONS
from checkov_findings import Findings, run_checkov, unexplained
from combinations import APPLICATION_CASES, EXAMPLES, ORIGINALS, TIERS, installed, matrix_case

CASES = [
    *EXAMPLES,
    *APPLICATION_CASES,
    *ORIGINALS.values(),
    *(matrix_case(tier, "alb", "none", "irsa") for tier in TIERS),
    *(matrix_case(tier, "gateway", "keda", "secret") for tier in TIERS),
]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Maps each failed check to its objects."""
    directory = tmp_path_factory.mktemp("rendered")
    for case in CASES:
        release = installed(case)
        # checkov does not know the release's namespace: a policy in it would seem to miss its pods.
        objects = [{**o, "metadata": {"namespace": release.namespace_of(o), **o["metadata"]}} for o in release.objects]
        (directory / f"{case.id}.yaml").write_text(yaml.safe_dump_all(objects))
    return run_checkov(directory, "kubernetes", at_least=1000)


def test_every_finding_is_an_exception_with_a_reason(findings: Findings) -> None:
    assert unexplained(findings, EXCEPTIONS) == {}


def test_every_exception_has_a_finding(findings: Findings) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
