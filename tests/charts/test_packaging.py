"""Parts of a chart beside its templates: metadata, examples, the table of values, the package."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import helm_python
import pytest
import yaml

from combinations import APPLICATION_CASES, EXAMPLES, installed
from engine import APPLICATION_CHART, CHARTS, HELM, KUBERNETES, TENANT_CHART, load, render, sdk_render
from manifests import parse
from schemas import key_of

both_charts = pytest.mark.parametrize("chart", [TENANT_CHART, APPLICATION_CHART], ids=lambda chart: chart.name)


def test_the_copies_of_the_values_are_up_to_date() -> None:
    command = [sys.executable, str(CHARTS / "values_table.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@both_charts
def test_the_chart_requires_the_oldest_kubernetes_it_is_tested_on(chart: Path) -> None:
    assert load(chart).metadata["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


def test_there_is_an_example_of_each_tier() -> None:
    names = {case.id.removeprefix("helm-tenant-chart-").removesuffix("-values.yaml") for case in EXAMPLES}
    assert names >= {"premium", "advanced", "basic", "pool", "homelab"}
    assert APPLICATION_CASES


def test_the_values_of_the_walk_through_render() -> None:
    values = yaml.safe_load((CHARTS / "test-values.yaml").read_text())
    stream = render(TENANT_CHART, values, "example-tenant", "example-tenant", KUBERNETES[0])
    assert {o["kind"] for o in parse(stream)} >= {"Deployment", "Service", "Ingress"}


@both_charts
def test_the_schema_covers_every_default(chart: Path) -> None:
    """Helm would not check a key without a schema."""
    values, schema = load(chart).values, load(chart).schema
    assert schema is not None
    assert schema["additionalProperties"] is False
    # For parent charts; a default of `enabled` would always win over a parent's tags.
    assert values.keys() | {"enabled", "tags", "exports"} == schema["properties"].keys()


@both_charts
def test_the_package_holds_the_chart_without_its_test_values(chart: Path, tmp_path: Path) -> None:
    package = helm_python.package(chart, destination=tmp_path)
    with tarfile.open(package) as archive:
        names = {Path(name).relative_to(chart.name).as_posix() for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "templates/NOTES.txt"} <= names
    assert not [name for name in names if name.startswith("ci/")], "the package holds the test values of ci/"


@pytest.mark.skipif(HELM is None, reason="no helm on the PATH to compare the SDK with")
def test_helm_and_its_sdk_render_the_same() -> None:
    for case in EXAMPLES:
        ours = parse(sdk_render(case.chart, case.values, case.name, case.namespace, KUBERNETES[-1]))
        assert sorted(map(key_of, ours)) == sorted(map(key_of, installed(case).objects))
