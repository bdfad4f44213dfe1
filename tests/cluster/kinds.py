"""Custom resources' definitions: taken from the Go modules of their projects, else stand-ins.

`collect` copies them into .tools/cluster/kinds once; a start of the cluster only reads that folder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from layout import HOME, ROOT
from tools import module

KINDS = HOME / "kinds"
SCHEMA = ROOT / "tests" / "charts" / "terraform-v1alpha2.schema.json"

# Folder of KINDS: module, version, checksum, files.
MODULES = {
    "source-controller": (
        *("github.com/fluxcd/source-controller", "v1.9.4", "h1:psO6g4NTAMl3GD9gL8TMF3shM939XhTjFvlQXCK3pZ4="),
        "config/crd/bases/*.yaml",
    ),
    "kustomize-controller": (
        *("github.com/fluxcd/kustomize-controller", "v1.9.4", "h1:VBnBMhnemqnE5Zca2AoG2gC4472MoiTmk9rdqvLoMcY="),
        "config/crd/bases/*.yaml",
    ),
    "helm-controller": (
        *("github.com/fluxcd/helm-controller", "v1.4.0", "h1:rkm8rmB6Na7eNc4pJOnvtXEaJ19iKluRtayHKjBxcUM="),
        "config/crd/bases/*.yaml",
    ),
    "gateway-api": (
        *("sigs.k8s.io/gateway-api", "v1.6.1", "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY="),
        "config/crd/standard/gateway.networking.k8s.io_[a-uw-z]*.yaml",
    ),
    "traefik": (
        *("github.com/traefik/traefik/v3", "v3.7.13", "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw="),
        "docs/content/reference/dynamic-configuration/traefik.io_*.yaml",
    ),
    "external-secrets": (
        *("github.com/external-secrets/external-secrets", "v0.20.4", "h1:HhNAjWfFEshhItphr28SGsHzf2bUP7uDAOVLg76uNAg="),
        "config/crds/bases/external-secrets.io_*.yaml",
    ),
    "keda": (
        *("github.com/kedacore/keda/v2", "v2.18.1", "h1:h6bRt/IOxxtZpJlHSqhdH/lcInH7Z9obxg/JvWOmGAw="),
        "config/crd/bases/keda.sh_*.yaml",
    ),
    "karpenter": (
        *("sigs.k8s.io/karpenter", "v1.8.0", "h1:AmTHUPtnuL8IX9mbcD3NOohyk62idrBCBtM+8Wn6Jvk="),
        "pkg/apis/crds/*.yaml",
    ),
}

# Without a schema to be had: any content passes.
OPEN = {
    "flux-images": (
        ("image.toolkit.fluxcd.io", "v1", "ImageRepository", "imagerepositories", True),
        ("image.toolkit.fluxcd.io", "v1", "ImagePolicy", "imagepolicies", True),
        ("image.toolkit.fluxcd.io", "v1", "ImageUpdateAutomation", "imageupdateautomations", True),
    ),
    "flux-notifications": (
        ("notification.toolkit.fluxcd.io", "v1", "Receiver", "receivers", True),
        ("notification.toolkit.fluxcd.io", "v1beta3", "Alert", "alerts", True),
        ("notification.toolkit.fluxcd.io", "v1beta3", "Provider", "providers", True),
    ),
    "flux-others": (
        ("source.extensions.fluxcd.io", "v1beta1", "ArtifactGenerator", "artifactgenerators", True),
        ("fluxcd.controlplane.io", "v1", "ResourceSet", "resourcesets", True),
    ),
    "prometheus": (
        ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", True),
        ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", True),
        ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", True),
    ),
    "argo": (
        ("argoproj.io", "v1alpha1", "EventBus", "eventbus", True),
        ("argoproj.io", "v1alpha1", "EventSource", "eventsources", True),
        ("argoproj.io", "v1alpha1", "Sensor", "sensors", True),
        ("argoproj.io", "v1alpha1", "WorkflowTemplate", "workflowtemplates", True),
        ("argoproj.io", "v1alpha1", "Workflow", "workflows", True),
    ),
    "karpenter-aws": (("karpenter.k8s.aws", "v1", "EC2NodeClass", "ec2nodeclasses", False),),
}


def definition(
    group: str, version: str, kind: str, plural: str, namespaced: bool, schema: dict[str, Any] | None = None
) -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": schema or anything, "status": anything},
                        }
                    },
                }
            ],
        },
    }


def structural(schema: dict[str, Any] | bool, definitions: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema in the form that a CustomResourceDefinition takes: no references, a type everywhere.

    Unknown fields need no word: the API server refuses them where a schema names properties, and validation is strict.
    """
    if isinstance(schema, bool):
        return {"x-kubernetes-preserve-unknown-fields": True}
    if "$ref" in schema:
        return structural(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    found = {k: v for k, v in schema.items() if k in ("type", "enum", "pattern", "minimum", "maxLength", "required")}
    if "const" in schema:
        found |= {"type": "string", "enum": [schema["const"]]}
    if "properties" in schema:
        found["properties"] = {name: structural(part, definitions) for name, part in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "items" in schema:
        found["items"] = structural(schema["items"], definitions)
    is_open = found.get("type") == "object" and not {"properties", "additionalProperties"} & found.keys()
    if is_open or not isinstance(found.get("type"), str):
        return {"x-kubernetes-preserve-unknown-fields": True, **({"type": "object"} if is_open else {})}
    return found


def terraform() -> dict[str, Any]:
    schema = json.loads(SCHEMA.read_text())
    spec = structural(schema["properties"]["spec"], schema["$defs"])
    return definition("infra.contrib.fluxcd.io", "v1alpha2", "Terraform", "terraforms", True, spec)


def collect() -> None:
    for folder, (path, version, checksum, pattern) in MODULES.items():
        target, mark = KINDS / folder, KINDS / folder / ".version"
        if mark.exists() and mark.read_text() == checksum:
            continue
        source = module(path, version, checksum)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
        mark.write_text(checksum)


def of(*folders: str) -> list[dict[str, Any]]:
    """The definitions of some folders, of the stand-ins among them, or of `terraform`."""
    found: list[dict[str, Any]] = []
    for folder in folders:
        if folder == "terraform":
            found.append(terraform())
        elif folder in OPEN:
            found += [definition(*kind) for kind in OPEN[folder]]
        else:
            for file in sorted((KINDS / folder).glob("*.yaml")):
                found += [
                    d for d in yaml.safe_load_all(file.read_text()) if d and d["kind"] == "CustomResourceDefinition"
                ]
    return found


def write(folder: Path, *names: str) -> None:
    """Writes definitions as files, for the `crds` folder of a chart."""
    folder.mkdir(parents=True, exist_ok=True)
    for found in of(*names):
        (folder / f"{found['metadata']['name']}.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
