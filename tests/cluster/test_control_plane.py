"""The control plane on Kubernetes: an operation ends when the tenant's pods answer, and each role may do its part."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import saas
import tokens
from api import Api
from kubernetes import wait_for_deployment
from layout import KUBECONFIG, KUBECTL, RUN
from machine import wait_for

NAMESPACE = "onboarding-service"
ENDS = ("serving", "gone", "failed")


@dataclass(frozen=True)
class Plane:
    """The API, by a forwarded port as an operator reaches it."""

    url: str

    def ask(self, role: str | None, method: str, path: str, body: Any = None, **headers: str) -> saas.Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if role:
            sent["Authorization"] = f"Bearer {tokens.token('operator@example.com', role)}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", content, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return saas.Answer(answer.status, json.load(answer), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return saas.Answer(error.code, json.load(error), dict(error.headers))

    def operation(self, answer: saas.Answer, seconds: float = 240) -> Any:
        """Waits for the end of the operation that an answer names."""
        assert answer.status == 202, answer
        location = answer.headers["location"]

        def ended() -> Any:
            found = self.ask("viewer", "GET", location).body
            return found if found["state"] in ENDS else None

        return wait_for(f"the end of {location}", ended, seconds, 0.3)


@pytest.fixture(scope="module")
def plane(api: Api) -> Iterator[Plane]:
    wait_for_deployment(api, NAMESPACE, "onboarding-service")
    log = RUN / "port-forward.log"
    with log.open("w") as output:
        command = [KUBECTL, "--kubeconfig", KUBECONFIG, "--namespace", NAMESPACE, "port-forward"]
        forward = subprocess.Popen([*command, "service/onboarding-service", ":80"], stdout=output, stderr=output)
    try:
        port = wait_for("the forwarded port", lambda: re.search(r"127\.0\.0\.1:(\d+)", log.read_text()), 30, 0.1)
        yield Plane(f"http://127.0.0.1:{port[1]}")
    finally:
        forward.terminate()
        forward.wait()


def test_an_operation_ends_when_the_pods_answer(api: Api, plane: Plane, note: Any) -> None:
    tenant = saas.new_tenant("by-api")
    for change, state, environment in (
        ({"tier": "premium"}, "serving", tenant),
        ({"tier": "basic"}, "serving", "pool-1"),
        ({"suspended": True}, "gone", None),
        ({"suspended": False}, "serving", "pool-1"),
        (None, "gone", None),
    ):
        begin = time.monotonic()
        if change is None:
            answer = plane.ask("owner", "DELETE", f"/tenants/{tenant}")
        elif change == {"tier": "premium"}:
            body = {"id": tenant, "release": "0.0", **change}
            answer = plane.ask("operator", "POST", "/tenants", body, Idempotency_Key=tenant)
            again = plane.ask("operator", "POST", "/tenants", body, Idempotency_Key=tenant)
            assert again.headers["location"] == answer.headers["location"], "a repeat is the same operation"
        else:
            answer = plane.ask("operator", "PATCH", f"/tenants/{tenant}", change)
        ended = plane.operation(answer)
        assert ended["state"] == state, ended
        assert ended["actor"] == "operator@example.com"
        assert saas.environment_of(tenant, "producer") == environment, f"{change}: the end was said too early"
        note(f"control plane, {ended['kind']}: {ended['state']} after {time.monotonic() - begin:.1f} s")
        if environment:
            view = plane.ask("viewer", "GET", f"/tenants/{tenant}").body
            assert view["serving"]["apps"], view
    assert saas.running(api, tenant) == {}


@pytest.mark.parametrize(
    ("role", "method", "path", "body", "status"),
    [
        (None, "GET", "/tenants", None, 401),
        ("stranger", "GET", "/tenants", None, 403),
        ("viewer", "GET", "/tenants", None, 200),
        ("viewer", "PATCH", "/tenants/tenant-1", {"held": "audit"}, 403),
        ("operator", "DELETE", "/tenants/tenant-1", None, 403),
    ],
)
def test_each_role_may_do_its_part(
    plane: Plane, role: str | None, method: str, path: str, body: Any, status: int
) -> None:
    assert plane.ask(role, method, path, body).status == status


def test_a_release_that_is_not_in_the_registry_is_named_with_its_remedy(plane: Plane) -> None:
    former = plane.ask("viewer", "GET", "/tenants/tenant-3").body["release"].removesuffix(".x")
    plane.ask("operator", "PATCH", "/tenants/tenant-3", {"release": "0.9"})
    try:

        def blocked() -> Any:
            return plane.ask("viewer", "GET", "/tenants/tenant-3").body["blocked"]

        reason = wait_for("the reason", blocked, 180, 0.5)
        assert reason["code"] == "chart_version_not_found", reason
        assert reason["remedy"]
        assert saas.environment_of("tenant-3", "consumer") == "tenant-3", "what runs goes on"
        listed = json.loads(saas.tenantctl("status", "tenant-3", "--output", "json"))
        assert "chart_version_not_found" in json.dumps(listed), "the command line says the same"
    finally:
        answer = plane.ask("operator", "PATCH", "/tenants/tenant-3", {"release": former})
    assert plane.operation(answer)["state"] == "serving"


def test_the_service_writes_nothing_to_the_cluster(api: Api) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:onboarding-service"
    for verb in ("create", "update", "patch", "delete"):
        for group, resource in (("helm.toolkit.fluxcd.io", "helmreleases"), ("apps", "deployments"), ("", "secrets")):
            attributes = {"verb": verb, "group": group, "resource": resource, "namespace": "flux-tenants"}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": account, "resourceAttributes": attributes},
            }
            answer = api.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            assert not answer["status"]["allowed"], attributes


def test_it_needs_no_more_memory_than_its_page_says(api: Api, note: Any) -> None:
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods"
    pods = wait_for("the pod's figures", lambda: api.ask("GET", path)["items"], 60, 1)
    used = pods[0]["containers"][0]["usage"]["memory"]
    note(f"control plane: {used} of memory")
    assert int(used.removesuffix("Ki")) <= 32 * 1024
