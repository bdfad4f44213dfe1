"""A model of a cluster with some releases: it routes a request to a Service and its pods.

Each kind of route follows its controller's rules: precedence, path and header matches, lookup of Services. So a test
checks the client's view, and the same test holds for every kind of routing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from manifests import Manifest, Release, env_of, full_name, selects

HEADER = "TenantID"
ALB = "alb.ingress.kubernetes.io"


@dataclass(frozen=True)
class Request:
    path: str
    tenant: str | None


@dataclass(frozen=True)
class Route:
    """One rule from the load balancer to a Service."""

    origin: str
    namespace: str
    matches: Callable[[Request], bool] = field(compare=False, repr=False)
    rank: tuple[Any, ...]
    """Order in which the load balancer tries routes, ascending."""
    service: str
    port: int | str


@dataclass(frozen=True)
class Pod:
    release: str
    namespace: str
    labels: dict[str, str] = field(hash=False)
    spec: Manifest = field(hash=False, repr=False)

    @property
    def container(self) -> Manifest:
        return self.spec["containers"][0]

    @property
    def environment(self) -> str:
        return env_of(self.container)["ENVIRONMENT"]


@dataclass(frozen=True)
class Answer:
    environment: str
    app: str


class Unreachable(Exception):
    """A route matches, but no pod can answer."""


@dataclass(frozen=True)
class Cluster:
    releases: tuple[Release, ...]

    def pods(self) -> Iterator[Pod]:
        for release in self.releases:
            for owner, template in release.workloads():
                if owner["kind"] == "Deployment":
                    labels = template["metadata"].get("labels", {})
                    yield Pod(release.name, release.namespace_of(owner), labels, template["spec"])

    def routes(self) -> list[Route]:
        found = (route for release in self.releases for o in release.objects for route in routes_of(release, o))
        return sorted(found, key=lambda route: route.rank)

    def answer(self, path: str, tenant: str | None) -> Answer | None:
        """Returns the answer to a request; None if no route matches."""
        request = Request(path, tenant)
        route = next((route for route in self.routes() if route.matches(request)), None)
        return self.behind(route) if route else None

    def behind(self, route: Route) -> Answer:
        """Returns the answer of a route's pods, which must all be alike."""
        answers = {Answer(pod.environment, pod.container["name"]) for pod in self.pods_behind(route)}
        if len(answers) != 1:
            raise Unreachable(f"{route.origin} leads to {answers or 'no pod'}")
        return answers.pop()

    def pods_behind(self, route: Route) -> list[Pod]:
        service = self.service(route)
        port = next((p for p in service["spec"]["ports"] if route.port in (p["port"], p.get("name"))), None)
        if port is None:
            raise Unreachable(f"{route.origin}: {full_name(service)} has no port {route.port}")
        target = port.get("targetPort", port["port"])
        selector = service["spec"].get("selector", {})
        selected = [p for p in self.pods() if p.namespace == route.namespace and selects(selector, p.labels)]
        for pod in selected:
            if not any(target in (p["containerPort"], p.get("name")) for p in pod.container.get("ports", [])):
                raise Unreachable(f"{route.origin}: a pod of {pod.release} does not listen on {target}")
        return selected

    def service(self, route: Route) -> Manifest:
        """Finds a route's Service, in the route's own namespace only."""
        for release in self.releases:
            for service in release.of("Service"):
                if (release.namespace_of(service), service["metadata"]["name"]) == (route.namespace, route.service):
                    return service
        raise Unreachable(f"{route.origin}: no Service {route.namespace}/{route.service}")


def routes_of(release: Release, manifest: Manifest) -> Iterator[Route]:
    read = {"Ingress": ingress, "HTTPRoute": http_route, "IngressRoute": ingress_route}.get(manifest["kind"])
    if read:
        yield from read(release.namespace_of(manifest), manifest)


# AWS Load Balancer Controller


def ingress(namespace: str, manifest: Manifest) -> Iterator[Route]:
    annotations = manifest["metadata"].get("annotations", {})
    name = manifest["metadata"]["name"]
    order = int(annotations.get(f"{ALB}/group.order", "0"))
    for rule in manifest["spec"]["rules"]:
        for entry in rule["http"]["paths"]:
            service = entry["backend"]["service"]
            conditions = json.loads(annotations.get(f"{ALB}/conditions.{service['name']}", "[]"))
            yield Route(
                full_name(manifest),
                namespace,
                alb_matcher(entry["path"], entry["pathType"], conditions),
                (order, namespace, name),
                service["name"],
                service["port"].get("number") or service["port"]["name"],
            )


def alb_matcher(path: str, path_type: str, conditions: list[dict[str, Any]]) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        return alb_path(path, path_type, request.path) and all(alb_condition(c, request) for c in conditions)

    return matches


def alb_path(path: str, path_type: str, requested: str) -> bool:
    if path_type == "Prefix":
        return under(path, requested)
    pattern = path if path_type == "ImplementationSpecific" else re.escape(path)
    return wildcard(pattern, requested)


def alb_condition(condition: dict[str, Any], request: Request) -> bool:
    assert condition["field"] == "http-header", f"a condition on {condition['field']}"
    config = condition["httpHeaderConfig"]
    assert config["httpHeaderName"].lower() == HEADER.lower(), f"a condition on header {config['httpHeaderName']}"
    return request.tenant is not None and any(wildcard(v.lower(), request.tenant.lower()) for v in config["values"])


def wildcard(pattern: str, text: str) -> bool:
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), text) is not None


# Gateway API


def http_route(namespace: str, manifest: Manifest) -> Iterator[Route]:
    for rule in manifest["spec"]["rules"]:
        for match in rule.get("matches", [{}]):
            for backend in rule["backendRefs"]:
                assert backend.get("namespace", namespace) == namespace, "a Service elsewhere needs a ReferenceGrant"
                path, headers = match.get("path", {"type": "PathPrefix", "value": "/"}), match.get("headers", [])
                yield Route(
                    full_name(manifest),
                    namespace,
                    http_route_matcher(path, headers),
                    (path["type"] != "Exact", -len(path["value"]), -len(headers)),
                    backend["name"],
                    backend["port"],
                )


def http_route_matcher(path: dict[str, str], headers: list[dict[str, str]]) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        exact = path["type"] == "Exact"
        at_path = request.path == path["value"] if exact else under(path["value"], request.path)
        return at_path and all(header_matches(header, request) for header in headers)

    return matches


def header_matches(header: dict[str, str], request: Request) -> bool:
    assert header["name"].lower() == HEADER.lower(), f"a match on header {header['name']}"
    if request.tenant is None:
        return False
    if header.get("type", "Exact") == "Exact":
        return request.tenant == header["value"]
    return re.fullmatch(header["value"], request.tenant) is not None


# Traefik


def ingress_route(namespace: str, manifest: Manifest) -> Iterator[Route]:
    for rule in manifest["spec"]["routes"]:
        for service in rule["services"]:
            assert service.get("namespace", namespace) == namespace, "Traefik refuses Services of other namespaces"
            yield Route(
                full_name(manifest),
                namespace,
                traefik_matcher(rule["match"]),
                (-rule.get("priority", len(rule["match"])),),
                service["name"],
                service["port"],
            )


def traefik_matcher(rule: str) -> Callable[[Request], bool]:
    """Compiles Traefik's rule language: functions of backquoted text, joined by &&, || and !."""
    quoted = re.sub(r"`([^`]*)`", lambda match: repr(match[1]), rule)
    expression = quoted.replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    code = compile(expression.strip(), rule, "eval")

    def matches(request: Request) -> bool:
        def header(name: str, value: str) -> bool:
            return name.lower() == HEADER.lower() and request.tenant == value

        def header_regexp(name: str, value: str) -> bool:
            named = name.lower() == HEADER.lower() and request.tenant is not None
            return named and re.search(value, request.tenant or "") is not None

        functions = {
            "Path": lambda path: request.path == path,
            "PathPrefix": request.path.startswith,
            "Header": header,
            "HeaderRegexp": header_regexp,
            "Host": lambda _: True,
        }
        return bool(eval(code, {"__builtins__": {}}, functions))

    return matches


def under(prefix: str, path: str) -> bool:
    """Whether a path is below a prefix, element by element: /a contains /a and /a/b, not /ab."""
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")
