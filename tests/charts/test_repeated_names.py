"""A name twice in a list that Kubernetes keys by name, and an image's reference inside another, are refused."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from combinations import EVERYTHING, Values, installed, merge
from engine import APPLICATION_CHART, TENANT_CHART
from manifests import Manifest, walk
from test_digits import Steps, replaced
from test_null import outcome

KEYS = {
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "containers": ("name",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "hostAliases": ("ip",),
}
"""Keys by which server-side apply tells the entries of a pod's lists apart (`x-kubernetes-list-map-keys`)."""


def repeated(objects: list[Manifest] | tuple[Manifest, ...]) -> list[str]:
    """The entries that the API server refuses, or of which it keeps one."""
    found = []
    for o in objects:
        for path, value in walk(o):
            name = path.rsplit(".", 1)[-1]
            if not isinstance(value, list) or not value:
                continue
            if name == "hostnames":
                found += [f"{o['kind']}: {path}: {host}" for host in set(value) if value.count(host) > 1]
            if not all(isinstance(entry, dict) for entry in value):
                continue
            keys = KEYS.get(name)
            if name == "ports" and "containerPort" not in value[0]:
                keys = ("port", "protocol") if o["kind"] == "Service" else None
            if name == "parentRefs":
                keys = ("group", "kind", "namespace", "name", "sectionName", "port")
            if name == "limits" and o["kind"] == "LimitRange":
                keys = ("type",)
            if name == "sysctls":
                keys = ("name",)
            if name == "rules" and o["kind"] == "Ingress":
                value = [
                    {"host": rule.get("host"), "path": p["path"], "pathType": p["pathType"]}
                    for rule in value
                    for p in rule["http"]["paths"]
                ]
                keys = ("host", "path", "pathType")
            if keys:
                entries = [tuple(entry.get(key) for key in keys) for entry in value]
                found += [f"{o['kind']}: {path}: {entry}" for entry in set(entries) if entries.count(entry) > 1]
    return found


@pytest.mark.parametrize("case", EVERYTHING, ids=str)
def test_no_list_repeats_a_name(case: Any) -> None:
    assert repeated(installed(case).objects) == []


TENANT: Values = {
    "tenantId": "tenant-1",
    "global": {"imagePullSecrets": ["a", {"name": "b"}], "tolerations": [{"key": "a", "operator": "Exists"}]},
    "appDefaults": {
        "extraEnv": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "imagePullSecrets": [{"name": "c"}],
        "tolerations": [{"key": "b", "operator": "Exists"}],
        "podSecurityContext": {"supplementalGroups": [1], "sysctls": [{"name": "net.a", "value": "1"}]},
        "securityContext": {"capabilities": {"drop": ["ALL"]}},
        "ingress": {"tls": [{"hosts": ["a.example.com"]}]},
    },
    "apps": {"consumer": {"extraEnv": [{"name": "C", "value": "1"}]}},
    "routing": {
        "type": "gateway",
        "hostnames": ["a.example.com"],
        "gateway": {"parentRefs": [{"name": "a", "namespace": "b", "sectionName": "https", "port": 443}]},
        "traefik": {"entryPoints": ["a"], "middlewares": [{"name": "a"}]},
    },
    "auth": {
        "type": "jwt",
        "issuer": "i",
        "audiences": ["a"],
        "jwks": "https://issuer.example.com/jwks.json",
    },
    "networkPolicy": {
        "clients": [{"podSelector": {}}],
        "proxyNamespaces": ["a"],
        "extraIngress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8080}]}],
        "extraEgress": [{"to": [{"podSelector": {}}], "ports": [{"port": 8080}]}],
    },
    "limitRange": {"enabled": True},
    "infra": {"enabled": True, "retain": ["consumer"], "runnerEnv": [{"name": "A", "value": "b"}]},
}
APPLICATION: Values = merge(
    yaml.safe_load((APPLICATION_CHART / "ci" / "full-values.yaml").read_text()),
    {
        "global": TENANT["global"],
        "imagePullSecrets": [{"name": "c"}],
        "writablePaths": ["/tmp", "/var/cache"],
        "command": ["a"],
        "args": ["a"],
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}], "hostnames": ["a.example.com"]},
        "podSecurityContext": {"sysctls": [{"name": "net.a", "value": "1"}]},
        "tolerations": [{"key": "b", "operator": "Exists"}],
    },
)


def entries(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(value, list):
            yield (*steps, key)
        yield from entries(inner, (*steps, key))


def with_defaults(chart: Path, values: Values) -> Values:
    return merge(yaml.safe_load((chart / "values.yaml").read_text()), values)


DOUBLED = [
    (chart, values, steps)
    for chart, plain in ((TENANT_CHART, TENANT), (APPLICATION_CHART, APPLICATION))
    for values in [with_defaults(chart, plain)]
    for steps in entries(values)
]


@pytest.mark.parametrize(
    ("chart", "values", "steps"),
    DOUBLED,
    ids=lambda x: ".".join(map(str, x)) if isinstance(x, tuple) else getattr(x, "name", ""),
)
def test_an_entry_twice_is_refused_or_makes_no_name_twice(chart: Path, values: Values, steps: Steps) -> None:
    assert not isinstance(outcome(chart, values), str)
    inner: Any = values
    for step in steps[:-1]:
        inner = inner[step]
    found = outcome(chart, replaced(values, steps[:-1], [*deepcopy(inner), inner[steps[-1]]]))
    if not isinstance(found, str):
        assert repeated(found) == []


def gateways(*parents: Values) -> Values:
    return {"routing": {"type": "gateway", "gateway": {"parentRefs": list(parents)}}}


REPEATED: dict[str, tuple[Path, Values, str]] = {
    "a variable of an app": (
        TENANT_CHART,
        {"apps": {"producer": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}},
        'apps.producer.extraEnv names "A" twice: remove one of the two entries',
    ),
    "a variable of every app": (
        TENANT_CHART,
        {"appDefaults": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "1"}]}},
        'extraEnv names "A" twice',
    ),
    "a variable of the runner": (
        TENANT_CHART,
        {"infra": {"runnerEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        'infra.runnerEnv names "A" twice',
    ),
    "a limit": (
        TENANT_CHART,
        {"limitRange": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}},
        'limitRange.limits names "Pod" twice',
    ),
    "a host": (
        TENANT_CHART,
        {"routing": {"hostnames": ["a.example.com", "a.example.com"]}},
        'routing.hostnames names "a.example.com" twice',
    ),
    "a variable of the application": (
        APPLICATION_CHART,
        {"env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]},
        'env names "A" twice',
    ),
    "a host of the application's route": (
        APPLICATION_CHART,
        {"httpRoute": {"hostnames": ["a.example.com", "b.example.com", "a.example.com"]}},
        'httpRoute.hostnames names "a.example.com" twice',
    ),
    "a path of one host": (
        APPLICATION_CHART,
        {"ingress": {"hosts": [{"host": "a.example.com", "paths": [{"path": "/"}, {"path": "/"}]}]}},
        'ingress.hosts names "a.example.com/ (ImplementationSpecific)" twice',
    ),
    "a path of a host in two entries": (
        APPLICATION_CHART,
        {"ingress": {"hosts": [{"paths": [{"path": "/a", "pathType": "Exact"}]}] * 2}},
        'ingress.hosts names "*/a (Exact)" twice',
    ),
    "a Gateway of the application's route": (
        APPLICATION_CHART,
        {"httpRoute": {"parentRefs": [{"name": "a", "namespace": "b"}, {"name": "a", "namespace": "b"}]}},
        'httpRoute.parentRefs names "Gateway a in b" twice',
    ),
    "a Gateway": (
        TENANT_CHART,
        gateways(
            {"name": "a", "sectionName": "https", "port": 443}, {"name": "a", "sectionName": "https", "port": 443}
        ),
        'routing.gateway.parentRefs names "Gateway a, section https, port 443" twice',
    ),
    "a Gateway, once with its defaults": (
        TENANT_CHART,
        gateways(
            {"name": "a"}, {"name": "a", "kind": "Gateway", "group": "gateway.networking.k8s.io", "namespace": ""}
        ),
        'routing.gateway.parentRefs names "Gateway a" twice',
    ),
    "a Gateway as a whole and a section of it": (
        TENANT_CHART,
        gateways({"name": "a", "sectionName": "https"}, {"name": "b"}, {"name": "a"}),
        'routing.gateway.parentRefs names "Gateway a" with and without sectionName',
    ),
    "the root": (APPLICATION_CHART, {"writablePaths": ["/tmp/.."]}, 'writablePaths names "/tmp/..", which is the root'),
    "a folder with a colon": (APPLICATION_CHART, {"writablePaths": ["/a:b"]}, "other than /, without a colon"),
    "a folder": (APPLICATION_CHART, {"writablePaths": ["/tmp", "/tmp/"]}, 'writablePaths names "/tmp" twice'),
    "a port": (
        APPLICATION_CHART,
        {"containerPort": 8080, "metrics": {"port": 8080}},
        "metrics.port is 8080, the container's port",
    ),
    "the Service's port": (APPLICATION_CHART, {"metrics": {"port": 80}}, "metrics.port is 80, the container's port"),
}
PLAIN: dict[Path, Values] = {
    TENANT_CHART: {"tenantId": "tenant-1"},
    APPLICATION_CHART: {"image": {"repository": "a", "tag": "1"}},
}


@pytest.mark.parametrize("what", REPEATED)
def test_a_name_twice_is_refused_with_its_path(what: str) -> None:
    chart, values, words = REPEATED[what]
    assert words in outcome(chart, merge(PLAIN[chart], values))


PARENTS: dict[str, list[Values]] = {
    "two kinds": [{"name": "a", "kind": "Gateway"}, {"name": "a", "kind": "ListenerSet"}],
    "two kinds, one by default": [{"name": "a"}, {"name": "a", "kind": "ListenerSet", "sectionName": "https"}],
    "two groups": [{"name": "a", "kind": "Service"}, {"name": "a", "kind": "Service", "group": ""}],
    "two namespaces": [{"name": "a"}, {"name": "a", "namespace": "b"}],
    "two sections": [{"name": "a", "sectionName": "b"}, {"name": "a", "sectionName": "c"}],
    "two ports": [{"name": "a", "port": 80}, {"name": "a", "port": 443}],
}


@pytest.mark.parametrize("parents", PARENTS.values(), ids=PARENTS)
def test_parents_that_differ_are_rendered(parents: list[Values]) -> None:
    on_application = {"httpRoute": {"enabled": True, "parentRefs": parents}}
    for chart, values in ((TENANT_CHART, gateways(*parents)), (APPLICATION_CHART, on_application)):
        found = outcome(chart, merge(PLAIN[chart], values))
        assert not isinstance(found, str), found
        routes = [o["spec"]["parentRefs"] for o in found if o["kind"] == "HTTPRoute"]
        assert routes
        assert all(route == parents for route in routes)


def test_one_path_may_match_exactly_and_as_a_prefix() -> None:
    paths = [{"path": "/", "pathType": kind} for kind in ("Exact", "Prefix")]
    hosts = [{"host": host, "paths": paths} for host in ("a.example.com", "b.example.com")]
    values = merge(PLAIN[APPLICATION_CHART], {"ingress": {"enabled": True, "hosts": hosts}})
    (ingress,) = (o for o in outcome(APPLICATION_CHART, values) if o["kind"] == "Ingress")
    assert [len(rule["http"]["paths"]) for rule in ingress["spec"]["rules"]] == [2, 2]


# Images

REPOSITORIES = {
    "producer": True,
    "team/producer": True,
    "team__a/b.c-d/producer": True,
    "harbor.example.com/tenantry/producer": True,
    "localhost/producer": True,
    "localhost:5000/producer": True,
    "registry:5000/producer": True,
    "10.0.0.1:5000/producer": True,
    "[fd00::1]:5000/producer": True,
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/producer": True,
    "producer:0.1": False,
    "harbor.example.com/producer:latest": False,
    "harbor.example.com:5000/producer:0.1": False,
    "registry:5000": False,
    f"producer@sha256:{'0' * 64}": False,
    f"harbor.example.com/producer:1@sha256:{'0' * 64}": False,
    "https://harbor.example.com/producer": False,
    "oci://harbor.example.com/producer": False,
    "docker://producer": False,
    "Producer": False,
    "harbor.example.com/Tenantry/producer": False,
    "harbor.example.com/producer/": False,
    "/producer": False,
    "a//b": False,
    "a b": False,
    " producer": False,
    "producer\n": False,
    "-producer": False,
    "../producer": False,
}
REGISTRIES = {
    "harbor.example.com": True,
    "harbor.example.com:8443/tenantry/team": True,
    "localhost:5000": True,
    "localhost": True,
    "registry": True,
    "https://harbor.example.com": False,
    "oci://harbor.example.com": False,
    "harbor.example.com/": False,
    "Harbor.example.com": False,
    "harbor.example.com/Tenantry": False,
    "harbor.example.com/tenantry:0.1": False,
    "harbor.example.com:port": False,
    "harbor.example.com//tenantry": False,
}
TAGS = {
    "0.1": True,
    "v1_2-3.4": True,
    "latest": True,
    "": True,
    "a:b": False,
    "a@b": False,
    "-a": False,
    ".a": False,
    "a/b": False,
}
IMAGES = {
    TENANT_CHART: [("appDefaults", "image"), ("apps", "producer", "image"), ("tests", "image")],
    APPLICATION_CHART: [("image",), ("tests", "image")],
}
PARTS = {
    "repository": (REPOSITORIES, "neither scheme, tag nor digest"),
    "registry": (REGISTRIES, "neither scheme nor / at its end"),
    "tag": (TAGS, "a tag: up to 128"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("chart", "path"),
    [
        pytest.param(chart, path, id=f"{chart.name}-{'.'.join(path)}")
        for chart, paths in IMAGES.items()
        for path in paths
    ],
)
def test_the_parts_of_an_image_make_one_reference(chart: Path, path: Steps, part: str) -> None:
    texts, words = PARTS[part]
    for text, is_right in texts.items():
        image: Values = {part: text}
        values: Values = image
        for step in reversed(path):
            values = {step: values}
        found = outcome(chart, merge(PLAIN[chart], values))
        if is_right:
            assert not isinstance(found, str), (text, found)
            images = [value for o in found for where, value in walk(o) if where.endswith(".image")]
            assert images
            assert all(reference.count(":") - reference.count("[fd00::1]") * 3 <= 2 for reference in images)
        else:
            assert words in found, (text, found)


@pytest.mark.parametrize("registry", [text for text, is_right in REGISTRIES.items() if not is_right])
@pytest.mark.parametrize("chart", IMAGES, ids=lambda chart: chart.name)
def test_a_global_registry_is_a_host_too(chart: Path, registry: str) -> None:
    found = outcome(chart, merge(PLAIN[chart], {"global": {"imageRegistry": registry}}))
    assert "neither scheme nor / at its end" in found
