"""Shared by the tests: all objects of both clusters and both overlays, parsed and checked once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import argo_events
from engine import KUBERNETES
from manifests import Manifest, parse
from repository import CLUSTERS, GITOPS, KUBECTL, SUBSTITUTION, TEMPLATES, Repository
from schemas import Checker

SEED = Repository(GITOPS)
CHECKER = pytest.StashKey[Checker]()


def everything() -> dict[str, list[Manifest]]:
    """All objects by origin: the clusters, both overlays, the tier templates."""
    found = {cluster: SEED.objects(cluster) for cluster in CLUSTERS}
    settings = SEED.settings("production")
    for overlay in ("argo", "worker"):
        text = SUBSTITUTION.sub(lambda match: settings[match[1]], SEED.build(Path("control-plane/overlays") / overlay))
        found[overlay] = parse(text)
    for path in SEED.files():
        if path.parent == TEMPLATES:
            found[path.stem] = SEED.documents(path)
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CHECKER] = Checker()


@pytest.fixture(scope="session")
def objects() -> dict[str, list[Manifest]]:
    return everything()


@pytest.fixture(scope="session")
def checker(request: pytest.FixtureRequest, objects: dict[str, list[Manifest]]) -> Checker:
    checker = request.config.stash[CHECKER]
    checker.prepare(o for found in objects.values() for o in found if o["kind"] not in argo_events.KINDS)
    return checker


def errors(checker: Checker, manifest: Manifest, kubernetes: str) -> list[str]:
    if manifest["apiVersion"] == argo_events.API and manifest["kind"] in argo_events.KINDS:
        return argo_events.errors(manifest)
    return checker.errors(manifest, kubernetes)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    checker = config.stash[CHECKER]
    if not checker.distinct:
        return
    out = terminalreporter
    out.section("gitops")
    out.line(f"built by the kustomize of {KUBECTL}, checked for Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}")
    for line in checker.summary():
        out.line(line)
    out.line("    by PyPI hera: EventSource, Sensor; by our own schema: EventBus")
    out.line("not checked: values of third-party charts; CEL's types, which the API server of tests/cluster checks")
