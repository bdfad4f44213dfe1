"""Strict schemas of Argo Events' kinds, whose CRDs no registry has.

EventSource and Sensor come from PyPI `hera`, whose models are generated from Argo's API; this module also refuses
unknown fields. `hera` has no EventBus: `eventbus.schema.json` is our own.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from hera.events.models import EventSource, Sensor
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from manifests import Manifest, full_name

API = "argoproj.io/v1alpha1"
KINDS = ("EventBus", "EventSource", "Sensor")
AS_WRITTEN: dict[str, dict[str, Any]] = {
    "Amount": {"type": ["number", "string"]},
    "Int64OrString": {"type": ["integer", "string"]},
    "K8SResource": {"type": "object"},
    "Quantity": {"type": ["number", "string"]},
}
"""JSON forms of types that the models describe as Go structures."""
OBJECT = {"apiVersion": {"const": API}, "kind": {"enum": list(KINDS)}}


@cache
def validator(kind: str) -> Draft202012Validator:
    if kind == "EventBus":
        return Draft202012Validator(json.loads(Path(__file__).with_name("eventbus.schema.json").read_text()))
    model = {"EventSource": EventSource, "Sensor": Sensor}[kind]
    schema = model.model_json_schema(by_alias=True)
    schema["properties"] |= OBJECT
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["$defs"] |= {name: known for name, known in AS_WRITTEN.items() if name in schema["$defs"]}
    if sqs := schema["$defs"].get("SQSEventSource"):
        sqs["properties"]["waitTimeSeconds"] = {"type": "integer", "minimum": 0, "maximum": 20}
    for definition in (schema, *schema["$defs"].values()):
        close(definition)
    return Draft202012Validator(schema)


def close(definition: dict[str, Any]) -> None:
    """Refuses unlisted fields. A definition without fields is a map or an object of another kind, and stays open."""
    if definition.get("properties"):
        definition.setdefault("additionalProperties", False)


def errors(manifest: Manifest) -> list[str]:
    found = validator(manifest["kind"]).iter_errors(manifest)
    return [f"{full_name(manifest)}: {e.json_path}: {e.message}" for e in map(innermost, found)] + rules(manifest)


def innermost(error: ValidationError) -> ValidationError:
    """Finds the deepest error: for a value that may be null or an object, the object's."""
    while error.context:
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return error


def rules(manifest: Manifest) -> list[str]:
    """Checks the rules of Argo's own validation that no schema has, and this project's rules of a trigger."""
    if manifest["kind"] != "Sensor":
        return []
    spec, found = manifest["spec"], []
    names = {d["name"] for d in spec["dependencies"]}
    for trigger in spec["triggers"]:
        name = trigger["template"]["name"]
        used = {p["src"]["dependencyName"] for p in parameters(trigger)}
        dead_letter = trigger.get("dlqTrigger", {})
        if not (trigger.get("atLeastOnce") and trigger.get("retryStrategy") and dead_letter.get("atLeastOnce")):
            found.append(f"trigger {name}: needs atLeastOnce, retryStrategy and a dlqTrigger with atLeastOnce")
        if not used <= names or trigger["template"].get("conditions") not in names or len(used) != 1:
            found.append(f"trigger {name}: must depend on exactly one of {names}, not {used}")
    return found


def parameters(trigger: Manifest) -> list[Manifest]:
    own = trigger["template"]["k8s"].get("parameters", [])
    return own + (parameters(trigger["dlqTrigger"]) if "dlqTrigger" in trigger else [])
