"""The important tests fail on a broken chart: each mutation breaks a copy of the chart in one place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import test_compatibility
import test_every_release
import test_isolation
from cluster import Cluster, Unreachable
from combinations import TIERS, Case, installed, matrix_case, tier_case
from engine import KUBERNETES, TENANT_CHART
from manifests import ManifestError
from schemas import Checker
from test_routes import check_walk_through

CHECKER = Checker()
Check = Callable[[Callable[[Case], Case]], Any]


def on(test: Callable[[Case], Any], case: Case) -> Check:
    """Runs a test of one release on the broken chart."""
    return lambda broken: test(broken(case))


def walk_through(routing: str) -> Check:
    def check(broken: Callable[[Case], Case]) -> None:
        cases = [broken(matrix_case(tier, routing, "none", "irsa")) for tier in TIERS]
        check_walk_through(Cluster(tuple(map(installed, cases))))

    return check


def shape(case: Case) -> None:
    CHECKER.prepare(installed(case).objects)
    test_every_release.test_every_object_has_the_shape_of_its_kind(case, KUBERNETES[-1], CHECKER)


def destroys_nothing(case: Case) -> None:
    assert all(not o["spec"]["destroyResourcesOnDeletion"] for o in installed(case).of("Terraform"))


def has_no_route(case: Case) -> None:
    assert Cluster((installed(case),)).routes() == []


def reaches_no_stranger(case: Case) -> None:
    for pod in test_isolation.services(installed(case)):
        for stranger in test_isolation.STRANGERS:
            assert not pod.allows("Ingress", stranger, 8080)


PREMIUM = matrix_case("premium", "alb", "none", "irsa")
HPA = matrix_case("premium", "alb", "hpa", "irsa")
GATEWAY = matrix_case("premium", "gateway", "none", "irsa")
TRAEFIK = matrix_case("premium", "traefik", "none", "irsa")
KEDA = matrix_case("premium", "alb", "keda", "irsa")
SUSPENDED = tier_case("suspended", "premium", "tenant-1", "pool-1", {"suspended": True})
INFRA = tier_case("infra", "premium", "tenant-1", "pool-1", {"infra": {"enabled": True}})


@dataclass(frozen=True)
class Mutation:
    file: str
    old: str
    new: str
    check: Check


MUTATIONS = {
    "a pool tenant's Service selects pods of its own": Mutation(
        "service.yaml",
        "(list .environment .app) | quote",
        "(list .root.Values.tenantId .app) | quote",
        walk_through("alb"),
    ),
    "the load balancer matches another header": Mutation(
        "ingress.yaml", '"httpHeaderName" "TenantID"', '"httpHeaderName" "Tenant"', walk_through("alb")
    ),
    "the condition names no Service": Mutation("ingress.yaml", "/conditions.%s", "/condition.%s", walk_through("alb")),
    "an HTTPRoute matches every tenant": Mutation(
        "httproute.yaml", "type: Exact", "type: RegularExpression\n              value: .*", walk_through("gateway")
    ),
    "an HTTPRoute without the header": Mutation(
        "httproute.yaml",
        "- type: Exact\n              name: TenantID\n",
        "- type: Exact\n              name: Tenant\n",
        walk_through("gateway"),
    ),
    "an IngressRoute matches another header": Mutation(
        "ingressroute.yaml", "Header(`TenantID`", "Header(`Tenant`", walk_through("traefik")
    ),
    "a pod runs as root": Mutation(
        "_pod.tpl",
        "podSecurityContext: {runAsNonRoot: true",
        "podSecurityContext: {runAsNonRoot: false",
        on(test_every_release.test_pods_pass_the_restricted_standard, PREMIUM),
    ),
    "instance metadata is reachable": Mutation(
        "_networkpolicy.tpl",
        '(list "169.254.0.0/16")',
        '(list "169.253.0.0/16")',
        on(test_isolation.test_no_pod_reaches_instance_metadata, PREMIUM),
    ),
    "every private address reaches an app that trusts the header": Mutation(
        "_networkpolicy.tpl",
        'else if include "helm-tenant-chart.lacksClients" .',
        "else if false",
        on(reaches_no_stranger, PREMIUM),
    ),
    "no default deny of egress": Mutation(
        "networkpolicy.yaml",
        "podSelector: {}\n  policyTypes:\n    - Ingress\n    - Egress",
        "podSelector: {}\n  policyTypes:\n    - Ingress",
        on(test_isolation.test_traffic_is_denied_by_default_both_ways, PREMIUM),
    ),
    "replicas beside an autoscaler": Mutation(
        "deployment.yaml",
        'if not (include "helm-tenant-chart.isScaled" .)',
        "if true",
        on(test_every_release.test_the_number_of_pods_has_one_owner, HPA),
    ),
    "killed while it drains": Mutation(
        "deployment.yaml",
        'terminationGracePeriodSeconds: {{ include "helm-tenant-chart.terminationGracePeriodSeconds" . }}',
        "terminationGracePeriodSeconds: 30",
        on(test_every_release.test_a_pod_can_drain_before_it_is_killed, PREMIUM),
    ),
    "probes on the public port": Mutation(
        "_pod.tpl", "port: admin", "port: http", on(test_every_release.test_probes_use_the_admin_port, PREMIUM)
    ),
    "a suspended tenant keeps its routes": Mutation(
        "_helpers.tpl",
        "and .settings.ingress.enabled (not .root.Values.suspended) (include",
        "and .settings.ingress.enabled (include",
        on(has_no_route, SUSPENDED),
    ),
    "an uninstall destroys": Mutation(
        "terraform.yaml",
        "destroyResourcesOnDeletion: {{ or $infra.destroyResourcesOnDeletion $infra.deleteData }}",
        "destroyResourcesOnDeletion: true",
        on(destroys_nothing, INFRA),
    ),
    "a selector that changes": Mutation(
        "_helpers.tpl",
        "app.kubernetes.io/instance: {{ .root.Release.Name | quote }}",
        "app.kubernetes.io/instance: {{ .root.Chart.Version | quote }}",
        on(test_compatibility.test_selectors_equal_those_of_the_original_chart, PREMIUM),
    ),
    "a misspelt field": Mutation("deployment.yaml", "enableServiceLinks:", "enableServiceLink:", on(shape, PREMIUM)),
    "a misspelt field of an HTTPRoute": Mutation("httproute.yaml", "backendRefs:", "backendRef:", on(shape, GATEWAY)),
    "a misspelt field of an IngressRoute": Mutation("ingressroute.yaml", "services:", "service:", on(shape, TRAEFIK)),
    "a misspelt field of a ScaledObject": Mutation(
        "scaledobject.yaml", "minReplicaCount:", "minReplicas:", on(shape, KEDA)
    ),
    "a removed API version": Mutation("hpa.yaml", "autoscaling/v2", "autoscaling/v2beta2", on(shape, HPA)),
    "a repeated key": Mutation(
        "service.yaml", "  type: {{ $s.service.type }}", "  type: NodePort\n  type: ClusterIP", on(shape, PREMIUM)
    ),
    "a variable that no service reads": Mutation(
        "_pod.tpl",
        "- name: SHUTDOWN_GRACE_SECONDS",
        "- name: SHUTDOWN_SECONDS",
        on(test_every_release.test_services_get_only_variables_they_know, PREMIUM),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_test_fails_on_the_broken_chart(name: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[name]
    chart = shutil.copytree(TENANT_CHART, tmp_path / TENANT_CHART.name)
    file = chart / "templates" / mutation.file
    text = file.read_text()
    assert mutation.old in text, f"{mutation.file} no longer contains {mutation.old}; adapt the mutation"
    mutation.check(lambda case: case)  # passes on the intact chart
    file.write_text(text.replace(mutation.old, mutation.new))
    with pytest.raises((AssertionError, ManifestError, Unreachable)):
        mutation.check(lambda case: replace(case, chart=chart))
