"""Promises of every release: the whole matrix, every option, the charts' own examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import pod_security
from combinations import EVERYTHING, TENANT_CASES, Case, installed
from engine import KUBERNETES, ROOT, lint
from manifests import Manifest, Release, env_of, full_name, is_test, matches, selects, walk
from schemas import Checker

every_case = pytest.mark.parametrize("case", EVERYTHING, ids=str)
every_tenant_case = pytest.mark.parametrize("case", TENANT_CASES, ids=str)
"""Cases whose pods are our services."""

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUALIFIED_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")

RECOMMENDED_LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}

ADMIN_PORT = 9090
SERVICE_PORT = 8080


@every_case
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_object_has_the_shape_of_its_kind(case: Case, kubernetes: str, all_checked: Checker) -> None:
    release = installed(case, kubernetes)
    assert [e for o in release.objects for e in all_checked.errors(o, kubernetes)] == []


@every_case
def test_lint_passes(case: Case) -> None:
    assert lint(case.chart, case.values, KUBERNETES[0]) == []


@every_case
def test_no_object_is_rendered_twice(case: Case) -> None:
    release = installed(case)
    count = Counter((o["apiVersion"], full_name(o), release.namespace_of(o)) for o in release.objects)
    assert [key for key, times in count.items() if times > 1] == []


@every_case
def test_names_and_labels_are_valid(case: Case) -> None:
    for o in installed(case).objects:
        assert DNS_LABEL.fullmatch(o["metadata"]["name"]), full_name(o)
        assert DNS_LABEL.fullmatch(o["metadata"].get("namespace", "a")), full_name(o)
        for path, value in walk(o):
            if path.endswith((".labels", ".matchLabels", "spec.selector")) and isinstance(value, dict):
                check_labels(f"{full_name(o)}: {path}", value)
            elif path.endswith(".annotations"):
                assert all(QUALIFIED_NAME.fullmatch(key) for key in value), f"{full_name(o)}: {path} {value}"


def check_labels(where: str, labels: dict[str, Any]) -> None:
    for key, value in labels.items():
        if isinstance(value, str):
            assert QUALIFIED_NAME.fullmatch(key), f"{where}: {key}"
            assert LABEL_VALUE.fullmatch(value), f"{where}: {key}: {value}"


@every_case
def test_names_inside_pods_are_valid(case: Case) -> None:
    for owner, container in containers(installed(case)):
        assert DNS_LABEL.fullmatch(container["name"]), full_name(owner)
        ports = container.get("ports", [])
        assert all(PORT_NAME.fullmatch(p["name"]) and 1 <= p["containerPort"] <= 65535 for p in ports)
        for amounts in container.get("resources", {}).values():
            assert all(QUANTITY.fullmatch(amount) for amount in amounts.values()), amounts


@every_case
def test_objects_carry_the_recommended_labels(case: Case) -> None:
    for o in installed(case).objects:
        assert labels_of(o).keys() >= RECOMMENDED_LABELS, full_name(o)
        if o["kind"] == "Deployment":
            assert "app.kubernetes.io/version" in labels_of(o), full_name(o)


@every_case
def test_pods_pass_the_restricted_standard(case: Case) -> None:
    release = installed(case)
    found = {full_name(o): pod_security.violations(template["spec"]) for o, template in release.workloads()}
    assert {name: violations for name, violations in found.items() if violations} == {}


@every_case
def test_containers_are_confined_beyond_the_standard(case: Case) -> None:
    """A read-only root file system, no token by default, and limits on memory."""
    release = installed(case)
    for owner, template in release.workloads():
        assert template["spec"].get("automountServiceAccountToken") is False, full_name(owner)
        assert template["spec"].get("enableServiceLinks") is False, full_name(owner)
    for owner, container in containers(release):
        assert container["securityContext"].get("readOnlyRootFilesystem") is True, full_name(owner)
        resources = container.get("resources", {})
        assert {"cpu", "memory"} <= resources.get("requests", {}).keys(), full_name(owner)
        assert "memory" in resources.get("limits", {}), full_name(owner)


@every_case
def test_images_name_a_version(case: Case) -> None:
    for owner, container in containers(installed(case)):
        image = container["image"]
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or tag not in ("", "latest"), f"{full_name(owner)}: {image}"
        assert not image.startswith("/"), f"{full_name(owner)}: {image}"
        assert "//" not in image, f"{full_name(owner)}: {image}"


@every_case
def test_selectors_match_pods(case: Case) -> None:
    """Every selector of this release finds its pods."""
    release = installed(case)
    for owner, template in services_pods(release):
        assert matches(owner["spec"]["selector"], template["metadata"]["labels"]), full_name(owner)
    for o, selector in selectors(release):
        found = [labels for labels in pod_labels(release) if matches(selector, labels)]
        assert found or served_elsewhere(case, o), f"{full_name(o)}: {selector}"


def selectors(release: Release) -> Iterator[tuple[Manifest, Manifest]]:
    for o in release.of("Service"):
        yield o, {"matchLabels": o["spec"]["selector"]}
    for o in release.of("PodDisruptionBudget"):
        yield o, o["spec"]["selector"]
    for o in release.of("NetworkPolicy"):
        yield o, o["spec"]["podSelector"]
    for owner, template in services_pods(release):
        for spread in template["spec"].get("topologySpreadConstraints", []):
            yield owner, spread["labelSelector"]


def served_elsewhere(case: Case, manifest: Manifest) -> bool:
    """Whether this is a Service of an app in a pool; `test_routes.py` tests these together with the pool."""
    apps = case.values.get("apps", {})
    name = manifest["metadata"]["name"]
    return manifest["kind"] == "Service" and any(
        name.endswith(f"-{app}") and v.get("enabled") is False for app, v in apps.items()
    )


def pod_labels(release: Release) -> list[dict[str, str]]:
    return [template["metadata"].get("labels", {}) for _, template in release.workloads()]


@every_tenant_case
def test_scalers_and_monitors_name_existing_objects(case: Case) -> None:
    release = installed(case)
    for scaler in release.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        assert release.find(target.get("kind", "Deployment"), target["name"]), full_name(scaler)
    for monitor in release.of("ServiceMonitor"):
        spec = monitor["spec"]
        services = [
            s
            for s in release.of("Service")
            if release.namespace_of(s) == release.namespace_of(monitor) and matches(spec["selector"], labels_of(s))
        ]
        assert not any(served_elsewhere(case, s) for s in services), (
            f"{full_name(monitor)}: would scrape the pool again"
        )
        pods = [t for _, t in release.workloads() for s in services if selects(s["spec"]["selector"], labels_of(t))]
        check_scraped(monitor, pods, {endpoint["targetPort"] for endpoint in spec["endpoints"]})
    for monitor in release.of("PodMonitor"):
        spec = monitor["spec"]
        pods = [template for _, template in release.workloads() if matches(spec["selector"], labels_of(template))]
        check_scraped(monitor, pods, {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]})


def check_scraped(monitor: Manifest, pods: list[Manifest], ports: set[str]) -> None:
    assert pods, full_name(monitor)
    assert ports == {"admin"}, full_name(monitor)
    for pod in pods:
        named = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0].get("ports", [])}
        assert named.get("admin") == ADMIN_PORT, f"{full_name(monitor)} selects a pod without metrics"


def labels_of(template: Manifest) -> dict[str, str]:
    return template["metadata"].get("labels", {})


@every_case
def test_the_number_of_pods_has_one_owner(case: Case) -> None:
    release = installed(case)
    scalers = release.of("HorizontalPodAutoscaler", "ScaledObject")
    targets = Counter(scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers)
    assert all(times == 1 for times in targets.values()), targets
    for deployment in release.of("Deployment"):
        assert ("replicas" not in deployment["spec"]) == (deployment["metadata"]["name"] in targets), full_name(
            deployment
        )


@every_case
def test_a_disruption_budget_needs_a_second_pod(case: Case) -> None:
    release = installed(case)
    guaranteed = {d["metadata"]["name"]: d["spec"].get("replicas") for d in release.of("Deployment")}
    for scaler in release.of("HorizontalPodAutoscaler"):
        guaranteed[scaler["spec"]["scaleTargetRef"]["name"]] = scaler["spec"]["minReplicas"]
    for scaler in release.of("ScaledObject"):
        guaranteed[scaler["spec"]["scaleTargetRef"]["name"]] = scaler["spec"]["minReplicaCount"]
    for budget in release.of("PodDisruptionBudget"):
        spec = budget["spec"]
        assert spec.get("maxUnavailable") not in (0, "0%"), f"{full_name(budget)}: nodes could never be drained"
        for deployment in release.of("Deployment"):
            if matches(spec["selector"], labels_of(deployment["spec"]["template"])):
                most = most_pods(release, deployment)
                assert guaranteed[deployment["metadata"]["name"]] > 1 or most > 1, full_name(budget)


def most_pods(release: Release, deployment: Manifest) -> int:
    for scaler in release.of("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]:
            return scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"]
    return deployment["spec"]["replicas"]


@every_tenant_case
def test_a_pod_can_drain_before_it_is_killed(case: Case) -> None:
    """The kubelet's grace period covers the sleep before SIGTERM and the service's own drain."""
    for owner, template in services_pods(installed(case)):
        container = template["spec"]["containers"][0]
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = int(env_of(container).get("SHUTDOWN_GRACE_SECONDS", "25"))
        assert template["spec"]["terminationGracePeriodSeconds"] > sleep + drain, full_name(owner)
        if container["name"] == "consumer":
            wait = int(env_of(container).get("RECEIVE_WAIT_SECONDS", "20"))
            assert drain > wait, f"{full_name(owner)}: a receive in flight is never canceled"


@every_tenant_case
def test_probes_use_the_admin_port(case: Case) -> None:
    for owner, template in services_pods(installed(case)):
        container = template["spec"]["containers"][0]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for probe, path in paths.items():
            get = container[probe]["httpGet"]
            assert ports.get(get["port"], get["port"]) == ADMIN_PORT, f"{full_name(owner)}: {probe}"
            assert get["path"] == path or (probe, get["path"]) == ("startupProbe", "/readyz"), (
                f"{full_name(owner)}: {get}"
            )
        assert ports["http"] == SERVICE_PORT, full_name(owner)


@every_tenant_case
def test_services_get_only_variables_they_know(case: Case) -> None:
    for owner, template in services_pods(installed(case)):
        container = template["spec"]["containers"][0]
        own = {"QUEUE_URL"}  # set by the case for KEDA
        unknown = env_of(container).keys() - variables_of(container["name"]) - own
        assert not unknown, full_name(owner)
        assert len(container.get("env", [])) == len(env_of(container)), f"{full_name(owner)}: a variable is set twice"


SDK_VARIABLES = {
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_EC2_METADATA_DISABLED",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
}


def variables_of(app: str) -> set[str]:
    """Variables of a service: clap arguments with `env` in its folder and in `shared`, and those of the SDKs."""
    crate = app if (ROOT / app / "src").is_dir() else "producer"
    return SDK_VARIABLES | {v for c in ("shared", crate) for v in clap_variables(c)}


@cache
def clap_variables(folder: str) -> list[str]:
    return [
        name.upper()
        for path in (ROOT / folder).rglob("*.rs")
        for name in re.findall(r"#\[arg\([^\]]*?\benv\b[^\]]*?\)\]\s*(?:pub )?(\w+):", path.read_text())
    ]


def test_the_services_variables_are_found() -> None:
    assert {"ENVIRONMENT", "PORT", "SHUTDOWN_GRACE_SECONDS", "MAX_BODY_BYTES"} <= variables_of("producer")
    assert "RECEIVE_WAIT_SECONDS" in variables_of("consumer")
    assert "RECEIVE_WAIT_SECONDS" not in variables_of("producer")


@every_case
def test_accounts_and_secrets_are_made_here_or_named_by_the_values(case: Case) -> None:
    release = installed(case)
    accounts = {o["metadata"]["name"] for o in release.of("ServiceAccount")} | {"default", "existing"}
    for owner, template in services_pods(release):
        assert template["spec"]["serviceAccountName"] in accounts, full_name(owner)
    assert release.of("Secret") == [], "credentials do not belong in values"


@every_case
def test_no_release_grants_rights_on_the_cluster(case: Case) -> None:
    roles = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    assert installed(case).of(*roles) == []


def services_pods(release: Release) -> Iterator[tuple[Manifest, Manifest]]:
    """Yields the Deployments, with their pod templates."""
    for owner, template in release.workloads():
        if owner["kind"] == "Deployment":
            yield owner, template


def containers(release: Release) -> Iterator[tuple[Manifest, Manifest]]:
    for owner, template in release.workloads():
        for field in ("initContainers", "containers"):
            for container in template["spec"].get(field, []):
                yield owner, container


@every_case
def test_pods_of_helm_test_are_hooks_that_run_once(case: Case) -> None:
    for o in installed(case).of("Pod"):
        assert is_test(o), full_name(o)
        assert o["spec"]["restartPolicy"] == "Never", full_name(o)
