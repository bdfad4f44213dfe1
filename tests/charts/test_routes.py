"""Each tenant's requests reach the pods that serve the tenant, and no others."""

from __future__ import annotations

import json
from itertools import product

import pytest

from cluster import ALB, HEADER, Answer, Cluster
from combinations import (
    APPS,
    AUTOSCALERS,
    CATCH_ALL,
    IDENTITIES,
    LONG_POOL,
    LONG_TENANT,
    NO_TENANT_ROUTES,
    POOL,
    ROUTING,
    TENANT_CASES,
    TIERS,
    Case,
    Values,
    installed,
    matrix_case,
    tier_case,
)
from engine import notes
from manifests import Manifest, Release, full_name
from test_every_release import SERVICE_PORT

ROUTED = ("alb", "gateway", "traefik")
ROUTE_KINDS = {"alb": "Ingress", "gateway": "HTTPRoute", "traefik": "IngressRoute", "none": None}

EXPECTED = {
    "tenant-1": {"producer": "tenant-1", "consumer": "tenant-1", "payments": "tenant-1"},
    "tenant-2": {"producer": POOL, "consumer": POOL, "payments": POOL},
    "tenant-3": {"producer": POOL, "consumer": "tenant-3", "payments": POOL},
}
"""Environment that answers each tenant, from the contract."""


def cluster_of(*cases: Case) -> Cluster:
    return Cluster(tuple(installed(case) for case in cases))


def check_walk_through(cluster: Cluster) -> None:
    for tenant, environments in EXPECTED.items():
        for app, environment in environments.items():
            for path in (f"/{app}", f"/{app}/readiness-probe"):
                assert cluster.answer(path, tenant) == Answer(environment, app), f"{path} of {tenant}"


@pytest.mark.parametrize(("routing", "autoscaler", "identity"), [*product(ROUTED, AUTOSCALERS, IDENTITIES)])
def test_each_tenant_reaches_its_environment(routing: str, autoscaler: str, identity: str) -> None:
    check_walk_through(cluster_of(*(matrix_case(tier, routing, autoscaler, identity) for tier in TIERS)))


@pytest.mark.parametrize("routing", ROUTED)
def test_an_unknown_tenant_or_path_reaches_no_pod(routing: str) -> None:
    cluster = cluster_of(*(matrix_case(tier, routing, "none", "irsa") for tier in TIERS))
    for app, tenant in product(APPS, (None, "", "tenant-4", "tenant-11", "tenant-", "tenant-1,tenant-2", "*", POOL)):
        assert cluster.answer(f"/{app}", tenant) is None, f"/{app} of {tenant}"
    for path in ("/", "/producers", "/metrics", "/livez", "/readyz", "/producer-x"):
        assert cluster.answer(path, "tenant-1") is None or routing == "traefik", path
    assert cluster.answer("/metrics", "tenant-1") is None


def with_catch_all(routing: str, tenant_routes: Values = NO_TENANT_ROUTES) -> Cluster:
    return cluster_of(
        tier_case("pool", "pool", POOL, POOL, ROUTING[routing], CATCH_ALL),
        tier_case("premium", "premium", "tenant-1", POOL, ROUTING[routing], tenant_routes),
        tier_case("basic", "basic", "tenant-2", POOL, ROUTING[routing], tenant_routes),
        tier_case("advanced", "advanced", "tenant-3", POOL, ROUTING[routing], tenant_routes),
    )


@pytest.mark.parametrize("routing", ROUTED)
def test_a_pools_catch_all_serves_tenants_without_a_silo(routing: str) -> None:
    cluster = with_catch_all(routing)
    check_walk_through(cluster)
    for app in APPS:
        assert cluster.answer(f"/{app}", "tenant-9999") == Answer(POOL, app)


@pytest.mark.parametrize("routing", ROUTED)
def test_tenant_routes_take_precedence_over_a_pools_catch_all(routing: str) -> None:
    """Both exist together during a migration from tenant routes to the catch-all."""
    check_walk_through(with_catch_all(routing, {}))


@pytest.mark.parametrize("routing", ROUTED)
def test_with_a_catch_all_a_pool_tenant_needs_no_target_group(routing: str) -> None:
    cluster = with_catch_all(routing)
    pool, _, basic, advanced = cluster.releases
    assert len(pool.of(ROUTE_KINDS[routing])) == len(APPS)
    assert basic.of("Service", ROUTE_KINDS[routing]) == []
    assert [o["metadata"]["name"] for o in advanced.of("Service")] == ["tenant-3-consumer"]


@pytest.mark.parametrize("routing", ROUTED)
def test_the_longest_names_route(routing: str) -> None:
    cluster = cluster_of(
        *(tier_case("", tier, LONG_TENANT, LONG_POOL, ROUTING[routing]) for tier in ("advanced", "pool"))
    )
    assert cluster.answer("/consumer", LONG_TENANT) == Answer(LONG_TENANT, "consumer")
    assert cluster.answer("/producer", LONG_TENANT) == Answer(LONG_POOL, "producer")


@pytest.mark.parametrize(("tier", "routing"), [*product(TIERS, ROUTING)])
def test_only_the_selected_kind_of_route_is_made(tier: str, routing: str) -> None:
    release = installed(matrix_case(tier, routing, "none", "irsa"))
    routes = [full_name(o) for o in release.of("Ingress", "HTTPRoute", "IngressRoute")]
    expected = len(APPS) if routing != "none" and tier != "pool" else 0
    assert len(routes) == expected
    assert all(name.startswith(f"{ROUTE_KINDS[routing]}/") for name in routes)


@pytest.mark.parametrize("case", TENANT_CASES, ids=str)
def test_routes_and_services_reach_the_service_port_only(case: Case) -> None:
    """No route, and no Service of a pool's tenant, leads to the admin port."""
    cluster = cluster_of(case)
    for route in cluster.routes():
        service = cluster.service(route)
        targets = {p["targetPort"] for p in service["spec"]["ports"] if route.port in (p["port"], p["name"])}
        assert targets <= {"http", SERVICE_PORT}, f"{route.origin}: {targets}"
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP", full_name(service)


@pytest.mark.parametrize("routing", ROUTED)
def test_a_suspended_tenant_has_no_route_and_keeps_its_pods(routing: str) -> None:
    def cluster(options: Values) -> Cluster:
        pool = matrix_case("pool", routing, "none", "irsa")
        tenants = (tier_case("", t, TIERS[t], POOL, ROUTING[routing], options) for t in TIERS if t != "pool")
        return cluster_of(pool, *tenants)

    running, suspended = cluster({}), cluster({"suspended": True})
    check_walk_through(running)
    assert suspended.routes() == []
    assert list(suspended.pods()) == list(running.pods())
    left_over = {full_name(o) for r in suspended.releases if r.name != POOL for o in r.of("Service")}
    silos = {f"Service/tenant-1-{app}" for app in APPS} | {"Service/tenant-3-consumer"}
    assert left_over == silos, "a Service without a route is left"


# Releases by tier


@pytest.mark.parametrize(("routing", "autoscaler", "identity"), [*product(ROUTING, AUTOSCALERS, IDENTITIES)])
def test_a_pool_tenant_has_routes_and_no_pods(routing: str, autoscaler: str, identity: str) -> None:
    release = installed(matrix_case("basic", routing, autoscaler, identity))
    assert {o["kind"] for o in release.objects} - {"Pod"} == {"Service", ROUTE_KINDS[routing]} - {None}
    assert all(release.namespace_of(o) == POOL for o in release.objects)
    names = {o["metadata"]["name"] for o in release.of("Service")}
    assert names == {f"tenant-2-{app}" for app in APPS}


@pytest.mark.parametrize(("routing", "autoscaler", "identity"), [*product(ROUTING, AUTOSCALERS, IDENTITIES)])
def test_a_hybrid_tenant_runs_only_its_own_consumer(routing: str, autoscaler: str, identity: str) -> None:
    release = installed(matrix_case("advanced", routing, autoscaler, identity))
    assert [full_name(o) for o in release.of("Deployment")] == ["Deployment/tenant-3-consumer"]
    assert {release.namespace_of(o) for o in release.of("Deployment", "ServiceAccount", "PodDisruptionBudget")} == {
        "tenant-3"
    }
    elsewhere = {full_name(o) for o in release.of("Service") if release.namespace_of(o) == POOL}
    assert elsewhere == {"Service/tenant-3-producer", "Service/tenant-3-payments"}


@pytest.mark.parametrize("tier", ["premium", "pool"])
def test_a_silo_and_a_pool_run_every_app(tier: str) -> None:
    case = matrix_case(tier, "alb", "none", "irsa")
    assert {o["metadata"]["name"] for o in installed(case).of("Deployment")} == {f"{case.tenant}-{app}" for app in APPS}


# Details of each kind of route


def ingresses(release: Release) -> list[Manifest]:
    return release.of("Ingress")


def test_every_ingress_is_in_one_group() -> None:
    """One group is one load balancer; a second group would have another address and add cost."""
    groups = {
        o["metadata"]["annotations"][f"{ALB}/group.name"]
        for case in TENANT_CASES
        if "tuned" not in case.id
        for o in ingresses(installed(case))
    }
    assert groups == {"tenants-lb"}


@pytest.mark.parametrize("tier", ["premium", "advanced", "basic"])
def test_an_ingress_has_the_header_as_its_only_condition(tier: str) -> None:
    case = matrix_case(tier, "alb", "none", "irsa")
    for ingress in ingresses(installed(case)):
        annotations = ingress["metadata"]["annotations"]
        conditions = {k: json.loads(v) for k, v in annotations.items() if k.startswith(f"{ALB}/conditions.")}
        service = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]
        expected = {"field": "http-header", "httpHeaderConfig": {"httpHeaderName": HEADER, "values": [case.tenant]}}
        assert conditions == {f"{ALB}/conditions.{service}": [expected]}
        assert annotations[f"{ALB}/target-type"] == "ip", "a ClusterIP Service has no node port to target"
        app = service.removeprefix(f"{case.tenant}-")
        assert annotations[f"{ALB}/healthcheck-path"] in (f"/{app}/readiness-probe", "/readyz")
        assert ingress["spec"]["ingressClassName"] == "alb"


def test_a_catch_all_ingress_comes_last() -> None:
    def order(release: Release) -> int:
        return int(ingresses(release)[0]["metadata"]["annotations"].get(f"{ALB}/group.order", "0"))

    pool, premium, *_ = with_catch_all("alb").releases
    assert 0 <= order(premium) < order(pool) <= 1000


@pytest.mark.parametrize("tier", ["premium", "advanced", "basic"])
def test_an_http_route_matches_the_header_exactly(tier: str) -> None:
    case = matrix_case(tier, "gateway", "none", "irsa")
    for route in installed(case).of("HTTPRoute"):
        assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
        assert route["spec"]["parentRefs"][0]["name"] == "public"
        for rule in route["spec"]["rules"]:
            assert [m["headers"] for m in rule["matches"]] == [
                [{"type": "Exact", "name": HEADER, "value": case.tenant}]
            ]
            assert rule["timeouts"]["request"] == "10s", "the time limit must exceed a service's 5 s"


@pytest.mark.parametrize("tier", ["premium", "advanced", "basic"])
def test_an_ingress_route_is_of_traefik_3(tier: str) -> None:
    case = matrix_case(tier, "traefik", "none", "irsa")
    for route in installed(case).of("IngressRoute"):
        assert route["apiVersion"] == "traefik.io/v1alpha1"
        assert all(f"Header(`{HEADER}`, `{case.tenant}`)" in r["match"] for r in route["spec"]["routes"])


# Notes after an install


@pytest.mark.parametrize(("tier", "routing"), [*product(TIERS, ROUTING)])
def test_the_notes_show_a_request_to_send(tier: str, routing: str) -> None:
    case = matrix_case(tier, routing, "none", "irsa")
    text = notes(case.chart, case.values, case.name, case.namespace)
    assert case.tenant in text
    if tier != "pool" and routing != "none":
        assert "curl" in text
        assert f"{HEADER}: {case.tenant}".lower() in text.lower()
