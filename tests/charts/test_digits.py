"""A name without quotes can be a number, a truth value or a date to YAML. The charts refuse it, or render it as is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from engine import APPLICATION_CHART, ROOT, TENANT_CHART, load
from manifests import Manifest, walk
from test_null import APPLICATION_BASES, TENANT_BASES, outcome

Steps = tuple[Any, ...]

NUMBERS = (83, 0o12345671234, 123456789012345678901234, 1e22, 1.5, True, False)
"""The values that YAML reads from 0123, an account with a leading zero, a long number, 1e22, 1.50, on and n."""

STRINGS = ("0123", "1e3", "true", "null", "2024-01-01", "a: b #'\"{")

both_charts = pytest.mark.parametrize("chart", [TENANT_CHART, APPLICATION_CHART], ids=lambda chart: chart.name)

ARE_NUMBERS = re.compile(
    r".*(resources/(limits|requests)|hard|default|defaultRequest|max|min|maxLimitRequestRatio)/\*"
    r"|.*/(maxUnavailable|divisor|tolerance)|.*(networkPolicy/extra(In|E)gress/0|)/ports/0/port|(probes|metrics)/port"
    r"|infra/vars/\*|networkPolicy/enabled"
)
"""Quantities, ports, shares and variables of another module may be numbers or strings; one switch also takes `auto`."""


def leaves(schema: dict[str, Any], at: Any, steps: Steps = (), seen: Steps = ()) -> Iterator[Steps]:
    """Yields the paths of all values that a schema describes; `*` and 0 stand for any key and any index."""
    if "$ref" in at:
        name = at["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from leaves(schema, schema["definitions"][name], steps, (*seen, name))
        return
    inner = [(name, value) for name, value in at.get("properties", {}).items()]
    inner += [(step, at[word]) for word, step in (("additionalProperties", "*"), ("items", 0)) if at.get(word)]
    parts = [at[word] for word in ("then", "else") if word in at] + at.get("allOf", [])
    for step, value in inner:
        yield from leaves(schema, value, (*steps, step), seen)
    for part in parts:
        yield from leaves(schema, part, steps, seen)
    if not inner and not parts:
        yield steps


def document(steps: Steps, leaf: Any) -> Any:
    value = leaf
    for step in reversed(steps):
        value = [value] if step == 0 else {"a" if step == "*" else step: value}
    return value


def schema_of(chart: Path) -> dict[str, Any]:
    return json.loads((chart / "values.schema.json").read_text())


def errors_at(validator: Any, steps: Steps, leaf: Any) -> list[str]:
    """The schema's complaints about one value, without those about its neighbors."""
    path = ["a" if step == "*" else step for step in steps]
    return [e.message for e in validator.iter_errors(document(steps, leaf)) if list(e.absolute_path) == path]


@both_charts
def test_no_name_may_be_a_number_or_a_truth_value(chart: Path) -> None:
    """Every value that takes a text takes nothing else, and says so: quotes, or the words to choose from."""
    schema = schema_of(chart)
    validator = Draft7Validator(schema)
    described = {k: v for k, v in schema["properties"].items() if k not in ("enabled", "tags", "exports")}
    paths = set(leaves(schema, {"properties": described}))
    texts = 0
    for steps in sorted(paths, key=str):
        takes_text = any(not errors_at(validator, steps, text) for text in SAMPLES)
        if not takes_text or ARE_NUMBERS.fullmatch("/".join(map(str, steps))):
            continue
        texts += 1
        for number in NUMBERS:
            messages = " ".join(errors_at(validator, steps, number))
            assert "in quotes" in messages or "is not one of" in messages, f"{steps}: {number!r}: {messages or 'taken'}"
    assert texts > 80


SAMPLES = (
    "",
    "a",
    "1m",
    "a/b",
    "/",
    "/a",
    "A",
    "Prefix",
    "Always",
    "10.0.0.0/8",
    "TCP",
    "Exists",
    "NoSchedule",
    "basic",
    "auto",
)
SAMPLES += (
    "ClusterIP",
    "none",
    "alb",
    "aws",
    "json",
    "keda",
    "authorization",
    "internal",
    "GitRepository",
    "Container",
    "In",
)
SAMPLES += (
    "ScheduleAnyway",
    "OnRootMismatch",
    "Merge",
    "RuntimeDefault",
    "http",
    "sha256:" + "0" * 64,
    "a.example.com",
)


def replaced(values: Any, steps: Steps, leaf: Any) -> Any:
    changed = deepcopy(values)
    inner = changed
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = leaf
    return changed


def strings(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from strings(inner, (*steps, key))
    if isinstance(value, str):
        yield steps


def merged(defaults: Any, values: Any) -> Any:
    if isinstance(defaults, dict) and isinstance(values, dict):
        return {
            k: merged(defaults.get(k), values.get(k))
            if k in values and k in defaults
            else values.get(k, defaults.get(k))
            for k in {**defaults, **values}
        }
    return values


def cases() -> Iterator[tuple[Path, str, Steps]]:
    for chart, bases in ((TENANT_CHART, TENANT_BASES), (APPLICATION_CHART, APPLICATION_BASES)):
        for base, values in bases.items():
            if base in ("alb", "full"):
                for steps in strings(merged(load(chart).values, values)):
                    yield chart, base, steps


@pytest.mark.parametrize(
    ("chart", "base", "steps"),
    list(cases()),
    ids=lambda x: ".".join(map(str, x)) if isinstance(x, tuple) else getattr(x, "name", x),
)
def test_a_text_is_rendered_as_written_or_refused(chart: Path, base: str, steps: Steps) -> None:
    values = merged(load(chart).values, (TENANT_BASES if chart == TENANT_CHART else APPLICATION_BASES)[base])
    before = outcome(chart, values)
    assert not isinstance(before, str), before
    for text in STRINGS:
        found = outcome(chart, replaced(values, steps, text))
        if not isinstance(found, str):
            assert not misread(found), (text, misread(found))
            assert found == before or any(text in leaf for o in found for leaf in texts_of(o)), text


def misread(objects: list[Manifest]) -> list[str]:
    """Paths of values that are not text although Kubernetes wants text."""
    names = re.compile(
        r".*\.(name|namespace|image|value|path|host|schedule|type|className|secretName|cidr|interval|key)"
        r"|metadata\.(labels|annotations)\..*|.*\.matchLabels\..*|data\..*"
    )
    found = []
    for o in objects:
        for path, value in walk(o):
            if (
                names.fullmatch(path)
                and not isinstance(value, (str, dict, list))
                and "vars[" not in path
                and ".policies[" not in path
            ):
                found.append(f"{o['kind']}: {path} is {value!r}")
    return found


def texts_of(manifest: Manifest) -> list[str]:
    return [value for _, value in walk(manifest) if isinstance(value, str)]


def affinity(key: str) -> Any:
    terms = [{"labelSelector": {"matchLabels": {key: "a"}}, "topologyKey": "kubernetes.io/hostname"}]
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


KEYS: list[tuple[Path, Any]] = [
    *((chart, lambda key: {"commonLabels": {key: "a"}}) for chart in (TENANT_CHART, APPLICATION_CHART)),
    (APPLICATION_CHART, lambda key: {"affinity": affinity(key)}),
    (TENANT_CHART, lambda key: {"appDefaults": {"affinity": affinity(key)}}),
    (TENANT_CHART, lambda key: {"apps": {key: {"image": {"repository": "a"}}}}),
    (TENANT_CHART, lambda key: {"infra": {"enabled": True, "vars": {key: "a"}}}),
]
"""Maps of free keys."""


@pytest.mark.parametrize(("chart", "values"), KEYS)
@pytest.mark.parametrize("key", ["8", "0123", "1e3", "true", "false", "null"])
def test_a_key_that_yaml_changed_is_refused(chart: Path, values: Any, key: str) -> None:
    """`on: x` reaches Helm as the key true, and 010 as the key 8."""
    base = (TENANT_BASES if chart == TENANT_CHART else APPLICATION_BASES)["gateway"]
    assert "a name other than a number, true, false and null" in outcome(chart, {**base, **values(key)})
    assert not isinstance(outcome(chart, {**base, **values("name")}), str)


def test_every_text_of_the_module_is_a_text_in_infra_vars() -> None:
    """A number there would become a text of other digits in Terraform."""
    module = (ROOT / "terraform" / "modules" / "tenant-apps" / "variables.tf").read_text()
    variables = dict(re.findall(r'variable "(\w+)" \{.*?\n  type\s+= (.*?)\n', module, re.DOTALL))
    set_by_the_chart = {"tenant_id", "tier", "pool_id"}
    assert "cluster_name" in variables
    for name, kind in variables.items():
        if "string" not in kind or name in set_by_the_chart or name == "retain":
            continue
        bad: Any = 83 if kind == "string" else [83] if kind.startswith("list") else {"a": 83}
        values = {"tenantId": "tenant-1", "infra": {"enabled": True, "vars": {name: bad}}}
        assert "a string; put it in quotes" in outcome(TENANT_CHART, values), name


@pytest.mark.parametrize("value", [0o12345671234, 123456789012, {"account": 1234567890}, [{"a": [1234567890]}]])
def test_an_account_without_quotes_is_refused_in_a_variable_of_another_module(value: Any) -> None:
    values = {"tenantId": "tenant-1", "infra": {"enabled": True, "vars": {"mine": value}}}
    assert "put longer ones, such as an account, in quotes" in outcome(TENANT_CHART, values)


@pytest.mark.parametrize("value", [1.3, 0.5, -1.5, 1e-3, {"a": 1.3}, [{"a": [1.3]}]])
def test_a_number_with_a_point_is_refused_in_a_variable_of_another_module(value: Any) -> None:
    """`1.30` reaches Helm as 1.3."""
    values = {"tenantId": "tenant-1", "infra": {"enabled": True, "vars": {"mine": value}}}
    assert "put any other number, such as the version 1.30, in quotes" in outcome(TENANT_CHART, values)


@pytest.mark.parametrize("value", [0, -7, 999999999, "1.30", "0123", True, {"123456789012": 5}, [1, "1.30"]])
def test_a_variable_of_another_module_is_rendered_as_written(value: Any) -> None:
    found = outcome(TENANT_CHART, {"tenantId": "tenant-1", "infra": {"enabled": True, "vars": {"mine": value}}})
    (terraform,) = (o for o in found if o["kind"] == "Terraform")
    assert {v["name"]: v["value"] for v in terraform["spec"]["vars"]}["mine"] == value


@pytest.mark.parametrize("key", ["true", "false", "null"])
def test_a_key_that_yaml_changed_is_refused_inside_a_variable(key: str) -> None:
    values = {"tenantId": "tenant-1", "infra": {"enabled": True, "vars": {"mine": [{"a": {key: 1}}]}}}
    assert "a name other than true, false and null" in outcome(TENANT_CHART, values)
