"""Generates lint's schemas of Flux's kinds from Flux's own definitions (Apache-2.0).

The schemas are stricter than the definitions: an unknown field, which the API server drops silently, is an error. They
have no descriptions. Usage, with PyYAML and the modules in the cache of Go (`go mod download MODULE@VERSION`, for
example github.com/fluxcd/helm-controller/api):

    python generate.py "$(go env GOMODCACHE)"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HOME = Path(__file__).parent
KINDS = {
    "helm-controller@v1.4.0": {"helmreleases": "v2"},
    "kustomize-controller@v1.10.1": {"kustomizations": "v1"},
    "source-controller@v1.10.1": {"gitrepositories": "v1", "helmrepositories": "v1", "ocirepositories": "v1"},
}
KEPT = {"type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "required"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "namespace": {"type": "string", "minLength": 1},
        "labels": TEXTS,
        "annotations": TEXTS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
    },
}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in draft 7, closed to unknown fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    out = {key: value for key, value in schema.items() if key in KEPT}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            out[key] = schema[key]
    if "properties" in schema:
        out["properties"] = {name: strict(below) for name, below in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        out["items"] = strict(schema["items"])
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema:
        # An open object, for example the values of a chart.
        return {"type": "object"} if schema.get("type") == "object" else {}
    return out


def main(cache: Path) -> None:
    for module, kinds in KINDS.items():
        for plural, version in kinds.items():
            found = list((cache / "github.com/fluxcd" / module / "config/crd/bases").glob(f"*_{plural}.yaml"))
            definition = yaml.safe_load(found[0].read_text())["spec"]
            served = next(v for v in definition["versions"] if v["name"] == version)
            schema = strict(served["schema"]["openAPIV3Schema"])
            schema["properties"].pop("status", None)
            schema["properties"]["metadata"] = METADATA
            schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
            head = {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "$comment": f"Made by generate.py from github.com/fluxcd/{module}, Apache-2.0.",
            }
            file = HOME / f"{definition['names']['kind'].lower()}.json"
            file.write_text(json.dumps(head | schema, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
