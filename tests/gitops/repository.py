"""The GitOps repository as Flux reads it: files, kustomizations, and each cluster's applied objects.

Parses strictly and changes no file. The kustomize of the pinned kubectl builds. A broken copy of the tree is another
`Repository`, so that tests can show that every rule fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from engine import ROOT
from manifests import Manifest, ManifestError, StrictLoader, parse

GITOPS = ROOT / "gitops"
CLUSTERS = ("production", "homelab")
TENANTS = Path("application-plane/production/tenants")
POOLS = Path("application-plane/production/pooled-envs")
TEMPLATES = Path("application-plane/production/tier-templates")
TIERS = ("basic", "advanced", "premium")

KUSTOMIZATION = "kustomization.yaml"
FLUX_KUSTOMIZATION = "kustomize.toolkit.fluxcd.io/v1"
SUBSTITUTION = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""Placeholder that Flux replaces. Its other forms, such as defaults, are not used here."""

KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")


class BuildError(Exception):
    """kustomize refused a folder."""


@dataclass(frozen=True)
class Applied:
    """A Flux Kustomization and the objects that it applies."""

    name: str
    namespace: str
    spec: Manifest
    objects: tuple[Manifest, ...]


@dataclass(frozen=True)
class Repository:
    root: Path

    def files(self) -> list[Path]:
        """Every YAML file, relative to the root."""
        return sorted(p.relative_to(self.root) for p in self.root.rglob("*.y*ml"))

    def text(self, path: Path) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def documents(self, path: Path) -> list[Manifest]:
        return parse(self.text(path))

    def kustomization(self, folder: Path) -> dict[str, Any]:
        """Parses a kustomization.yaml, which has no metadata and so is not a Kubernetes object."""
        try:
            found = yaml.load(self.text(folder / KUSTOMIZATION), StrictLoader)
        except yaml.YAMLError as error:
            raise ManifestError(str(error)) from None
        if not isinstance(found, dict):
            raise ManifestError("kustomization.yaml is not a map")
        return found

    def kustomizations(self) -> list[Path]:
        """Folders with a kustomization.yaml."""
        return [p.parent for p in self.files() if p.name == KUSTOMIZATION]

    def build(self, folder: Path) -> str:
        return build(self.root / folder)

    def settings(self, cluster: str) -> dict[str, str]:
        (found,) = self.documents(Path(f"clusters/{cluster}/cluster-settings.yaml"))
        return found["data"]

    def applied(self, cluster: str) -> list[Applied]:
        """Everything that the cluster applies, beginning with its own folder, in the order of its lists."""
        root = parse(self.build(Path("clusters") / cluster))
        first = Applied("", "", {"path": f"./clusters/{cluster}"}, tuple(root))
        return [first, *self.applied_by(first, self.settings(cluster))]

    def applied_by(self, parent: Applied, settings: dict[str, str]) -> Iterator[Applied]:
        for found in parent.objects:
            if (found["apiVersion"], found["kind"]) != (FLUX_KUSTOMIZATION, "Kustomization"):
                continue
            metadata, spec = found["metadata"], found["spec"]
            if metadata["name"] == "flux-system":
                continue  # the root, already applied
            text = self.build(Path(spec["path"]))
            if "postBuild" in spec:
                text = SUBSTITUTION.sub(lambda match: settings.get(match[1], "unset"), text)
            child = Applied(metadata["name"], metadata["namespace"], spec, tuple(parse(text)))
            yield child
            yield from self.applied_by(child, settings)

    def objects(self, cluster: str) -> list[Manifest]:
        return [o for applied in self.applied(cluster) for o in applied.objects]


@cache
def build(folder: Path) -> str:
    assert KUBECTL, "kubectl, which contains kustomize, is not installed: its wheel is for Linux, elsewhere install it"
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(done.stderr.strip())
    return done.stdout


def full_id(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
