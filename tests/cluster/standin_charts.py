"""Stand-ins for the charts of other projects, under the same name, version and host.

Each HelmRelease below `infrastructure/components` gets one. A chart in `standins/charts` runs a program. Any other
has only the component's kinds and an account, for the objects that need the kinds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import helm_python
import yaml

import images
import kinds
from layout import HERE, HOME, HUB_NAMES, PAGES, PKI, ROOT

COMPONENTS = ROOT / "gitops" / "infrastructure" / "components"
OWN = HERE / "standins" / "charts"
BUILT = HOME / "charts"
KINDS_OF = {
    "gateway-helm": ("gateway-api", "traefik"),
    "external-secrets": ("external-secrets",),
    "tofu-controller": ("terraform",),
    "karpenter": ("karpenter", "karpenter-aws"),
    "argo-events": ("argo",),
}
ACCOUNT = """apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
"""


@dataclass(frozen=True)
class Wanted:
    """A chart that the tree asks for."""

    name: str
    version: str
    url: str

    @property
    def host(self) -> str:
        return self.url.split("://")[1].partition("/")[0]

    @property
    def folder(self) -> str:
        return self.url.split("://")[1].partition("/")[2]


def wanted() -> list[Wanted]:
    found = []
    for path in sorted(COMPONENTS.glob("*/release.yaml")):
        documents = list(yaml.safe_load_all(path.read_text()))
        urls = {d["metadata"]["name"]: d["spec"]["url"] for d in documents if d["kind"] == "HelmRepository"}
        for release in (d for d in documents if d["kind"] == "HelmRelease"):
            chart = release["spec"]["chart"]["spec"]
            found.append(Wanted(chart["chart"], chart["version"], urls[chart["sourceRef"]["name"]]))
    return found


def write(chart: Wanted) -> Path:
    """Writes a chart's folder and packs it."""
    folder = BUILT / chart.name
    shutil.rmtree(folder, ignore_errors=True)
    if (OWN / chart.name).exists():
        shutil.copytree(OWN / chart.name, folder)
    else:
        (folder / "templates").mkdir(parents=True)
        (folder / "templates" / "account.yaml").write_text(ACCOUNT)
        (folder / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 0.0.0\n")
    described = yaml.safe_load((folder / "Chart.yaml").read_text())
    (folder / "Chart.yaml").write_text(yaml.safe_dump({**described, "name": chart.name, "version": chart.version}))
    kinds.write(folder / "crds", *KINDS_OF.get(chart.name, ()))
    return Path(helm_python.package(folder, destination=BUILT))


def stamp() -> str:
    files = [
        Path(__file__),
        Path(kinds.__file__),
        *sorted(OWN.rglob("*.yaml")),
        *sorted(COMPONENTS.rglob("release.yaml")),
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def publish() -> None:
    """Pushes the charts to the hub and writes the indexes of the pages, where they are not those of this tree."""
    mark = BUILT / ".stamp"
    if mark.exists() and mark.read_text() == stamp():
        return
    BUILT.mkdir(parents=True, exist_ok=True)
    os.environ["SSL_CERT_FILE"] = str(PKI / "bundle.crt")
    indexes: dict[Path, dict] = {}
    with helm_python.RegistryClient() as client:
        for chart in wanted():
            package = write(chart)
            if chart.url.startswith("oci://"):
                client.push(package, f"oci://{HUB_NAMES[-1]}/{chart.folder}")
                continue
            folder = PAGES / chart.host / chart.folder
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package, folder / package.name)
            described = yaml.safe_load((BUILT / chart.name / "Chart.yaml").read_text())
            digest = images.digest(package.read_bytes())[7:]
            entry = {**described, "urls": [package.name], "created": "2026-01-01T00:00:00Z", "digest": digest}
            indexes.setdefault(folder, {})[chart.name] = [entry]
    for folder, entries in indexes.items():
        (folder / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": entries}))
    mark.write_text(stamp())
