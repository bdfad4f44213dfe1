"""The admission policies of the tree, evaluated as the API server does: match, conditions, variables, validations.

PyPI `common-expression-language` evaluates CEL. It has fewer functions than the API server and no types: what compiles
and holds on the real one is shown by tests/cluster/test_admission.py, which sends the same requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from manifests import Manifest

HOME = "flux-tenants"
APPLIER = "system:serviceaccount:flux-system:tenant-applier"
RECONCILER = "system:serviceaccount:flux-tenants:tenant-reconciler"
KUSTOMIZE = "system:serviceaccount:flux-system:kustomize-controller"
HELM = "system:serviceaccount:flux-system:helm-controller"
SOURCE = "system:serviceaccount:flux-system:source-controller"
ADMINISTRATOR = "kubernetes-admin"

TENANT = "tenantry.dev/tenant"
OWNER = "kustomize.toolkit.fluxcd.io/name"
"""The label of the Kustomization that applies an object; kustomize-controller sets it."""
RELEASE = "meta.helm.sh/release-name"


def plural(kind: str) -> str:
    """The resource of a kind."""
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


@dataclass(frozen=True)
class Request:
    """One request: who asks, for what, on which object."""

    account: str
    operation: str
    manifest: Manifest
    old: Manifest | None = None
    subresource: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the object's namespace, beside its name."""

    @property
    def group(self) -> str:
        return self.manifest["apiVersion"].rpartition("/")[0]

    @property
    def namespace(self) -> str:
        return self.manifest["metadata"].get("namespace", "")

    @property
    def resource(self) -> str:
        return plural(self.manifest["kind"])

    def namespace_labels(self) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": self.namespace, **self.labels}

    def context(self) -> Manifest:
        own = {"name": self.namespace, "labels": self.namespace_labels()}
        return {
            "request": {
                "userInfo": {"username": self.account},
                "operation": self.operation,
                "namespace": self.namespace,
                "resource": {"group": self.group, "version": "v1", "resource": self.resource},
                **({"subResource": self.subresource} if self.subresource else {}),
            },
            "namespaceObject": {"metadata": own} if self.namespace else None,
            "object": None if self.operation == "DELETE" else self.manifest,
            "oldObject": self.manifest if self.operation == "DELETE" else self.old,
        }


def refusals(policies: Iterable[Manifest], request: Request) -> list[str]:
    """Every validation that the request breaks, as `policy: message`; empty where admission accepts it."""
    return [found for policy in policies for found in broken(policy, request)]


def broken(policy: Manifest, request: Request) -> Iterator[str]:
    spec, context = policy["spec"], request.context()
    if not applies(spec["matchConstraints"], request):
        return
    if not all(holds(c["expression"], context) for c in spec.get("matchConditions", [])):
        return
    context["variables"] = {}
    for variable in spec.get("variables", []):
        context["variables"][variable["name"]] = value(variable["expression"], context)
    for validation in spec["validations"]:
        if not holds(validation["expression"], context):
            yield f"{policy['metadata']['name']}: {validation['message']}"


def holds(expression: str, context: Manifest) -> bool:
    """A failure counts as false, as `failurePolicy: Fail` says."""
    return value(expression, context) is True


def value(expression: str, context: Manifest) -> Any:
    try:
        return program(expression).execute(context)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        return f"evaluation failed: {error}"


@cache
def program(expression: str) -> Any:
    import cel

    return cel.compile(expression)


def applies(constraints: Manifest, request: Request) -> bool:
    def matches(words: list[str], word: str) -> bool:
        return "*" in words or word in words

    whole = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    names = {whole, "*/*", f"*/{request.subresource}" if request.subresource else "*"}
    labels = request.namespace_labels()
    for rule in constraints.get("namespaceSelector", {}).get("matchExpressions", []):
        found = labels.get(rule["key"])
        if not request.namespace or found is None or (rule["operator"] == "In" and found not in rule["values"]):
            return False
    return any(
        matches(rule["apiGroups"], request.group)
        and names & set(rule["resources"])
        and matches(rule["operations"], request.operation)
        for rule in constraints["resourceRules"]
    )
