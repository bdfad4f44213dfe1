"""`tenantctl lint` finds what admission refuses of a tenant's file, so that a bad commit is found before the push."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from admission import APPLIER, KUSTOMIZE, RECONCILER, Request, refusals
from attacks import VALUES, changed, flux_attacks, labelled, release_attacks, tenants_release
from combinations import IDENTITIES, installed, merge
from engine import ROOT, TENANT_CHART
from manifests import Manifest, is_test
from released import SEED, as_helm_writes, case_of
from repository import GITOPS, POOLS, TEMPLATES, TENANTS
from test_admission import PLACES, namespace_labels, policies
from test_commands import PROGRAM, run

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the CEL evaluator needs Python 3.11 or newer")

PREMIUM = TENANTS / "premium"
POOL = POOLS / "pool-1.yaml"
VARIABLES = ROOT / "terraform" / "modules" / "tenant-apps" / "variables.tf"
SCHEMA = ROOT / "tenantctl" / "schemas" / "helmrelease.json"
OF_TYPE: dict[str, Any] = {"string": "a", "boolean": True, "integer": 1, "number": 1, "array": [], "object": {}}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(GITOPS, tmp_path_factory.mktemp("lint") / "gitops")


def findings(tree: Path, path: Path, *objects: Manifest) -> list[dict[str, Any]]:
    """The errors of the repository with this file, which is listed as `tenantctl` lists a tenant."""
    file, listed = tree / path, tree / path.parent / "kustomization.yaml"
    kept = {each: each.read_bytes() if each.exists() else None for each in (file, listed)}
    if kept[file] is None:
        listed.write_text(listed.read_text() + f"- {path.name}\n")
    file.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    try:
        done = run(PROGRAM, ["lint", "--repository", str(tree), "--output", "json"])
    finally:
        for each, content in kept.items():
            each.unlink(missing_ok=True) if content is None else each.write_bytes(content)
    found = json.loads(done.stdout)["findings"]
    errors = [each for each in found if each["severity"] == "error"]
    assert (done.returncode != 0) == bool(errors), done.stderr
    return errors


def documents(path: Path, old: str = "", new: str = "") -> tuple[Manifest, Manifest]:
    """The Namespace and the HelmRelease of a file, under another name."""
    namespace, release = yaml.safe_load_all((GITOPS / path).read_text().replace(old, new))
    return namespace, release


def tenants_namespace(tenant: str) -> Manifest:
    return documents(TEMPLATES / "premium_tenant_template.yaml", "tenant-template", tenant)[0]


def committed(release: Manifest) -> tuple[Path, Manifest, Manifest]:
    """The file of a release in the folder of the premium tier."""
    name = release["metadata"]["name"]
    return PREMIUM / f"{name}.yaml", tenants_namespace(name), release


def test_what_admission_accepts_is_clean(tree: Path) -> None:
    assert findings(tree, *committed(tenants_release())) == []
    assert findings(tree, *committed(tenants_release(tenant="tenant-1"))) == []
    assert findings(tree, POOL, *documents(POOL)) == []


def test_every_refused_release_is_found(tree: Path) -> None:
    missed = [a.name for a in release_attacks(APPLIER) if not findings(tree, *committed(a.request.manifest))]
    assert missed == []


def test_every_refused_object_beside_a_release_is_found(tree: Path) -> None:
    path, namespace, release = committed(tenants_release(tenant="tenant-1"))
    found = {a.name: a.request for a in flux_attacks(KUSTOMIZE) if a.request.operation == "CREATE"}
    assert len(found) > 20
    missed = [name for name, r in found.items() if not findings(tree, path, namespace, release, r.manifest)]
    assert missed == []


def test_every_refused_namespace_is_found(tree: Path) -> None:
    refused = {
        name: request.manifest
        for name, (request, is_allowed) in PLACES.items()
        if not is_allowed and request.account == APPLIER and request.operation == "CREATE"
    }
    assert len(refused) > 5
    release = tenants_release(tenant="tenant-9")
    missed = [name for name, o in refused.items() if not findings(tree, PREMIUM / "tenant-9.yaml", o, release)]
    assert missed == []


@pytest.mark.parametrize("name", VALUES)
def test_values_whose_objects_are_refused_are_found(name: str, tree: Path) -> None:
    release = tenants_release(**VALUES[name])
    # Only IRSA, which a cluster chooses, has roles in accounts.
    irsa = changed(release, {"spec|values": merge(IDENTITIES["irsa"], release["spec"]["values"])})
    made = installed(case_of(SEED, "production", irsa))
    objects = [as_helm_writes(made, o) for o in made.objects if not is_test(o)]
    requests = [Request(RECONCILER, "CREATE", o, labels=namespace_labels(o["metadata"]["namespace"])) for o in objects]
    assert [r for r in requests if refusals(policies("production"), r)], "no object is refused"
    assert findings(tree, *committed(release))
    path = TEMPLATES / "premium_tenant_template.yaml"
    namespace, template = documents(path)
    template["spec"]["values"] = merge(template["spec"]["values"], VALUES[name])
    assert findings(tree, path, namespace, template), "a template"


def admits(release: Manifest) -> bool:
    return refusals(policies("production"), Request(APPLIER, "CREATE", release)) == []


def fields() -> Iterator[dict[str, Any]]:
    """A change for each field of the closed lists."""
    spec = json.loads(SCHEMA.read_text())["properties"]["spec"]
    for path in ((), ("chart",), ("chart", "spec"), ("install",), ("upgrade",)):
        at = spec
        for step in path:
            at = at["properties"][step]
        for name, field in at["properties"].items():
            yield {"|".join(("spec", *path, name)): OF_TYPE[field.get("type", "object")]}
    defaults = yaml.safe_load((TENANT_CHART / "values.yaml").read_text())
    for section in (key for key, value in defaults.items() if isinstance(value, dict)):
        yield {f"spec|values|{section}": {}}
        yield {f"spec|values|{section}": None}
    for section in ("infra", "routing"):
        for key, value in defaults[section].items():
            yield {f"spec|values|{section}|{key}": value}
    schema = json.loads((TENANT_CHART / "values.schema.json").read_text())
    variables = set(schema["properties"]["infra"]["properties"]["vars"]["properties"])
    variables |= set(re.findall(r'^variable "(\w+)"', VARIABLES.read_text(), re.M)) | {"later"}
    for name in sorted(variables):
        yield {"spec|values|infra|vars": {name: None}}


def test_lint_and_admission_have_the_same_closed_lists(tree: Path) -> None:
    """A field of Flux, a section of the values and a variable of the module: for a tenant and for a pool."""
    bases = [committed(tenants_release()), (POOL, *documents(POOL))]
    differ, refused = [], 0
    for path, namespace, release in bases:
        there = labelled(release, "pooled-envs") if path == POOL else release
        assert admits(there)
        for change in fields():
            (field,) = change
            *parents, last = field.split("|")
            at: Any = release
            for step in parents:
                at = at.get(step, {})
            if change[field] is not None and last in at:
                continue  # of the template, which admission accepts
            is_found = any(f["rule"] == "release" for f in findings(tree, path, namespace, changed(release, change)))
            is_refused = not admits(changed(there, change))
            refused += is_refused
            if is_found != is_refused:
                differ.append((path.stem, change, f"lint: {is_found}, admission: {is_refused}"))
    assert differ == []
    assert refused > 50
