"""Both charts are dependencies of a parent chart: with a condition, tags, an alias, globals and imported values."""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from combinations import APPS, EXAMPLES, Values
from engine import APPLICATION_CHART, CHARTS, KUBERNETES, TENANT_CHART, RenderError, render
from manifests import Manifest, full_name, parse

TENANT: Values = {"tenantId": "tenant-1"}
APPLICATION: Values = {"image": {"repository": "onboarding-service", "tag": "0.1"}}
PLAIN = {TENANT_CHART: TENANT, APPLICATION_CHART: APPLICATION}

both_charts = pytest.mark.parametrize("chart", PLAIN, ids=lambda chart: chart.name)


def parent_of(folder: Path, *dependencies: dict[str, Any], templates: dict[str, str] | None = None) -> Path:
    """Writes a parent chart in a folder; a dependency has at least the name of one of our charts."""
    chart = folder / "parent"
    for dependency in dependencies:
        source = CHARTS / dependency["name"]
        version = yaml.safe_load((source / "Chart.yaml").read_text())["version"]
        dependency.update(version=version, repository=f"file://{source}")
        if not (chart / "charts" / source.name).exists():
            shutil.copytree(source, chart / "charts" / source.name)
    (chart / "templates").mkdir()
    metadata = {"apiVersion": "v2", "name": "parent", "version": "0.1.0", "dependencies": list(dependencies)}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata))
    (chart / "values.yaml").write_text("{}\n")
    for file, text in (templates or {}).items():
        (chart / "templates" / file).write_text(text)
    return chart


def config_map(data: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shown}}\ndata: {{{data}}}\n"


def objects(chart: Path, values: Values, name: str = "release") -> list[Manifest]:
    return parse(render(chart, values, name, "tenant-1", KUBERNETES[-1]))


@both_charts
def test_a_parent_chart_renders_what_the_chart_alone_renders(chart: Path, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": chart.name})
    assert objects(parent, {chart.name: PLAIN[chart]}) == objects(chart, PLAIN[chart])


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_an_example_renders_in_a_parent_chart(case: Any, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": case.chart.name})
    assert objects(parent, {case.chart.name: case.values}) == objects(case.chart, case.values)


@both_charts
def test_a_condition_turns_the_chart_on_and_off(chart: Path, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": chart.name, "alias": "tenant", "condition": "tenant.enabled"})
    on = objects(parent, {"tenant": {**PLAIN[chart], "enabled": True}})
    assert on
    assert (
        on
        == objects(parent, {"tenant": PLAIN[chart]})
        == objects(parent, {"tenant": {**PLAIN[chart], "enabled": None}})
    )
    assert objects(parent, {"tenant": {"enabled": False}}) == []


@both_charts
def test_a_condition_uses_enabled_or_a_key_of_the_parents_own(chart: Path, tmp_path: Path) -> None:
    """The schema cannot tell any other key from a misspelled one, and README.md says so."""
    assert "A condition must use the key `enabled`" in (chart / "README.md").read_text()
    outside, inside = (tmp_path / folder for folder in ("outside", "inside"))
    outside.mkdir()
    inside.mkdir()
    parent = parent_of(outside, {"name": chart.name, "alias": "tenant", "condition": "install.tenant"})
    assert objects(parent, {"tenant": PLAIN[chart], "install": {"tenant": True}})
    assert objects(parent, {"tenant": PLAIN[chart], "install": {"tenant": False}}) == []
    parent = parent_of(inside, {"name": chart.name, "alias": "tenant", "condition": "tenant.install"})
    with pytest.raises(RenderError, match="additional properties 'install' not allowed"):
        objects(parent, {"tenant": {**PLAIN[chart], "install": True}})


@both_charts
def test_tags_turn_the_chart_on_and_off(chart: Path, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": chart.name, "tags": ["tenants"]})
    values = {chart.name: {**PLAIN[chart], "tags": {"tenants": True}}}
    assert objects(parent, {**values, "tags": {"tenants": True}})
    assert objects(parent, {**values, "tags": {"tenants": False}}) == []


@both_charts
def test_a_condition_in_quotes_is_refused_because_helm_would_ignore_it(chart: Path, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": chart.name, "condition": f"{chart.name}.enabled"})
    with pytest.raises(RenderError, match="true or false, without quotes"):
        objects(parent, {chart.name: {**PLAIN[chart], "enabled": "false"}})


@both_charts
def test_enabled_is_refused_where_nothing_reads_it(chart: Path) -> None:
    for on in (True, None):
        assert objects(chart, {**PLAIN[chart], "enabled": on}) == objects(chart, PLAIN[chart])
    with pytest.raises(RenderError, match="enabled is false, and only a parent chart"):
        objects(chart, {**PLAIN[chart], "enabled": False})


def names(found: list[Manifest]) -> set[tuple[str, str]]:
    distinct = {(o["metadata"].get("namespace", ""), full_name(o)) for o in found}
    assert len(distinct) == len(found), "two objects have one name"
    return distinct


def test_two_tenants_under_two_aliases_are_two_tenants(tmp_path: Path) -> None:
    both = [{"name": TENANT_CHART.name, "alias": alias} for alias in ("first", "secondTenant")]
    parent = parent_of(tmp_path, *both)
    found = objects(parent, {"first": {"tenantId": "tenant-1"}, "secondTenant": {"tenantId": "tenant-2"}})
    alone = [objects(TENANT_CHART, {"tenantId": tenant}) for tenant in ("tenant-1", "tenant-2")]
    assert names(found) == names(alone[0]) | names(alone[1])
    selectors = [o["spec"]["selector"]["matchLabels"] for o in found if o["kind"] == "Deployment"]
    assert len({tuple(sorted(s.items())) for s in selectors}) == len(selectors) == 4


ALIASES = (
    *("api", "API", "api-", "-api", "workerPool", "workerpool", "worker_pool", "worker-pool", "_", "__", "---"),
    *("worker_pool_2", "w" * 70, "W" * 70, "w" * 71),
)
"""Aliases that Helm accepts. Many differ only in case, in `_` and `-`, or beyond the length of a label."""


@pytest.mark.parametrize("release", ["release", "api", "shop-api-workerpool", "api-worker-pool"])
def test_two_apps_under_two_aliases_never_share_a_name(release: str, tmp_path: Path) -> None:
    """Helm's usual name leaves the chart's name out if the release contains it, and a release may contain both."""
    parent = parent_of(tmp_path, *({"name": APPLICATION_CHART.name, "alias": alias} for alias in ALIASES))
    found = objects(parent, dict.fromkeys(ALIASES, APPLICATION), release)
    names(found)
    deployments = [o for o in found if o["kind"] == "Deployment"]
    assert len(deployments) == len(ALIASES)
    for service in (o for o in found if o["kind"] == "Service"):
        selected = [
            d["metadata"]["name"]
            for d in deployments
            if service["spec"]["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [service["metadata"]["name"]]


def test_a_plain_alias_keeps_its_name(tmp_path: Path) -> None:
    aliases = ("api", "worker-pool", "workerPool")
    parent = parent_of(tmp_path, *({"name": APPLICATION_CHART.name, "alias": alias} for alias in aliases))
    found = {
        o["metadata"]["name"] for o in objects(parent, dict.fromkeys(aliases, APPLICATION)) if o["kind"] == "Service"
    }
    hashed = sha256(b"workerPool").hexdigest()[:8]
    assert found == {"release-api", "release-worker-pool", f"release-workerpool-{hashed}"}
    readme = " ".join((APPLICATION_CHART / "README.md").read_text().split())
    assert f"`workerPool` becomes `workerpool-{hashed}`" in readme


@both_charts
@pytest.mark.parametrize("alias", ["a-", "-a", "_a", "A_", "_", "w" * 70])
def test_any_alias_makes_valid_names_and_labels(chart: Path, alias: str, tmp_path: Path) -> None:
    parent = parent_of(tmp_path, {"name": chart.name, "alias": alias})
    for o in objects(parent, {alias: PLAIN[chart]}):
        label = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
        assert re.fullmatch(label, o["metadata"]["name"]), o["metadata"]["name"]
        for key, value in o["metadata"]["labels"].items():
            assert re.fullmatch(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", value, re.ASCII), (key, value)


def test_both_charts_stand_beside_each_other(tmp_path: Path) -> None:
    parent = parent_of(tmp_path, *({"name": chart.name} for chart in PLAIN))
    found = objects(parent, {chart.name: values for chart, values in PLAIN.items()})
    assert names(found) == names(objects(TENANT_CHART, TENANT)) | names(objects(APPLICATION_CHART, APPLICATION))


@both_charts
def test_globals_of_the_parent_reach_the_chart_and_stay_as_they_are(chart: Path, tmp_path: Path) -> None:
    shown = config_map("globals: {{ toJson .Values.global | quote }}")
    parent = parent_of(tmp_path, {"name": chart.name}, templates={"globals.yaml": shown})
    given = {"imageRegistry": "harbor.example.com", "imagePullSecrets": ["harbor"], "other": {"a": [None], "b": 1}}
    found = objects(parent, {"global": given, chart.name: PLAIN[chart]})
    images = [
        container["image"]
        for o in found
        if o["kind"] == "Deployment"
        for container in o["spec"]["template"]["spec"]["containers"]
    ]
    assert images
    assert all(image.startswith("harbor.example.com/") for image in images)
    (globals_,) = (o for o in found if o["kind"] == "ConfigMap")
    assert yaml.safe_load(globals_["data"]["globals"]) == given


@both_charts
def test_a_parents_helpers_do_not_replace_the_charts(chart: Path, tmp_path: Path) -> None:
    """`helm create tenant` writes tenant.name, tenant.labels and others, and a release has one template of a name."""
    helpers = "".join(
        f'{{{{- define "{prefix}.{name}" -}}}}of the parent{{{{- end -}}}}'
        for prefix in ("tenant", "application")
        for name in ("name", "fullname", "chart", "labels", "selectorLabels", "serviceAccountName", "env", "merge")
    )
    parent = parent_of(tmp_path, {"name": chart.name}, templates={"_helpers.tpl": helpers})
    assert objects(parent, {chart.name: PLAIN[chart]}) == objects(chart, PLAIN[chart])


@both_charts
def test_a_parent_imports_values(chart: Path, tmp_path: Path) -> None:
    """Helm imports a table of the chart, and an export that the parent defines."""
    group = "appDefaults" if chart == TENANT_CHART else "drain"
    imported = [{"child": group, "parent": "imported"}, "shared"]
    shown = config_map("a: {{ toJson .Values.imported | quote }}, b: {{ .Values.kept | quote }}")
    parent = parent_of(tmp_path, {"name": chart.name, "import-values": imported}, templates={"shown.yaml": shown})
    (parent / "values.yaml").write_text(yaml.safe_dump({chart.name: {"exports": {"shared": {"kept": "yes"}}}}))
    found = objects(parent, {chart.name: PLAIN[chart]})
    (shown_map,) = (o for o in found if o["kind"] == "ConfigMap")
    drain = yaml.safe_load(shown_map["data"]["a"]).get("drain") or yaml.safe_load(shown_map["data"]["a"])
    assert "preStopSleepSeconds" in drain
    assert shown_map["data"]["b"] == "yes"
    rest = [o for o in found if o["kind"] != "ConfigMap"]
    assert rest == objects(chart, PLAIN[chart])


def test_null_in_a_parents_own_values_file_leaves_the_default(tmp_path: Path) -> None:
    """Helm drops it there. Null in the values of a release means what it means without a parent chart."""
    parent = parent_of(tmp_path, {"name": TENANT_CHART.name, "alias": "tenant"})
    nulls: Values = {"appDefaults": {"image": None, "resources": None}, "networkPolicy": None}
    (parent / "values.yaml").write_text(yaml.safe_dump({"tenant": {**TENANT, **nulls}}))
    assert names(objects(parent, {})) == names(objects(TENANT_CHART, TENANT))
    found = {full_name(o): o for o in objects(parent, {"tenant": nulls})}
    container = found[f"Deployment/tenant-1-{APPS[0]}"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "producer:0.0.1"
    assert "resources" not in container
    assert "NetworkPolicy/tenant-1-default-deny" in found
