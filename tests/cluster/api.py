"""A small client of the Kubernetes API: objects are dictionaries, errors have the server's message."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from layout import API_SERVER, PKI

Object = dict[str, Any]
IRREGULAR = {"EventBus": "eventbus"}


class ApiError(Exception):
    """The server refused."""

    def __init__(self, status: int, body: Object) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', body)}")


class Api:
    """One identity at the API server: the administrator, or a service account by impersonation."""

    def __init__(self, identity: str = "admin", as_user: str | None = None, server: str = API_SERVER) -> None:
        self.server = server
        self.as_user = as_user
        self.tls = ssl.create_default_context(cafile=PKI / "kubernetes.crt")
        self.tls.load_cert_chain(PKI / f"{identity}.crt", PKI / f"{identity}.key")
        self.local = threading.local()

    def impersonate(self, namespace: str, account: str) -> Api:
        """The same client as a service account."""
        other = Api.__new__(Api)
        other.__dict__.update(
            self.__dict__, as_user=f"system:serviceaccount:{namespace}:{account}", local=threading.local()
        )
        return other

    def headers(self) -> dict[str, str]:
        found = {"Accept": "application/json"}
        if self.as_user:
            found["Impersonate-User"] = self.as_user
            if self.as_user.startswith("system:serviceaccount:"):
                namespace = self.as_user.split(":")[2]
                found["Impersonate-Group"] = f"system:serviceaccounts:{namespace}"
        return found

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str) -> Any:
        """Sends one request; a connection that the server has closed meanwhile is opened again, once."""
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None) or http.client.HTTPSConnection(
                self.server, context=self.tls, timeout=30
            )
            self.local.connection = connection
            try:
                connection.request(method, path, data, {**self.headers(), "Content-Type": kind})
                answer = connection.getresponse()
                text = answer.read()
                break
            except (http.client.HTTPException, OSError):
                connection.close()
                self.local.connection = None
                if attempt == 2:
                    raise
        try:
            parsed = json.loads(text) if text else {}
        except json.JSONDecodeError:
            parsed = {"message": text.decode(errors="replace")}
        if answer.status >= 400:
            raise ApiError(answer.status, parsed)
        return parsed if isinstance(parsed, dict | list) else {"message": parsed}

    def raw(self, path: str) -> str:
        """The answer as text, for metrics and logs."""
        connection = http.client.HTTPSConnection(self.server, context=self.tls, timeout=30)
        try:
            connection.request("GET", path, headers=self.headers())
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(answer.status, {"message": text})
        return text

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return self.ask("GET", address(kind, namespace, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        return self.ask("GET", address(kind, namespace), **query)["items"]

    def create(self, manifest: Object, **query: str) -> Object:
        return self.ask("POST", address_of(manifest, named=False), manifest, **query)

    def replace(self, manifest: Object, **query: str) -> Object:
        return self.ask("PUT", address_of(manifest), manifest, **query)

    def apply(self, manifest: Object, manager: str = "tenantry-cluster", **query: str) -> Object:
        """Server-side apply."""
        return self.ask(
            *("PATCH", address_of(manifest), manifest, "application/apply-patch+yaml"),
            **{"fieldManager": manager, "force": "true", **query},
        )

    def patch(self, kind: str, name: str, namespace: str | None, change: Any, part: str = "", **query: str) -> Object:
        """A merge patch of an object, or of a part of it such as `status`."""
        path = address(kind, namespace, name) + (f"/{part}" if part else "")
        return self.ask("PATCH", path, change, "application/merge-patch+json", **query)

    def delete(self, kind: str, name: str, namespace: str | None = None, **query: str) -> Object | None:
        try:
            return self.ask("DELETE", address(kind, namespace, name), **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def log(self, pod: str, namespace: str, **query: str) -> str:
        return self.raw(f"/api/v1/namespaces/{namespace}/pods/{pod}/log?{urlencode(query)}")

    def watch(self, kind: str, namespace: str | None = None, seconds: int = 30) -> Iterator[tuple[str, Object]]:
        """Events from now on, beginning with every object there is; ends after some seconds."""
        connection = http.client.HTTPSConnection(self.server, context=self.tls, timeout=seconds + 10)
        try:
            path = f"{address(kind, namespace)}?watch=true&timeoutSeconds={seconds}"
            connection.request("GET", path, headers=self.headers())
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiError(answer.status, {"message": answer.read().decode(errors="replace")})
            while line := answer.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()


GROUPS = {
    "": "v1",
    "apps": "v1",
    "autoscaling": "v2",
    "policy": "v1",
    "batch": "v1",
    "networking.k8s.io": "v1",
    "rbac.authorization.k8s.io": "v1",
    "apiextensions.k8s.io": "v1",
    "admissionregistration.k8s.io": "v1",
    "storage.k8s.io": "v1",
    "discovery.k8s.io": "v1",
    "metrics.k8s.io": "v1beta1",
    "gateway.networking.k8s.io": "v1",
    "source.toolkit.fluxcd.io": "v1",
    "kustomize.toolkit.fluxcd.io": "v1",
    "helm.toolkit.fluxcd.io": "v2",
    "infra.contrib.fluxcd.io": "v1alpha2",
    "notification.toolkit.fluxcd.io": "v1",
    "external-secrets.io": "v1",
    "traefik.io": "v1alpha1",
}
"""The versions that are asked for where a kind is named as `deployments.apps`."""


def address(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """The path of `pods`, `deployments.apps`, … or of one of them."""
    plural, _, group = kind.partition(".")
    base = f"/apis/{group}/{GROUPS[group]}" if group else "/api/v1"
    inside = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"{base}{inside}/{plural}" + (f"/{quote(name, safe=':')}" if name else "")


CLUSTER_WIDE = {
    *("Namespace", "Node", "PersistentVolume", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"),
    *("GatewayClass", "ClusterSecretStore", "ClusterExternalSecret", "ValidatingAdmissionPolicy", "StorageClass"),
    *("ValidatingAdmissionPolicyBinding", "APIService", "PriorityClass", "NodePool", "EC2NodeClass", "IngressClass"),
}


def plural_of(kind: str) -> str:
    if kind in IRREGULAR:
        return IRREGULAR[kind]
    lower = kind.lower()
    if lower.endswith("y") and not lower.endswith(("ay", "ey", "oy")):
        return lower[:-1] + "ies"
    return lower + ("es" if lower.endswith(("s", "x", "ch", "sh")) else "s")


def address_of(manifest: Object, named: bool = True) -> str:
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind not in CLUSTER_WIDE:
        base += f"/namespaces/{quote(metadata.get('namespace', 'default'))}"
    path = f"{base}/{plural_of(kind)}"
    return f"{path}/{quote(metadata['name'], safe=':')}" if named else path


def condition(manifest: Object, kind: str = "Ready") -> Object:
    """A condition of an object's status; {} where there is none."""
    found = manifest.get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == kind), {})


def is_current(manifest: Object, kind: str = "Ready") -> bool:
    """True if the condition is true for the object's present generation."""
    status = manifest.get("status", {})
    return condition(manifest, kind).get("status") == "True" and status.get(
        "observedGeneration", manifest["metadata"].get("generation")
    ) == manifest["metadata"].get("generation")


def pki_path(name: str) -> Path:
    return PKI / name
