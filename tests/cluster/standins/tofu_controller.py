"""Stands in for tofu-controller and for terraform/modules/tenant-apps: makes at the AWS endpoint what the module would.

    tofu_controller.py AWS_ENDPOINT_FILE

It reads each Terraform object's variables, makes queues, tables and parameters with boto3 as the module's files say,
and sets the condition Ready for the object's generation. With `destroyResourcesOnDeletion` it destroys them when the
object goes, unless a table is protected. It does not do: plans and approval, state, drift detection, runner pods and
their account, IAM roles and policies, tags, encryption, point-in-time recovery; it does not read the module's source,
but it does not begin before the object's source is Ready.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from api import Api, ApiError, Object, condition

KIND = "terraforms.infra.contrib.fluxcd.io"
FINALIZER = "finalizers.tf.contrib.fluxcd.io"
ACCOUNT = "arn:aws:{service}:us-east-1:000000000000:{name}"
MAX_RECEIVE_COUNT = "5"


class NotYet(Exception):
    """A precondition is not met; the message becomes the condition's."""


def clients(endpoint: str) -> tuple[Any, Any, Any]:
    options = Config(retries={"max_attempts": 2}, connect_timeout=2, read_timeout=10)
    session = boto3.Session("homelab", "homelab", region_name="us-east-1")
    sqs, dynamodb, ssm = (session.client(s, endpoint_url=endpoint, config=options) for s in ("sqs", "dynamodb", "ssm"))
    return sqs, dynamodb, ssm


def suffix(tenant: str, app: str) -> str:
    """The module's three random characters, which stay as long as its state does."""
    return hashlib.sha256(f"{tenant}/{app}".encode()).hexdigest()[:3]


class Module:
    """terraform/modules/tenant-apps with one tenant's variables."""

    def __init__(self, endpoint: str, variables: dict[str, Any]) -> None:
        self.sqs, self.dynamodb, self.ssm = clients(endpoint)
        self.tenant = variables["tenant_id"]
        self.is_pool = self.tenant.startswith("pool-")
        self.pool = variables.get("pool_id") or "pool-1"
        self.generation = str(variables.get("generation") or "")
        self.suspended = bool(variables.get("suspended"))
        self.delete_data = bool(variables.get("delete_data"))
        retained = variables.get("retain") or []
        self.enabled = {app: bool(variables.get(f"enable_{app}")) for app in ("producer", "consumer", "payments")}
        self.has_events = self.enabled["consumer"] or "consumer" in retained
        self.has_payments = self.enabled["payments"] or "payments" in retained
        self.tier = variables.get("tier") or self.derived_tier()
        self.consumer = f"consumer-{self.tenant}-{suffix(self.tenant, 'consumer')}"
        self.payments = f"payments-{self.tenant}-{suffix(self.tenant, 'payments')}"

    def derived_tier(self) -> str:
        if self.enabled["producer"] and self.enabled["consumer"]:
            return "premium"
        return "advanced" if any(self.enabled.values()) else "basic"

    def by_path(self, owner: str) -> dict[str, str]:
        pages = self.ssm.get_paginator("get_parameters_by_path").paginate(Path=f"/{owner}/")
        return {p["Name"].rpartition("/")[2]: p["Value"] for page in pages for p in page["Parameters"]}

    def apply(self) -> None:
        there = self.by_path(self.tenant)
        for has, app in ((self.has_events, "consumer"), (self.has_payments, "payments")):
            own = f":table/{getattr(self, app)}"
            if not has and not self.delete_data and any(value.endswith(own) for value in there.values()):
                raise NotYet(
                    f"{self.tenant} has a table of its own for {app}, which enable_{app} = false would destroy"
                )
        needs_pool = not self.is_pool and not (self.enabled["consumer"] and self.enabled["payments"])
        pool = self.by_path(self.pool) if needs_pool else {}
        if needs_pool and not (
            self.enabled["consumer"] or self.suspended or {"consumer_sqs", "consumer_ddb"} <= pool.keys()
        ):
            raise NotYet(f"Parameters /{self.pool}/consumer_sqs and /{self.pool}/consumer_ddb do not exist yet")
        if self.has_events:
            self.make_queue()
            self.make_table(self.consumer, "message_id", "listed", "tenant_id", "listed_at")
        if self.has_payments:
            self.make_table(self.payments, "sk", "outbox", "outbox_shard", "outbox_at")
        wanted = {}
        if self.enabled["consumer"]:
            wanted["consumer_sqs"] = ACCOUNT.format(service="sqs", name=self.consumer)
            wanted["consumer_ddb"] = ACCOUNT.format(service="dynamodb", name=f"table/{self.consumer}")
        elif "consumer_sqs" in pool:
            wanted |= {name: pool[name] for name in ("consumer_sqs", "consumer_ddb")}
        if self.enabled["payments"]:
            wanted["payments_ddb"] = ACCOUNT.format(service="dynamodb", name=f"table/{self.payments}")
        elif "payments_ddb" in pool:
            wanted["payments_ddb"] = pool["payments_ddb"]
        first: dict[str, str] = {}
        if not self.is_pool:
            wanted["tier"] = self.tier
            first = self.first(there)
        # In this order: without the generation a new owner would pass for the first, and services must know of a move
        # before they know the new home.
        for name, value in (first | wanted).items():
            if there.get(name) != value:
                self.put(f"/{self.tenant}/{name}", value)
        if not self.is_pool:
            self.put_index(first)
        for name in there.keys() - first.keys() - wanted.keys():
            self.ssm.delete_parameter(Name=f"/{self.tenant}/{name}")
        if not self.has_events:
            self.drop_queue()
            self.drop_table(self.consumer)
        if not self.has_payments:
            self.drop_table(self.payments)

    def first(self, there: dict[str, str]) -> dict[str, str]:
        """Parameters that services must read before those of the new home; parameters.tf explains them."""
        homes = {}
        for app, name in (("consumer", "consumer_sqs"), ("payments", "payments_ddb")):
            found = re.search(rf"[:/]{app}-(.+)-[a-z0-9]{{3}}$", there.get(name, ""))
            following = self.tenant if self.enabled[app] else self.pool
            has_moved = found is not None and found[1] != following
            homes[app] = found[1] if found and has_moved else there.get(f"unsettled_{app}")
            if app == "consumer":
                moved_from = found[1] if found and has_moved else there.get("moved_from")
        status = "suspended" if self.suspended else "moving" if homes["payments"] else "active"
        first = {"generation": self.generation} if self.generation else {}
        first["status"] = status
        if moved_from:
            first["moved_from"] = moved_from
        first |= {f"unsettled_{app}": home for app, home in homes.items() if home}
        if self.has_events and not self.enabled["consumer"]:
            first["retained_consumer_sqs"] = ACCOUNT.format(service="sqs", name=self.consumer)
            first["retained_consumer_ddb"] = ACCOUNT.format(service="dynamodb", name=f"table/{self.consumer}")
        if self.has_payments and not self.enabled["payments"]:
            first["retained_payments_ddb"] = ACCOUNT.format(service="dynamodb", name=f"table/{self.payments}")
        return first

    def put(self, name: str, value: str) -> None:
        self.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def put_index(self, first: dict[str, str]) -> None:
        """Writes the tenant's entries in the lists that the services of pools read."""
        self.put(f"/tenantry/tenants/{self.tenant}", self.tier)
        is_moving = any(name.startswith("unsettled_") for name in first)
        if is_moving or first["status"] != "active":
            self.put(f"/tenantry/refused/{self.tenant}", "moved" if is_moving else first["status"])
        else:
            self.ssm.delete_parameters(Names=[f"/tenantry/refused/{self.tenant}"])

    def destroy(self) -> None:
        self.ssm.delete_parameters(Names=[f"/tenantry/{path}/{self.tenant}" for path in ("tenants", "refused")])
        # The generation goes last: without it, a new owner would pass for the first.
        for name in sorted(self.by_path(self.tenant), key=lambda name: name == "generation"):
            self.ssm.delete_parameter(Name=f"/{self.tenant}/{name}")
        # Dependent objects are deleted first: while a table refuses its deletion, the queue stays, too.
        self.drop_table(self.consumer)
        self.drop_table(self.payments)
        self.drop_queue()

    def make_queue(self) -> None:
        dead = f"{self.consumer}-dlq"
        attributes = {"MessageRetentionPeriod": "1209600", "MaximumMessageSize": "1048576"}
        self.sqs.create_queue(QueueName=dead, Attributes=attributes)
        policy = {"deadLetterTargetArn": ACCOUNT.format(service="sqs", name=dead), "maxReceiveCount": MAX_RECEIVE_COUNT}
        self.sqs.create_queue(
            QueueName=self.consumer,
            Attributes={
                "VisibilityTimeout": "60",
                "ReceiveMessageWaitTimeSeconds": "20",
                "MaximumMessageSize": "1048576",
                "RedrivePolicy": json.dumps(policy),
            },
        )

    def drop_queue(self) -> None:
        for name in (self.consumer, f"{self.consumer}-dlq"):
            try:
                self.sqs.delete_queue(QueueUrl=self.sqs.get_queue_url(QueueName=name)["QueueUrl"])
            except ClientError as error:
                if "NonExistentQueue" not in error.response["Error"]["Code"] and "QueueDoesNotExist" not in str(error):
                    raise

    def make_table(self, name: str, sort: str, index: str, index_hash: str, index_sort: str) -> None:
        protected = not self.delete_data
        try:
            found = self.dynamodb.describe_table(TableName=name)["Table"]
            if found.get("DeletionProtectionEnabled", False) != protected:
                self.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=protected)
            return
        except self.dynamodb.exceptions.ResourceNotFoundException:
            pass
        keys = {"tenant_id", sort, index_hash, index_sort}
        self.dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=protected,
            KeySchema=[{"AttributeName": "tenant_id", "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(keys)],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": index,
                    "KeySchema": [
                        {"AttributeName": index_hash, "KeyType": "HASH"},
                        {"AttributeName": index_sort, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )

    def drop_table(self, name: str) -> None:
        try:
            if self.delete_data:
                self.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
            self.dynamodb.delete_table(TableName=name)
        except self.dynamodb.exceptions.ResourceNotFoundException:
            pass
        except ClientError as error:
            if "protection" in str(error).lower():
                raise NotYet(f"table {name} is protected from deletion") from None
            raise


def source_is_ready(api: Api, manifest: Object) -> bool:
    reference = manifest["spec"]["sourceRef"]
    plural = {"GitRepository": "gitrepositories", "OCIRepository": "ocirepositories"}[reference["kind"]]
    namespace = reference.get("namespace") or manifest["metadata"]["namespace"]
    source = api.find(f"{plural}.source.toolkit.fluxcd.io", reference["name"], namespace)
    return bool(source) and condition(source or {}).get("status") == "True"


def report(api: Api, manifest: Object, ready: bool, reason: str, message: str) -> None:
    before = condition(manifest)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = "True" if ready else "False"
    changed = now if before.get("status") != status else before["lastTransitionTime"]
    generation = manifest["metadata"]["generation"]
    api.patch(
        KIND,
        manifest["metadata"]["name"],
        manifest["metadata"]["namespace"],
        {
            "status": {
                "observedGeneration": generation,
                "conditions": [
                    {
                        "type": "Ready",
                        "status": status,
                        "reason": reason,
                        "message": message,
                        "observedGeneration": generation,
                        "lastTransitionTime": changed,
                    }
                ],
            }
        },
        part="status",
    )


def set_finalizers(api: Api, manifest: Object, finalizers: list[str]) -> None:
    metadata = manifest["metadata"]
    api.patch(KIND, metadata["name"], metadata["namespace"], {"metadata": {"finalizers": finalizers}})


def reconcile(api: Api, endpoint: str, manifest: Object) -> None:
    metadata, spec = manifest["metadata"], manifest["spec"]
    variables = {v["name"]: v.get("value") for v in spec.get("vars", [])}
    module = Module(endpoint, variables)
    finalizers = metadata.get("finalizers", [])
    if metadata.get("deletionTimestamp"):
        if FINALIZER not in finalizers:
            return
        if spec.get("destroyResourcesOnDeletion"):
            module.destroy()
        set_finalizers(api, manifest, [f for f in finalizers if f != FINALIZER])
        return
    if FINALIZER not in finalizers:
        set_finalizers(api, manifest, [*finalizers, FINALIZER])
    if spec.get("suspend"):
        return
    if not source_is_ready(api, manifest):
        raise NotYet(f"source {spec['sourceRef']['name']} is not ready")
    module.apply()
    report(api, manifest, True, "TerraformAppliedSucceed", "Applied successfully (by the stand-in)")


def is_done(manifest: Object) -> bool:
    status = manifest.get("status", {})
    return (
        not manifest["metadata"].get("deletionTimestamp")
        and status.get("observedGeneration") == manifest["metadata"]["generation"]
        and condition(manifest).get("status") == "True"
    )


class Controller:
    """Watches, and reconciles each object until its generation is done. A failed object is retried every 2 s."""

    def __init__(self, endpoint_file: Path) -> None:
        self.api = Api("standins")
        self.endpoint_file = endpoint_file
        self.pending: dict[tuple[str, str], Object] = {}
        self.lock = threading.Lock()
        self.changed = threading.Event()

    def watch(self) -> None:
        while True:
            try:
                for kind, manifest in self.api.watch(KIND, seconds=300):
                    key = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
                    with self.lock:
                        if kind == "DELETED" or is_done(manifest):
                            self.pending.pop(key, None)
                        else:
                            self.pending[key] = manifest
                            self.changed.set()
            except (OSError, ApiError, ValueError) as error:
                print(f"watch: {error}", flush=True)
                time.sleep(1)

    def work(self) -> None:
        while True:
            self.changed.wait(2)
            self.changed.clear()
            with self.lock:
                todo = dict(self.pending)
            for key, manifest in todo.items():
                self.work_on(key, manifest)

    def work_on(self, key: tuple[str, str], manifest: Object) -> None:
        name = f"{key[0]}/{key[1]} generation {manifest['metadata'].get('generation')}"
        try:
            if not self.endpoint_file.exists():
                raise NotYet("the AWS endpoint is not there yet")
            # The latest version: the watch may be older than this program's own writes.
            current = self.api.find(KIND, key[1], key[0])
            if current and not is_done(current):
                reconcile(self.api, self.endpoint_file.read_text().strip(), current)
                print(f"{name}: done", flush=True)
            with self.lock:
                if self.pending.get(key) is manifest:
                    del self.pending[key]
        except NotYet as error:
            self.say(manifest, name, str(error))
        except (ApiError, OSError, BotoCoreError, ClientError) as error:
            self.say(manifest, name, f"{type(error).__name__}: {error}")

    def say(self, manifest: Object, name: str, message: str) -> None:
        print(f"{name}: {message}", flush=True)
        if condition(manifest).get("message") == message:
            return
        try:
            report(self.api, manifest, False, "TFExecApplyFailed", message)
        except (ApiError, OSError) as error:
            print(f"{name}: status: {error}", flush=True)


def main() -> None:
    controller = Controller(Path(sys.argv[1]))
    threading.Thread(target=controller.watch, daemon=True).start()
    controller.work()


if __name__ == "__main__":
    main()
