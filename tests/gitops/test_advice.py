"""Every finding of checkov in the applied objects is fixed, or is an exception with a reason."""

from __future__ import annotations

import pytest
import yaml

from checkov_findings import Findings, run_checkov, unexplained
from manifests import Manifest

WORKER = r"Deployment\.tenantry\.tenantctl-worker"
EXCEPTIONS = {
    "CKV_K8S_15": (
        WORKER,
        "The tag is a version and never moves, so a node can use an image it has, and the pod starts while the "
        "registry is down.",
    ),
    "CKV_K8S_35": (
        WORKER,
        "In the homelab the AWS SDK reads keys from variables. On EKS there are no keys, and Git's password is a file.",
    ),
    "CKV_K8S_43": (WORKER, "Releases are named by tag. An overlay can pin the digest."),
}


@pytest.fixture(scope="module")
def findings(objects: dict[str, list[Manifest]], tmp_path_factory: pytest.TempPathFactory) -> Findings:
    directory = tmp_path_factory.mktemp("applied")
    for name, found in objects.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(found))
    return run_checkov(directory, "kubernetes", at_least=300)


def test_every_finding_is_an_exception_with_a_reason(findings: Findings) -> None:
    assert unexplained(findings, EXCEPTIONS) == {}


def test_every_exception_has_a_finding(findings: Findings) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
