"""Strict parser of rendered manifests.

Helm does not check the text that templates make. An API server silently takes the last of two equal keys, or turns `on`
into a boolean. This parser refuses a repeated key, an ambiguous plain word and a null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

Manifest = dict[str, Any]


class ManifestError(Exception):
    """The text is not YAML that every parser reads alike."""


class StrictLoader(yaml.CSafeLoader):
    """Loads YAML that versions 1.1 and 1.2 read alike."""


def strict_mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise ManifestError(f"key {key!r} is not text; quote it, {key_node.start_mark}")
        if key in result:
            raise ManifestError(f"key {key!r} is repeated, {key_node.start_mark}")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off)|0[0-9]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+|.*_.*|\d{4}-\d\d?-\d\d?.*")
"""Plain words that one version of YAML reads as a boolean, a number or a date, and the other as text."""


def strict_scalar(loader: StrictLoader, node: yaml.ScalarNode) -> Any:
    if AMBIGUOUS.fullmatch(node.value):
        raise ManifestError(f"{node.value!r} needs quotes, {node.start_mark}")
    return yaml.SafeLoader.yaml_constructors[node.tag](loader, node)


StrictLoader.add_constructor("tag:yaml.org,2002:map", strict_mapping)
for kind in ("bool", "int", "float", "timestamp"):
    StrictLoader.add_constructor(f"tag:yaml.org,2002:{kind}", strict_scalar)


@cache
def parse_document(text: str) -> Manifest | None:
    try:
        manifest = yaml.load(text, StrictLoader)
    except yaml.YAMLError as error:
        raise ManifestError(f"{error}\n{text}") from None
    if manifest is None:
        return None
    if not isinstance(manifest, dict) or not {"apiVersion", "kind", "metadata"} <= manifest.keys():
        raise ManifestError(f"not a Kubernetes object, which has apiVersion, kind and metadata:\n{text}")
    nulls = [path for path, value in walk(manifest) if value is None]
    if nulls:
        raise ManifestError(f"null at {', '.join(nulls)}:\n{text}")
    return manifest


def parse(stream: str) -> list[Manifest]:
    """Parses the objects of a stream of documents."""
    documents = (parse_document(text) for text in re.split(r"(?m)^---\s*$", stream))
    return [document for document in documents if document]


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value inside a value, with its path."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from walk(inner, f"{path}[{i}]")


@dataclass(frozen=True)
class Release:
    """The objects of a chart installed under a name into a namespace."""

    name: str
    namespace: str
    objects: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [o for o in self.objects if o["kind"] in kinds]

    def find(self, kind: str, name: str) -> Manifest:
        found = [o for o in self.of(kind) if o["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name} in release {self.name}"
        return found[0]

    def namespace_of(self, manifest: Manifest) -> str:
        """Returns the manifest's namespace, else the release's, as Helm does."""
        return manifest["metadata"].get("namespace", self.namespace)

    def workloads(self) -> Iterator[tuple[Manifest, Manifest]]:
        """Yields each object that makes pods, `helm test` pods included, with its pod template."""
        for manifest in self.objects:
            if manifest["kind"] == "Pod":
                yield manifest, manifest
            elif manifest["kind"] in ("DaemonSet", "Deployment", "Job", "StatefulSet"):
                yield manifest, manifest["spec"]["template"]
            elif manifest["kind"] == "CronJob":
                yield manifest, manifest["spec"]["jobTemplate"]["spec"]["template"]


def full_name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def is_test(manifest: Manifest) -> bool:
    """Whether the object exists only while `helm test` runs."""
    return "test" in manifest["metadata"].get("annotations", {}).get("helm.sh/hook", "")


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a Service's selector matches; an empty one matches nothing."""
    return bool(selector) and selector.items() <= labels.items()


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector matches (every kind but Service has one); an empty one matches every object."""
    for rule in selector.get("matchExpressions", []):
        value = labels.get(rule["key"])
        holds = {
            "In": value in rule.get("values", []),
            "NotIn": value not in rule.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[rule["operator"]]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def env_of(container: Manifest) -> dict[str, Any]:
    """Returns each variable's value, or its `valueFrom`."""
    return {v["name"]: v["value"] if "value" in v else v["valueFrom"] for v in container.get("env", [])}
