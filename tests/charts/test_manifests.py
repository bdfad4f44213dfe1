"""The parsers and checkers behind the other tests refuse invalid input."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import Cluster, Request, Unreachable, traefik_matcher, under
from manifests import ManifestError, Release, parse
from schemas import Checker

OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {a: b}\ndata: {a: c}", "'data' is repeated"),
        ("data: {a: b, a: c}", "'a' is repeated"),
        ("data: {a: yes}", "'yes' needs quotes"),
        ("data: {a: 0644}", "'0644' needs quotes"),
        ("data: {a: 1:30}", "'1:30' needs quotes"),
        ("data: {a: 2024-07-12}", "'2024-07-12' needs quotes"),
        ("data: {1: b}", "key 1 is not text"),
        ("data:", "null at data"),
        ("data: {a: [b, null]}", r"null at data.a\[1\]"),
        ("data: [", "while parsing"),
    ],
)
def test_ambiguous_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        parse(f"---\n{OBJECT}{text}\n")


def test_a_stream_is_read_document_by_document() -> None:
    stream = f"---\n# Source: a\n{OBJECT}---\n# Source: empty\n\n---\n{OBJECT}data: {{a: 'yes', b: \"0644\"}}\n"
    assert [o.get("data") for o in parse(stream)] == [None, {"a": "yes", "b": "0644"}]


def manifest(api_version: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, **rest}


CONTAINER = {"name": "a", "image": "a:1"}
WRONG = {
    "unknown field": manifest("v1", "Service", spec={"port": []}),
    "unknown field, deep": manifest("v1", "Pod", spec={"containers": [{**CONTAINER, "prots": []}]}),
    "wrong type": manifest("v1", "Service", spec={"ports": [{"port": True}]}),
    "number for text": manifest("v1", "Pod", spec={"containers": [{**CONTAINER, "env": [{"name": "A", "value": 1}]}]}),
    "missing field": manifest("apps/v1", "Deployment", spec={"selector": {}}),
    "removed version": manifest("autoscaling/v2beta2", "HorizontalPodAutoscaler", spec={}),
    "unknown kind": manifest("v1", "Servic", spec={}),
    "unknown group": manifest("example.com/v1", "Service", spec={}),
    "unknown custom kind": manifest("traefik.io/v1alpha1", "IngressRout", spec={}),
    "HTTPRoute, unknown field": manifest(
        "gateway.networking.k8s.io/v1", "HTTPRoute", spec={"rules": [{"matches": [{"header": []}]}]}
    ),
    "HTTPRoute, wrong value": manifest(
        "gateway.networking.k8s.io/v1", "HTTPRoute", spec={"rules": [{"timeouts": {"request": "5 s"}}]}
    ),
    "IngressRoute, unknown field": manifest(
        "traefik.io/v1alpha1", "IngressRoute", spec={"routes": [{"kind": "Rule", "match": "", "service": []}]}
    ),
    "IngressRoute, wrong value": manifest(
        "traefik.io/v1alpha1", "IngressRoute", spec={"routes": [{"kind": "Role", "match": "Path(`/`)"}]}
    ),
    "ScaledObject, unknown field": manifest(
        "keda.sh/v1alpha1", "ScaledObject", spec={"scaleTargetRef": {"name": "a"}, "triggers": [], "minReplicas": 1}
    ),
    "ServiceMonitor, unknown field": manifest(
        "monitoring.coreos.com/v1", "ServiceMonitor", spec={"selector": {}, "endpoints": [{"ports": "http"}]}
    ),
    "PrometheusRule, wrong value": manifest(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        spec={"groups": [{"name": "a", "rules": [{"alert": "a", "expr": "1", "for": "soon"}]}]},
    ),
    "Terraform, unknown field": manifest(
        "infra.contrib.fluxcd.io/v1alpha2",
        "Terraform",
        spec={"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "a"}, "destroyOnDeletion": True},
    ),
}


@pytest.fixture(scope="module")
def checker() -> Checker:
    checker = Checker()
    checker.prepare(WRONG.values())
    return checker


@pytest.mark.parametrize("case", WRONG)
def test_the_schemas_refuse(case: str, checker: Checker) -> None:
    assert checker.errors(WRONG[case], "1.36")


def test_the_schemas_accept_a_correct_object(checker: Checker) -> None:
    pod = manifest("v1", "Pod", spec={"containers": [CONTAINER]})
    assert checker.errors(pod, "1.30") == []


@pytest.mark.parametrize(
    ("rule", "path", "tenant", "expected"),
    [
        ("PathPrefix(`/a`) && Header(`TenantID`, `t`)", "/a/b", "t", True),
        ("PathPrefix(`/a`) && Header(`TenantID`, `t`)", "/a", "t2", False),
        ("PathPrefix(`/a`) && Header(`TenantID`, `t`)", "/a", None, False),
        ("(Path(`/a`) || PathPrefix(`/a/`)) && !Header(`tenantid`, `t`)", "/ab", "u", False),
        ("(Path(`/a`) || PathPrefix(`/a/`)) && !Header(`tenantid`, `t`)", "/a/b", "u", True),
        ("Path(`/a`) && HeaderRegexp(`TenantID`, `^t.+$`)", "/a", "t1", True),
    ],
)
def test_traefik_rules_match(rule: str, path: str, tenant: str | None, expected: bool) -> None:
    assert traefik_matcher(rule)(Request(path, tenant)) is expected


def test_a_prefix_matches_by_element() -> None:
    assert [under("/a", path) for path in ("/a", "/a/b", "/ab", "/")] == [True, True, False, False]


def test_a_route_without_a_service_is_an_error() -> None:
    ingress = manifest(
        "networking.k8s.io/v1",
        "Ingress",
        spec={
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/a",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "a", "port": {"number": 80}}},
                            }
                        ]
                    }
                }
            ]
        },
    )
    cluster = Cluster((Release("a", "a", (ingress,)),))
    assert cluster.answer("/b", None) is None
    with pytest.raises(Unreachable, match="no Service a/a"):
        cluster.answer("/a", None)
