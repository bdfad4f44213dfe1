"""The commands of docs/deploy-homelab.md that can run here, from the page's own text."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import saas
from api import Api
from layout import HERE, KUBECONFIG, PKI, ROOT, VENV
from machine import wait_for

PAGE = ROOT / "docs" / "deploy-homelab.md"


def blocks(section: str) -> list[str]:
    """The shell blocks of a section, by its number."""
    (part,) = re.findall(rf"^## {section}\. .*?(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return re.findall(r"^```sh\n(.*?)^```", part, re.M | re.S)


def bash(script: str, seconds: float = 300) -> str:
    """Runs a script as the operator would, in a clone of the repository."""
    environment = {
        **os.environ,
        "PATH": f"{HERE / 'standins' / 'bin'}:{VENV}:{os.environ['PATH']}",
        "KUBECONFIG": str(KUBECONFIG),
        "CURL_CA_BUNDLE": str(PKI / "bundle.crt"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def beginning() -> str:
    """Names, the endpoint of what stands in for AWS, and the lifecycle queues: sections 1 and 6."""
    names, (_, queues) = blocks("1")[0], blocks("6")
    ready = "until curl --silent --output /dev/null http://127.0.0.1:4566; do sleep 0.2; done\n"
    first, rest = queues.split("\n", 1)
    assert "port-forward" in first
    return f"{names}\n{first}\n{ready}{rest}\n"


def test_the_lifecycle_queues(beginning: str) -> None:
    bash(beginning)
    names = [url.rpartition("/")[2] for url in saas.client("sqs").list_queues()["QueueUrls"]]
    for kind in ("onboarding", "offboarding", "deployment"):
        assert {f"argoworkflows-{kind}-queue", f"argoworkflows-{kind}-queue-dlq"} <= set(names)


def test_the_walk_through(api: Api, beginning: str) -> None:
    addresses, walk = blocks("8")
    output = bash(beginning + addresses + walk)
    assert "198.51.100.10" in output, "the Gateway's address"
    environments = re.findall(r'"environment":"([^"]+)"', output)
    assert environments == ["tenant-1", "tenant-1", "pool-1", "pool-1", "pool-1", "tenant-3", "pool-1", "tenant-4"]
    assert '"consumer_environment"' in output
    wait_for("the end of tenant-4", lambda: saas.get("/producer", "tenant-4").status == 404, 120, 0.3)


def test_what_the_page_shows_of_the_cluster(api: Api) -> None:
    shown = [line for block in blocks("7") for line in block.splitlines() if "get helmreleases" in line]
    assert shown
    output = bash("\n".join(shown))
    for tenant in ("pool-1", "tenant-1", "tenant-2", "tenant-3"):
        assert f"helmrelease.helm.toolkit.fluxcd.io/{tenant}" in output
        assert f"terraform.infra.contrib.fluxcd.io/{tenant}" in output
