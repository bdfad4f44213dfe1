"""A stand-in for the AWS and random providers: serves schemas, plans and resources to the engine, over gRPC.

Terraform and OpenTofu need a provider, and many builds may not reach the registry of the real ones. The stand-in has
the real provider's schema (`aws_schema.json`), so `validate` and `test` find the same mistakes. It makes planned
resources at any AWS endpoint (`resources.py`), so `apply` makes queues and tables. It lacks the checks in the real
provider's code: ranges of numbers, and combinations of attributes.

`TF_REATTACH_PROVIDERS` gives the engine the stand-in's address, so no provider is installed.
"""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

HERE = Path(__file__).resolve().parent
# Encoding of a value that is unknown before apply.
UNKNOWN = msgpack.ExtType(0, b"\0")

Values = dict[str, Any]
Schema = dict[str, Any]

RANDOM_STRING: Schema = {
    "attributes": {
        "length": {"type": "number", "required": True},
        **{name: {"type": "bool", "optional": True} for name in ("upper", "lower", "numeric", "special")},
        **{name: {"type": "number", "optional": True} for name in ("min_lower", "min_numeric", "min_upper")},
        "keepers": {"type": ["map", "string"], "optional": True},
        "id": {"type": "string", "computed": True},
        "result": {"type": "string", "computed": True},
    },
    "blocks": {},
}
PROVIDER_ATTRIBUTES: Schema = {
    "attributes": {"region": {"type": "string", "optional": True}},
    "blocks": {},
}


class Resources(Protocol):
    """Makes planned resources. Each call returns the computed values."""

    def create(self, kind: str, planned: Values) -> Values: ...

    def update(self, kind: str, prior: Values, planned: Values) -> Values: ...

    def delete(self, kind: str, prior: Values) -> None: ...

    def read(self, kind: str, config: Values) -> Values: ...


def schemas() -> dict[str, dict[str, Schema]]:
    """Returns the resources and data sources of every provider."""
    aws = json.loads((HERE / "aws_schema.json").read_text())
    return {
        "aws": {"resource": aws["resource"], "data": aws["data"]},
        "random": {"resource": {"random_string": RANDOM_STRING}, "data": {}},
    }


def unpack(value: pb.DynamicValue) -> Any:
    return msgpack.unpackb(value.msgpack) if value.msgpack else json.loads(value.json or b"null")


def pack(value: Any) -> pb.DynamicValue:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


NESTING = {
    "list": pb.Schema.NestedBlock.LIST,
    "set": pb.Schema.NestedBlock.SET,
    "single": pb.Schema.NestedBlock.SINGLE,
}


def to_block(schema: Schema) -> pb.Schema.Block:
    attributes = [
        pb.Schema.Attribute(
            name=name,
            type=json.dumps(attribute["type"]).encode(),
            **{key: attribute.get(key, False) for key in ("required", "optional", "computed", "sensitive")},
        )
        for name, attribute in schema["attributes"].items()
    ]
    blocks = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=to_block(block),
            nesting=NESTING[block["nesting"]],
            min_items=1 if block["required"] and block["nesting"] != "single" else 0,
        )
        for name, block in schema["blocks"].items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=blocks)


def to_schema(schema: Schema) -> pb.Schema:
    return pb.Schema(version=0, block=to_block(schema))


# Attributes whose change replaces the resource.
FIXED = {"name", "hash_key", "range_key", "queue_url", "role", "cluster_name", "namespace", "service_account", "url"}


class Servicer(rpc.ProviderServicer):
    """The provider protocol, version 6, as far as the engines need it here."""

    def __init__(self, known: dict[str, dict[str, Schema]], resources: Resources) -> None:
        self._known = known
        self._resources = resources

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return pb.GetMetadata.Response(server_capabilities=pb.ServerCapabilities(plan_destroy=False))

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return pb.GetProviderSchema.Response(
            provider=to_schema(PROVIDER_ATTRIBUTES),
            resource_schemas={name: to_schema(schema) for name, schema in self._known["resource"].items()},
            data_source_schemas={name: to_schema(schema) for name, schema in self._known["data"].items()},
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        return pb.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        return pb.UpgradeResourceState.Response(upgraded_state=pack(json.loads(request.raw_state.json)))

    def ReadResource(self, request: Any, context: Any) -> Any:
        # Assumes that every resource still exists: the tests do not cover drift.
        return pb.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        prior, planned = unpack(request.prior_state), unpack(request.proposed_new_state)
        if planned is None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        attributes = self._known["resource"][request.type_name]["attributes"]
        replaced = [n for n in sorted(FIXED & attributes.keys()) if prior and prior[n] != planned[n]]
        if prior is None or replaced:
            config = unpack(request.config)
            for name, attribute in attributes.items():
                if attribute.get("computed") and config[name] is None:
                    planned[name] = UNKNOWN
        return pb.PlanResourceChange.Response(
            planned_state=pack(planned),
            requires_replace=[
                pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name=name)]) for name in replaced
            ],
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        prior, planned = unpack(request.prior_state), unpack(request.planned_state)
        kind = request.type_name

        def apply() -> Any:
            if planned is None:
                return self._resources.delete(kind, prior)
            given = {name: None if value == UNKNOWN else value for name, value in planned.items()}
            made = self._resources.create(kind, given) if prior is None else self._resources.update(kind, prior, given)
            return given | {name: value for name, value in made.items() if planned.get(name) == UNKNOWN}

        return answer(pb.ApplyResourceChange.Response, "new_state", apply, otherwise=prior)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        config = unpack(request.config)
        return answer(
            pb.ReadDataSource.Response, "state", lambda: config | self._resources.read(request.type_name, config)
        )

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return pb.GetFunctions.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()


def answer(response: Any, field: str, work: Callable[[], Any], otherwise: Any = None) -> Any:
    """Returns the work's result, or its error as a diagnostic for the engine."""
    try:
        return response(**{field: pack(work())})
    except Exception as error:  # the engine reports every error
        diagnostic = pb.Diagnostic(
            severity=pb.Diagnostic.ERROR, summary=str(error), detail="".join(traceback.format_exc(limit=-3))
        )
        return response(**{field: pack(otherwise)}, diagnostics=[diagnostic])


@contextmanager
def serving(folder: Path, resources: Resources) -> Iterator[dict[str, str]]:
    """Serves every provider, and yields the variable with their addresses for an engine."""
    attached, servers = {}, []
    for name, known in schemas().items():
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        rpc.add_ProviderServicer_to_server(Servicer(known, resources), server)
        socket = folder / f"{name}.sock"
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        servers.append(server)
        listening = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            # Prevents the engine from ending this process.
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
        # Without a registry's host, because each engine has its own.
        attached[f"hashicorp/{name}"] = listening
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps(attached)}
    finally:
        done: list[threading.Event] = [server.stop(grace=0) for server in servers]
        for event in done:
            event.wait(5)
