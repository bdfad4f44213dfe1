"""One list of names that no tenant may have: the Rust type's. Chart, Terraform module and policy have copies.

A tenant whose id is a namespace of the platform would be committed, and the cluster's refusal would stop the
reconciliation of all tenants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import yaml

from engine import ROOT
from manifests import Manifest, walk
from repository import CLUSTERS, GITOPS

PLATFORM_LABEL = "tenantry.dev/tenant"
"""Namespaces with this label belong to tenants and pools."""


@dataclass(frozen=True)
class Names:
    exact: frozenset[str]
    prefixes: frozenset[str]

    def reserve(self, name: str) -> bool:
        return name in self.exact or name.startswith(tuple(self.prefixes))

    def without_pools(self) -> Names:
        """The chart, the module and the policy serve pools, too, whose names no tenant may have."""
        return Names(self.exact, self.prefixes - {"pool-"})


def quoted(text: str) -> frozenset[str]:
    found = re.findall(r'"([^"]+)"', text)
    assert len(found) == len(set(found)), "a name is listed twice"
    return frozenset(found)


def pattern(text: str) -> Names:
    """Reads `^(a|b)$|^(c|d)-`."""
    exact, prefixes = re.fullmatch(r"\^\(([a-z0-9|-]+)\)\$\|\^\(([a-z0-9|-]+)\)-", text).groups()
    return Names(frozenset(exact.split("|")), frozenset(f"{prefix}-" for prefix in prefixes.split("|")))


def prefixes(text: str) -> frozenset[str]:
    (found,) = re.findall(r'"\^\(([a-z0-9|]+)\)-"', text)
    return frozenset(f"{prefix}-" for prefix in found.split("|"))


def services() -> Names:
    source = (ROOT / "shared/tenancy/src/tenant.rs").read_text()
    exact, begin = re.findall(r"const RESERVED\w*: [^=]*=\s*\[(.*?)\]", source, re.DOTALL)
    return Names(quoted(exact), quoted(begin))


def chart() -> Names:
    source = (ROOT / "helm-charts/helm-tenant-chart/templates/_validate.tpl").read_text()
    (block,) = re.findall(r"\$reserved := list (.*?)-}}(.*?)-}}", source, re.DOTALL)
    return Names(quoted(block[0]), prefixes(block[1]))


def module() -> Names:
    source = (ROOT / "terraform/modules/tenant-apps/variables.tf").read_text()
    (block,) = re.findall(r"!contains\(\s*\[(.*?)\],\s*var\.tenant_id\s*\) && (.*?)\n", source, re.DOTALL)
    return Names(quoted(block[0]), prefixes(block[1]))


def policy() -> Names:
    found = [
        re.search(r"object\.metadata\.name\.matches\('([^']+)'\)", rule["expression"])
        for path in (GITOPS / "infrastructure/base/tenancy").rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if document and document["kind"] == "ValidatingAdmissionPolicy"
        for rule in document["spec"]["validations"]
        if "reserved" in rule.get("message", "")
    ]
    (match,) = found
    return pattern(match[1])


@pytest.mark.parametrize("copy", [chart, module, policy])
def test_every_copy_of_the_list_equals_the_services_list(copy: object) -> None:
    assert copy() == services().without_pools()


def namespaces(objects: list[Manifest]) -> set[str]:
    """Every namespace that the platform makes, writes to or installs into, but those of tenants and pools."""
    theirs = {
        o["metadata"]["name"]
        for o in objects
        if o["kind"] == "Namespace" and PLATFORM_LABEL in o["metadata"].get("labels", {})
    }
    found = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    keys = {"namespace", "targetNamespace", "storageNamespace"}
    for o in objects:
        found |= {
            value for path, value in walk(o) if path.rpartition(".")[2] in keys and isinstance(value, str) and value
        }
    return found - theirs


@pytest.mark.parametrize("source", [*CLUSTERS, "argo", "worker"])
def test_every_namespace_of_the_platform_is_reserved(source: str, objects: dict[str, list[Manifest]]) -> None:
    found = namespaces(objects[source])
    assert found
    assert {name for name in found if not services().reserve(name)} == set()


def test_the_namespaces_of_the_guides_are_reserved() -> None:
    guides = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    found = set(re.findall(r"(?:--namespace|create namespace|get namespace) ([a-z][a-z0-9-]*)", guides))
    examples = re.compile(r"(tenant-\d+|pool-\d+|acme)")
    assert {name for name in found if not services().reserve(name) and not examples.fullmatch(name)} == set()


def test_the_names_of_the_sample_are_free() -> None:
    for name in ("tenant-1", "tenant-2", "tenant-3", "tenant-t1d6c", "acme", "tenant-template"):
        assert not services().reserve(name), name
    assert not services().without_pools().reserve("pool-1")
