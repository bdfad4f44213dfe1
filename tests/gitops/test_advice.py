"""checkov's advice on what Flux applies: followed, or an exception with a reason."""

from __future__ import annotations

import re

import pytest
import yaml

from manifests import Manifest
from test_checkov import run_checkov

WORKER = r"Deployment\.tenantry\.tenantctl-worker"
EXCEPTIONS = {
    "CKV_K8S_15": (
        WORKER,
        "The tag is a version and never moves, so a node need not ask the registry for an image it has, and the pod "
        "starts while the registry is away.",
    ),
    "CKV_K8S_35": (
        WORKER,
        "In the homelab the AWS SDK takes keys from variables only. On EKS there are no keys, and Git's password is a "
        "file.",
    ),
    "CKV_K8S_43": (WORKER, "Releases are named by tag. Who wants more names the digest in an overlay."),
}


@pytest.fixture(scope="module")
def findings(objects: dict[str, list[Manifest]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    directory = tmp_path_factory.mktemp("applied")
    for name, found in objects.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(found))
    return run_checkov(directory, at_least=300)


def test_every_finding_is_an_exception_with_a_reason(findings: dict[str, set[str]]) -> None:
    unexplained = {
        check: sorted(o for o in objects if not re.fullmatch(EXCEPTIONS.get(check, ("", ""))[0], o))
        for check, objects in findings.items()
    }
    assert {check: objects for check, objects in unexplained.items() if objects} == {}


def test_no_exception_is_left_over(findings: dict[str, set[str]]) -> None:
    assert EXCEPTIONS.keys() - findings.keys() == set()
