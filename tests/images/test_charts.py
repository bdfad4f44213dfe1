"""The charts as OCI artifacts: a pulled chart equals the pushed chart."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import helm_python
import pytest

from conftest import Registry
from containers import ROOT

CHARTS = ["application-chart", "helm-tenant-chart"]


@pytest.fixture(scope="session")
def pushed(registry: Registry) -> list[str]:
    """Output of the first push, and of a second push."""
    command = [sys.executable, ROOT / "docker" / "push_charts.py", f"oci://{registry.host}/charts", "--plain-http"]
    done = [subprocess.run(command, check=False, capture_output=True, text=True) for _ in range(2)]
    assert [run.returncode for run in done] == [0, 0], [run.stderr for run in done]
    return [run.stdout for run in done]


@pytest.mark.parametrize("chart", CHARTS)
def test_a_pulled_chart_equals_the_pushed_chart(
    chart: str, pushed: list[str], registry: Registry, tmp_path: Path
) -> None:
    del pushed
    package = Path(helm_python.package(ROOT / "helm-charts" / chart, destination=tmp_path / "package"))
    with helm_python.RegistryClient(plain_http=True) as client:
        remote = f"oci://{registry.host}/charts/{chart}"
        helm_python.pull(remote, client=client, destination=tmp_path, plain_http=True)
    assert contents(tmp_path / package.name) == contents(package)


def test_a_published_version_is_not_replaced(pushed: list[str]) -> None:
    first, second = (output.splitlines() for output in pushed)
    assert [line.split()[0] for line in first] == CHARTS
    assert all(re.search(r" pushed as sha256:[0-9a-f]{64}$", line) for line in first)
    assert all(line.endswith(" is published already") for line in second)


def contents(package: Path) -> dict[str, bytes]:
    with tarfile.open(package) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}
