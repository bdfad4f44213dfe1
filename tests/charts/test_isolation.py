"""NetworkPolicies allow only the intended traffic from and to a pod. A small model applies them as a cluster does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml

from combinations import (
    APPS,
    IDENTITIES,
    PREMIUM_OPTIONS,
    ROUTING,
    TENANT_CASES,
    Case,
    Values,
    installed,
    tier_case,
)
from engine import ROOT, RenderError
from manifests import Manifest, Release, full_name, matches
from test_every_release import ADMIN_PORT, SERVICE_PORT, services_pods

METADATA = ("169.254.169.254", "fd00:ec2::254")
POD_IDENTITY_AGENT = "169.254.170.23"
LOAD_BALANCER = "10.0.3.7"
CLIENTS = [{"ipBlock": {"cidr": "10.0.0.0/20"}}]
"""The load balancer's subnets, for `alb`."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """The other end of a connection: an address, here of the VPC, and for a pod its namespace and labels."""

    address: str = "10.0.96.5"
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def peer_matches(rule: Manifest, peer: Peer, own_namespace: str) -> bool:
    if "ipBlock" in rule:
        block = rule["ipBlock"]
        address = ip_address(peer.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(e) for e in block.get("except", [])
        )
    if not peer.namespace:
        return False
    if "namespaceSelector" in rule:
        in_namespace = matches(rule["namespaceSelector"], {NAMESPACE_LABEL: peer.namespace})
    else:
        in_namespace = peer.namespace == own_namespace
    return in_namespace and matches(rule.get("podSelector", {}), peer.labels)


def policies(release: Release, namespace: str, labels: dict[str, str], direction: str) -> Iterator[Manifest]:
    for policy in release.of("NetworkPolicy"):
        spec = policy["spec"]
        here = release.namespace_of(policy) == namespace and matches(spec["podSelector"], labels)
        if here and direction in spec["policyTypes"]:
            yield policy


@dataclass(frozen=True)
class Side:
    """A pod of the release, with the policies that apply to it."""

    release: Release
    namespace: str
    labels: dict[str, str]
    port_names: dict[str, int]

    def allows(self, direction: str, peer: Peer, port: int, protocol: str = "TCP") -> bool:
        found = list(policies(self.release, self.namespace, self.labels, direction))
        return not found or any(self.rule_allows(p, direction, peer, port, protocol) for p in found)

    def rule_allows(self, policy: Manifest, direction: str, peer: Peer, port: int, protocol: str) -> bool:
        peers_key = {"Ingress": "from", "Egress": "to"}[direction]
        for rule in policy["spec"].get(direction.lower(), []):
            ports, peers = rule.get("ports"), rule.get(peers_key)
            port_ok = not ports or any(self.port_matches(p, port, protocol) for p in ports)
            if port_ok and (not peers or any(peer_matches(p, peer, self.namespace) for p in peers)):
                return True
        return False

    def port_matches(self, rule: Manifest, port: int, protocol: str) -> bool:
        if rule.get("protocol", "TCP") != protocol:
            return False
        first = self.port_names.get(rule["port"], rule["port"]) if "port" in rule else port
        return first <= port <= rule.get("endPort", first)


def side(release: Release, owner: Manifest, template: Manifest) -> Side:
    ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0].get("ports", [])}
    return Side(release, release.namespace_of(owner), template["metadata"].get("labels", {}), ports)


def services(release: Release) -> list[Side]:
    found = [side(release, *workload) for workload in services_pods(release)]
    assert found
    return found


def premium(routing: str = "alb", identity: str = "podidentity", **network_policy: Any) -> Release:
    if routing == "alb":
        network_policy = {"clients": CLIENTS, **network_policy}
    return silo(ROUTING[routing], IDENTITIES[identity], {"networkPolicy": network_policy})


def silo(*values: Values) -> Release:
    return installed(tier_case("", "premium", "tenant-1", "pool-1", *values))


def beside_its_pool(case: Case) -> Release:
    """Adds the pool's policies, because a pool tenant's test pods run in the pool's namespace."""
    release = installed(case)
    namespaces = {release.namespace_of(o) for o in release.objects} - {
        release.namespace_of(o) for o in release.of("Deployment")
    }
    pools = [
        installed(tier_case("", "pool", "", name, {"networkPolicy": case.values.get("networkPolicy", {})}))
        for name in namespaces
        if name.startswith("pool-")
    ]
    return Release(release.name, release.namespace, release.objects + tuple(o for pool in pools for o in pool.objects))


TOKENS = PREMIUM_OPTIONS["auth"]
PROTECTED = [case for case in TENANT_CASES if case.id != "premium-no-network-policy"]


@pytest.mark.parametrize("case", PROTECTED, ids=str)
def test_traffic_is_denied_by_default_both_ways(case: Case) -> None:
    release = installed(case)
    bystander = {"app": "not-of-this-chart"}
    for namespace in {release.namespace_of(o) for o in release.of("Deployment")}:
        for direction in ("Ingress", "Egress"):
            found = list(policies(release, namespace, bystander, direction))
            assert found, f"{direction} of any pod in {namespace}"
            assert not any(policy["spec"].get(direction.lower()) for policy in found)


@pytest.mark.parametrize("case", PROTECTED, ids=str)
def test_no_pod_reaches_instance_metadata(case: Case) -> None:
    """Instance metadata would give a pod the node's credentials."""
    release = beside_its_pool(case)
    for owner, template in release.workloads():
        for address in METADATA:
            for port in (80, 443, 4566, 9999):
                allowed = side(release, owner, template).allows("Egress", Peer(address), port)
                assert not allowed, f"{full_name(owner)} reaches {address}:{port}"


@pytest.mark.parametrize("case", PROTECTED, ids=str)
def test_a_namespace_without_apps_of_the_release_gets_no_policy(case: Case) -> None:
    """A pool's namespace has the pool's policies; a tenant's release must not add to them."""
    release = installed(case)
    if not release.of("Deployment"):
        assert release.of("NetworkPolicy", "ResourceQuota", "LimitRange") == []
    assert {release.namespace_of(o) for o in release.of("NetworkPolicy", "ResourceQuota", "LimitRange")} <= {
        case.tenant
    }


def test_services_resolve_names_and_reach_https() -> None:
    for pod in services(premium()):
        dns = Peer(namespace="kube-system", labels={"k8s-app": "kube-dns"})
        assert pod.allows("Egress", dns, 53, "UDP")
        assert pod.allows("Egress", dns, 53, "TCP")
        assert not pod.allows("Egress", Peer("9.9.9.9"), 53, "UDP")
        assert pod.allows("Egress", Peer("52.94.133.131"), 443)
        assert not pod.allows("Egress", Peer("52.94.133.131"), 25)
        assert not pod.allows("Egress", Peer("52.94.133.131"), 22)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_only_pod_identity_reaches_its_agent(identity: str) -> None:
    for pod in services(premium(identity=identity)):
        assert pod.allows("Egress", Peer(POD_IDENTITY_AGENT), 80) == (identity == "podidentity")


def test_a_configured_endpoint_is_reached_at_its_port() -> None:
    for pod in services(premium(identity="secret")):
        assert pod.allows("Egress", Peer("10.1.2.3"), 4566) or pod.allows("Egress", Peer(namespace="tenantry"), 4566)


def test_other_tenants_pods_can_neither_be_reached_nor_reach_in() -> None:
    stranger = Peer(namespace="tenant-2", labels={"app": "tenant-2-producer"})
    for routing in ROUTING:
        for pod in services(premium(routing)):
            for port in (SERVICE_PORT, ADMIN_PORT):
                assert not pod.allows("Ingress", stranger, port), routing
                assert not pod.allows("Egress", stranger, port), routing


def test_only_the_load_balancer_may_send_requests() -> None:
    load_balancer = {
        "alb": Peer(LOAD_BALANCER),
        "gateway": Peer(namespace="gateway-system"),
        "traefik": Peer(namespace="traefik"),
    }
    for routing, peer in load_balancer.items():
        for pod in services(premium(routing)):
            assert pod.allows("Ingress", peer, SERVICE_PORT), routing
            assert not pod.allows("Ingress", peer, ADMIN_PORT), f"{routing}: clients reach the admin port"
    for routing in ROUTING:
        for pod in services(premium(routing)):
            for stranger in STRANGERS:
                assert not pod.allows("Ingress", stranger, SERVICE_PORT), f"{routing}: {stranger}"
    for pod in services(premium("none")):
        assert not pod.allows("Ingress", Peer(LOAD_BALANCER), SERVICE_PORT)


STRANGERS = [
    Peer("8.8.8.8"),
    Peer("10.0.96.4"),  # an instance
    Peer("172.16.5.5"),
    Peer("192.168.1.1"),
    Peer("100.64.0.9", "default", {"app": "shell"}),
    Peer("10.0.96.5", "tenant-2", {"app": "tenant-2-producer", "tenantry/app": "producer"}),
    Peer("10.42.0.8", "kube-system", {"app": "aws-load-balancer-controller"}),
]


def test_without_the_load_balancers_subnets_no_address_reaches_an_app_that_trusts_the_header() -> None:
    for clients in ([], None):
        for pod in services(silo({"networkPolicy": {"clients": clients}})):
            for stranger in (*STRANGERS, Peer(LOAD_BALANCER)):
                assert not pod.allows("Ingress", stranger, SERVICE_PORT)


@pytest.mark.parametrize("tier", ["premium", "advanced", "pool"])
def test_a_network_policy_that_is_asked_for_demands_the_load_balancers_subnets(tier: str) -> None:
    def render(*values: Values) -> Release:
        return installed(tier_case("", tier, "tenant-1", "pool-1", {"networkPolicy": {"enabled": True}}, *values))

    with pytest.raises(RenderError, match=r"set networkPolicy\.clients to its subnets"):
        render()
    for pod in services(render({"networkPolicy": {"clients": CLIENTS}})):
        assert pod.allows("Ingress", Peer(LOAD_BALANCER), SERVICE_PORT)
    for other in (ROUTING["gateway"], TOKENS):
        assert services(render(other))
    assert render({"networkPolicy": {"enabled": False}}).of("NetworkPolicy") == []


def test_a_silo_without_routes_needs_no_clients() -> None:
    unrouted: Values = {"apps": {app: {"ingress": {"enabled": False}} for app in APPS}}
    assert services(silo(unrouted, {"networkPolicy": {"enabled": True}}))


def test_with_tokens_any_private_address_may_be_the_load_balancers() -> None:
    for pod in services(silo(TOKENS)):
        assert pod.allows("Ingress", Peer(LOAD_BALANCER), SERVICE_PORT)
        assert not pod.allows("Ingress", Peer("8.8.8.8"), SERVICE_PORT)


@pytest.mark.parametrize("tier", ["premium", "advanced", "pool"])
def test_on_the_production_cluster_only_the_load_balancers_subnets_reach_the_apps(tier: str) -> None:
    cluster = ROOT / "gitops" / "clusters" / "production"
    settings = yaml.safe_load((cluster / "cluster-settings.yaml").read_text())["data"]
    text = yaml.safe_load((cluster / "tenancy" / "cluster-values.yaml").read_text())["data"]["values.yaml"]
    values = yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda name: settings[name[1]], text))
    for pod in services(installed(tier_case("", tier, "tenant-1", "pool-1", values))):
        # eksctl's public subnets are the first three of its network, its pods' private subnets the last three.
        for third, allowed in ((1, True), (33, True), (65, True), (97, False), (129, False), (161, False)):
            assert pod.allows("Ingress", Peer(f"192.168.{third}.9"), SERVICE_PORT) == allowed
        for stranger in (s for s in STRANGERS if s.address != "192.168.1.1"):
            assert not pod.allows("Ingress", stranger, SERVICE_PORT)


def test_prometheus_scrapes_the_admin_port_and_nothing_else() -> None:
    for pod in services(premium()):
        assert pod.allows("Ingress", Peer(namespace="monitoring"), ADMIN_PORT)
        assert not pod.allows("Ingress", Peer(namespace="monitoring"), SERVICE_PORT)
    for pod in services(premium(metricsClients=[])):
        assert not pod.allows("Ingress", Peer(namespace="monitoring"), ADMIN_PORT)


def test_helm_tests_reach_the_services() -> None:
    for routing in ROUTING:
        release = premium(routing)
        tests = [side(release, o, o) for o in release.of("Pod")]
        assert tests
        for test in tests:
            peer = Peer(namespace=test.namespace, labels=test.labels)
            reachable = [
                pod
                for pod in services(release)
                if pod.allows("Ingress", peer, SERVICE_PORT)
                and test.allows("Egress", Peer(namespace=pod.namespace, labels=pod.labels), SERVICE_PORT)
            ]
            assert reachable, f"{routing}: a test pod reaches no service"
            assert test.allows("Egress", Peer(namespace="kube-system"), 53, "UDP")


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "169.0.0.0/8", "128.0.0.0/1"])
def test_a_range_excludes_instance_metadata(cidr: str) -> None:
    for pod in services(premium(egressCidrs=[cidr])):
        assert not pod.allows("Egress", Peer(METADATA[0]), 443)
        assert pod.allows("Egress", Peer("169.1.2.3"), 443)


def test_ipv6_instance_metadata_is_unreachable() -> None:
    for pod in services(premium(ipv6=True, egressCidrs=["0.0.0.0/0", "::/0", "fd00::/8"])):
        assert not pod.allows("Egress", Peer(METADATA[1]), 80)
        assert not pod.allows("Egress", Peer(METADATA[1]), 443)
        assert pod.allows("Egress", Peer("2600:1f18::1"), 443)
