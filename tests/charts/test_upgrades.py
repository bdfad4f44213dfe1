"""An upgrade to a new chart version changes no immutable field."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from combinations import APPLICATION_CASES, EXAMPLES, POOL, TIERS, Case, Values, installed, merge, tier_case
from manifests import Release, full_name

PINNED: Values = {"appDefaults": {"image": {"tag": "0.1"}}}
TENANTS = [tier_case(f"tenant-{tier}", tier, tenant, POOL, PINNED) for tier, tenant in TIERS.items()]


def next_version(case: Case, directory: Path) -> Case:
    """The same release at the next version of chart and services."""
    chart = shutil.copytree(case.chart, directory / case.chart.name)
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "version": "9.9.9", "appVersion": "9.9.9"}))
    return replace(case, chart=chart)


def immutable_fields(release: Release) -> dict[str, Any]:
    """Fields that an API server refuses to change, and the selectors of Services."""
    deployments = {full_name(o): o["spec"]["selector"] for o in release.of("Deployment")}
    services = {full_name(o): o["spec"]["selector"] for o in release.of("Service")}
    return {**deployments, **services}


@pytest.mark.parametrize("case", [*TENANTS, *EXAMPLES, *APPLICATION_CASES], ids=str)
def test_a_new_version_keeps_selectors(case: Case, tmp_path: Path) -> None:
    before, after = installed(case), installed(next_version(case, tmp_path))
    assert immutable_fields(after) == immutable_fields(before)
    assert {full_name(o) for o in after.objects} == {full_name(o) for o in before.objects}
    labels = [o["metadata"]["labels"]["helm.sh/chart"] for o in after.objects]
    assert all(label.endswith("-9.9.9") for label in labels), "the old chart was rendered, not its copy"


@pytest.mark.parametrize("case", TENANTS, ids=str)
def test_a_new_chart_alone_restarts_no_pod(case: Case, tmp_path: Path) -> None:
    before, after = installed(case), installed(next_version(case, tmp_path))
    for deployment in before.of("Deployment"):
        upgraded = after.find("Deployment", deployment["metadata"]["name"])
        assert upgraded["spec"]["template"] == deployment["spec"]["template"]


@pytest.mark.parametrize("case", TENANTS, ids=str)
def test_other_values_keep_selectors(case: Case) -> None:
    changes: Values = {
        "tier": "premium",
        "commonLabels": {"cost-center": "saas"},
        "appDefaults": {
            "image": {"tag": "0.2"},
            "podLabels": {"a": "b"},
            "replicaCount": 5,
            "service": {"annotations": {"a": "b"}},
            "serviceAccount": {"name": "another"},
        },
        "routing": {"type": "traefik"},
        "networkPolicy": {"enabled": False},
    }
    changed = replace(case, values_json=json.dumps(merge(case.values, changes)))
    assert immutable_fields(installed(changed)) == immutable_fields(installed(case))
