"""`null` at every key of the values: the chart renders what README.md says `null` means, or refuses it with a sentence.

The cases are generated from values.yaml, so that a new key is covered. The same holds for a chart in a parent chart.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from combinations import GUARDS, IDENTITIES, KEDA, MONITORING, POOL, QUEUE_URL, ROUTING, Values, merge
from engine import APPLICATION_CHART, CHARTS, KUBERNETES, TENANT_CHART, RenderError, render
from manifests import parse
from test_subcharts import parent_of

sys.path.insert(0, str(CHARTS))
from values_table import comment_above, is_group

Path_ = tuple[str, ...]

REFUSED = {
    TENANT_CHART: {("tenantId",): "the id of the tenant or the pool, for example tenant-1", ("apps",): "apps is empty"},
    APPLICATION_CHART: {
        ("image",): "image.repository is empty: set it to",
        ("image", "repository"): "image.repository is empty: set it to",
    },
}
"""The keys without a default."""


class Key(NamedTuple):
    path: Path_
    kind: str
    """`group` (the chart's own keys), `list`, `map` (free keys), `nullable` (its comment explains null) or `value`."""


@cache
def keys(chart: Path) -> tuple[Key, ...]:
    text = (chart / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return tuple(keys_of(root, (), text.splitlines()))


def keys_of(node: yaml.MappingNode, prefix: Path_, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        path = (*prefix, key.value)
        if is_group(value, lines):
            yield Key(path, "group")
            yield from keys_of(value, path, lines)
        elif isinstance(value, yaml.SequenceNode):
            yield Key(path, "list")
        elif isinstance(value, yaml.MappingNode):
            yield Key(path, "map")
        elif "`null`:" in comment_above(key, lines):
            yield Key(path, "nullable")
        else:
            yield Key(path, "value")


def keys_of_apps() -> Iterator[Key]:
    """The keys of `appDefaults`, below one app."""
    for key in keys(TENANT_CHART):
        if key.path[0] == "appDefaults" and len(key.path) > 1 and key.path != ("appDefaults", "ingress"):
            yield Key(("apps", "consumer", *key.path[1:]), key.kind)


def default_of(chart: Path, path: Path_) -> Any:
    value = yaml.safe_load((chart / "values.yaml").read_text())
    if path[0] == "apps" and len(path) > 2 and path not in {key.path for key in keys(chart)}:
        path = ("appDefaults", *path[2:])
    for name in path:
        value = value[name]
    return value


def put(values: Values, path: Path_, value: Any) -> Values:
    """Returns a copy of the values with another value at a path."""
    copy = deepcopy(values)
    inner = copy
    for name in path[:-1]:
        if not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[path[-1]] = value
    return copy


def without(values: Values, path: Path_) -> Values:
    copy = deepcopy(values)
    inner: Any = copy
    for name in path[:-1]:
        inner = inner.get(name)
        if not isinstance(inner, dict):
            return copy
    inner.pop(path[-1], None)
    return copy


def meaning(chart: Path, values: Values, key: Key) -> Values:
    """The values without null that mean the same as null at the key."""
    if key.kind == "list":
        return put(values, key.path, [])
    if key.kind == "map":
        return put(values, key.path, dict.fromkeys(default_of(chart, key.path)))
    return without(values, key.path)


PREMIUM: Values = {"tenantId": "tenant-1", "apps": {"payments": {"enabled": True, "ingress": {"enabled": True}}}}
TENANT_BASES: dict[str, Values] = {
    "alb": merge(
        PREMIUM,
        IDENTITIES["irsa"],
        KEDA,
        MONITORING,
        GUARDS,
        {"infra": {"enabled": True}, "apps": {"producer": {"autoscaling": {"enabled": True}}}},
        {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/20"}}]}},
    ),
    "gateway": merge(PREMIUM, IDENTITIES["secret"], ROUTING["gateway"], {"metrics": {"podMonitor": {"enabled": True}}}),
    "traefik": merge(
        PREMIUM,
        ROUTING["traefik"],
        {"apps": {"consumer": {"enabled": False, "envId": POOL}}},
        {
            "auth": {
                "type": "jwt",
                "issuer": "i",
                "audiences": ["a"],
                "jwks": "https://issuer.example.com/jwks.json",
            }
        },
    ),
}
APPLICATION_BASES: dict[str, Values] = {
    "full": yaml.safe_load((APPLICATION_CHART / "ci" / "full-values.yaml").read_text()),
    "gateway": yaml.safe_load((APPLICATION_CHART / "ci" / "gateway-values.yaml").read_text()),
}
CASES = [
    *((TENANT_CHART, base, key) for base in TENANT_BASES for key in keys(TENANT_CHART)),
    *((TENANT_CHART, "alb", key) for key in keys_of_apps()),
    *((APPLICATION_CHART, base, key) for base in APPLICATION_BASES for key in keys(APPLICATION_CHART)),
]


def base_of(chart: Path, base: str) -> Values:
    return (TENANT_BASES if chart == TENANT_CHART else APPLICATION_BASES)[base]


def outcome(chart: Path, values: Values) -> Any:
    """The objects of the values, or the sentence that refuses them."""
    return outcome_of(chart, json.dumps(values, sort_keys=True))


@cache
def outcome_of(chart: Path, values: str) -> Any:
    try:
        return parse(render(chart, json.loads(values), "release", "tenant-1", KUBERNETES[-1]))
    except RenderError as refused:
        return sentence_of(str(refused))


def sentence_of(message: str) -> str:
    """The sentence of the schema or of `fail`; any other message comes from a template that met an unexpected value."""
    if "don't meet the specifications of the schema" in message:
        return message
    found = re.fullmatch(r"execution error at \([^)]*\): (.*)", message, re.DOTALL)
    assert found, message
    return found[1]


def name(case: Any) -> str:
    return ".".join(case.path) if isinstance(case, Key) else getattr(case, "name", str(case))


@pytest.mark.parametrize(("chart", "base", "key"), CASES, ids=name)
def test_null_has_the_meaning_that_the_readme_gives(chart: Path, base: str, key: Key) -> None:
    values = base_of(chart, base)
    found = outcome(chart, put(values, key.path, None))
    if words := REFUSED[chart].get(key.path):
        assert words in found
    elif key.kind == "nullable" or key.path in {("apps", app) for app in ("producer", "consumer", "payments")}:
        assert not isinstance(found, str) or "is true without a target: set" in found
    else:
        expected = outcome(chart, meaning(chart, values, key))
        # If the schema refuses a value, `fail` may refuse its absence with other words.
        assert found == expected or (isinstance(found, str) and isinstance(expected, str))


@pytest.mark.parametrize(("chart", "base", "key"), [case for case in CASES if case[1] in ("alb", "full")], ids=name)
def test_null_has_the_same_meaning_in_a_parent_chart(chart: Path, base: str, key: Key, parents: Any) -> None:
    values = put(base_of(chart, base), key.path, None)
    assert outcome(parents(chart), {chart.name: values}) == outcome(chart, values)


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(lambda chart: parent_of(tmp_path_factory.mktemp("parent"), {"name": chart.name}))


def test_null_below_an_app_means_the_charts_default_and_not_that_of_app_defaults() -> None:
    values = {"tenantId": "tenant-1", "appDefaults": {"replicaCount": 5, "resources": {"limits": {"cpu": 2}}}}
    nulls = {"replicaCount": None, "resources": {"limits": {"cpu": None}}}
    objects = outcome(TENANT_CHART, {**values, "apps": {"producer": nulls}})
    found = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "Deployment"}
    assert {name: spec["replicas"] for name, spec in found.items()} == {"tenant-1-consumer": 5, "tenant-1-producer": 3}
    limits = {n: s["template"]["spec"]["containers"][0]["resources"]["limits"] for n, s in found.items()}
    assert limits == {"tenant-1-consumer": {"cpu": 2, "memory": "128Mi"}, "tenant-1-producer": {"memory": "128Mi"}}


def test_null_for_a_group_of_app_defaults_leaves_what_an_app_says() -> None:
    values = {"tenantId": "tenant-1", "apps": {"producer": {"autoscaling": {"enabled": True}}}}
    assert outcome(TENANT_CHART, {**values, "appDefaults": {"autoscaling": None}}) == outcome(TENANT_CHART, values)


@pytest.mark.parametrize("path", [("appDefaults",), ("apps", "producer")], ids=".".join)
@pytest.mark.parametrize(
    ("context", "key"),
    [
        ("podSecurityContext", "runAsUser"),
        ("podSecurityContext", "seccompProfile"),
        ("securityContext", "readOnlyRootFilesystem"),
    ],
)
def test_null_takes_a_key_of_a_security_context_away(path: Path_, context: str, key: str) -> None:
    values = put({"tenantId": "tenant-1"}, (*path, context), {key: None})
    (deployment,) = (
        o
        for o in outcome(TENANT_CHART, values)
        if o["metadata"]["name"] == "tenant-1-producer" and o["kind"] == "Deployment"
    )
    pod = deployment["spec"]["template"]["spec"]
    found = pod["securityContext"] if context == "podSecurityContext" else pod["containers"][0]["securityContext"]
    assert found
    assert key not in found


def items(value: Any, path: Path_ = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of every value inside a list, and of every entry of one."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from items(inner, (*path, inner_key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield (*path, i)
            yield from ((*path, i, *rest) for rest in inside(inner))


def inside(value: Any) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (key,)
        yield from ((key, *rest) for rest in inside(inner))


def lists() -> Iterator[tuple[Path, Values, tuple[Any, ...]]]:
    for chart in (TENANT_CHART, APPLICATION_CHART):
        for values in [default_of_chart(chart), *examples(chart)]:
            for path in items(values):
                yield chart, values, path


def default_of_chart(chart: Path) -> Values:
    values: Values = yaml.safe_load((chart / "values.yaml").read_text())
    if chart == TENANT_CHART:
        return {**values, "tenantId": "tenant-1"}
    return put(values, ("image", "repository"), "onboarding-service")


def examples(chart: Path) -> list[Values]:
    found = [yaml.safe_load(path.read_text()) for path in sorted((chart / "ci").glob("*.yaml"))]
    if chart == TENANT_CHART:
        found.append({"tenantId": "tenant-1", "appDefaults": {"extraEnv": [{"name": "A", "value": "b"}]}})
        found.append(
            {
                "tenantId": "tenant-1",
                "apps": {"consumer": {"keda": {"enabled": True, "queueUrl": QUEUE_URL}}},
                "networkPolicy": {
                    "extraIngress": [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 1}]}]
                },
            }
        )
    return found


LISTS = list(lists())


@pytest.mark.parametrize(
    ("chart", "values", "path"), LISTS, ids=lambda x: ".".join(map(str, x)) if isinstance(x, tuple) else ""
)
def test_null_in_a_list_is_refused(chart: Path, values: Values, path: tuple[Any, ...]) -> None:
    """There it would leave a key out, and a rule without its peers or ports allows all of them."""
    changed: Any = deepcopy(values)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = None
    assert "null has no meaning in a list" in outcome(chart, changed)
