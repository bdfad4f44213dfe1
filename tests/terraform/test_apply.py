"""The module, applied for a pool and the three sample tenants at a third-party endpoint, serves the services.

The engine is real and the provider is the stand-in. So the tests prove the configuration (resources, order, data that
survives), not the real provider's code.
"""

from __future__ import annotations

import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import endpoints
from engine import MODULE, Engine, State

ISSUER = "arn:aws:iam::000000000000:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
IRSA = {"identity": "irsa", "oidc_provider_arn": ISSUER}
POOL = {"tenant_id": "pool-1", "enable_producer": "true", "enable_consumer": "true", "enable_payments": "true", **IRSA}
TENANTS = {
    "tenant-1": {"enable_producer": True, "enable_consumer": True, "enable_payments": True},
    "tenant-2": {},
    "tenant-3": {"enable_consumer": True},
}

Named = Callable[[str], State]


def variables(tenant: str) -> dict[str, Any]:
    return {"tenant_id": tenant, **TENANTS[tenant], **IRSA}


@pytest.fixture(scope="module")
def applied(engine: Engine, state: Named, resources: Any) -> Iterator[Named]:
    """Applies the pool, then its tenants, and destroys them afterwards for the next engine."""
    resources.log.clear()
    state("pool-1").apply(**POOL)
    for tenant in TENANTS:
        state(tenant).apply(**variables(tenant))
    yield state
    for tenant in TENANTS:
        state(tenant).apply(**variables(tenant), delete_data=True)
        state(tenant).destroy(**variables(tenant), delete_data=True)
    state("pool-1").apply(**POOL, delete_data=True)
    state("pool-1").destroy(**POOL, delete_data=True)


def parameters(endpoint: endpoints.Aws, path: str) -> dict[str, str]:
    found = endpoint.ssm.get_parameters_by_path(Path=f"/{path}/")["Parameters"]
    return {parameter["Name"].rsplit("/", 1)[1]: parameter["Value"] for parameter in found}


def test_parameters_name_each_tenants_resources(applied: Named, endpoint: endpoints.Aws) -> None:
    pool = parameters(endpoint, "pool-1")
    assert pool.keys() == {"consumer_sqs", "consumer_ddb", "payments_ddb"}
    basic = parameters(endpoint, "tenant-2")
    assert basic == {**pool, "tier": "basic", "status": "active"}
    premium, advanced = parameters(endpoint, "tenant-1"), parameters(endpoint, "tenant-3")
    assert (premium["tier"], advanced["tier"]) == ("premium", "advanced")
    assert not set(premium.values()) & set(pool.values())
    assert advanced["payments_ddb"] == pool["payments_ddb"]
    assert advanced["consumer_sqs"] not in (pool["consumer_sqs"], premium["consumer_sqs"])


def test_the_index_lists_each_tenant_and_each_that_is_suspended(applied: Named, endpoint: endpoints.Aws) -> None:
    listed = parameters(endpoint, "tenantry/tenants")
    assert listed == {"tenant-1": "premium", "tenant-2": "basic", "tenant-3": "advanced"}
    applied("tenant-2").apply(**variables("tenant-2"), suspended=True)
    assert parameters(endpoint, "tenantry/refused") == {"tenant-2": "suspended"}
    applied("tenant-2").apply(**variables("tenant-2"))
    assert parameters(endpoint, "tenantry/refused") == {}


def test_a_generation_is_written_first_and_destroyed_last(applied: Named, resources: Any) -> None:
    later = {**variables("tenant-2"), "tenant_id": "tenant-4", "generation": "1770000000000"}
    begin = len(resources.log)
    applied("tenant-4").apply(**later)
    applied("tenant-4").apply(**later, delete_data=True)
    applied("tenant-4").destroy(**later, delete_data=True)
    names = {
        change: [name for done, kind, name in resources.log[begin:] if done == change and kind == "aws_ssm_parameter"]
        for change in ("create", "delete")
    }
    assert names["create"][0] == "/tenant-4/generation"
    assert names["delete"][-1] == "/tenant-4/generation"


def test_the_queues_and_tables_in_parameters_exist(applied: Named, endpoint: endpoints.Aws) -> None:
    for environment in ("pool-1", "tenant-1", "tenant-3"):
        found = parameters(endpoint, environment)
        queue, table = found["consumer_sqs"].rsplit(":", 1)[1], found["consumer_ddb"].rsplit("/", 1)[1]
        assert queue == table
        url = endpoint.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        attributes = endpoint.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(attributes["RedrivePolicy"])
        assert redrive["deadLetterTargetArn"] == f"{found['consumer_sqs']}-dlq"
        assert int(redrive["maxReceiveCount"]) == 5
        description = endpoint.dynamodb.describe_table(TableName=table)["Table"]
        assert [key["AttributeName"] for key in description["KeySchema"]] == ["tenant_id", "message_id"]
        assert [index["IndexName"] for index in description["GlobalSecondaryIndexes"]] == ["listed"]


def test_parameters_are_made_last(applied: Named, resources: Any) -> None:
    kinds = [kind for change, kind, name in resources.log if change == "create" and "tenant-1" in name]
    assert "aws_ssm_parameter" in kinds
    first = kinds.index("aws_ssm_parameter")
    assert set(kinds[first:]) == {"aws_ssm_parameter"}


def test_a_second_apply_changes_nothing(applied: Named) -> None:
    assert applied("pool-1").is_settled(**POOL)
    for tenant in TENANTS:
        assert applied(tenant).is_settled(**variables(tenant))


def test_a_move_between_silo_tiers_keeps_queue_and_table(applied: Named, endpoint: endpoints.Aws) -> None:
    before = parameters(endpoint, "tenant-3")
    premium = {**variables("tenant-3"), "enable_producer": True, "tier": "premium"}
    applied("tenant-3").apply(**premium)
    assert parameters(endpoint, "tenant-3") == {**before, "tier": "premium"}
    applied("tenant-3").apply(**variables("tenant-3"))
    assert parameters(endpoint, "tenant-3") == before


def test_turning_an_app_off_destroys_no_data_by_accident(applied: Named, endpoint: endpoints.Aws) -> None:
    before = parameters(endpoint, "tenant-3")
    refused = applied("tenant-3").apply(check=False, **{**variables("tenant-3"), "enable_consumer": False})
    assert refused.returncode != 0
    assert 'retain = ["consumer"]' in " ".join(refused.stderr.replace("│", " ").split())
    assert parameters(endpoint, "tenant-3") == before

    offboarded = {**variables("tenant-3"), "enable_consumer": False, "retain": ["consumer"], "suspended": True}
    applied("tenant-3").apply(**offboarded)
    pool = parameters(endpoint, "pool-1")
    assert parameters(endpoint, "tenant-3") == {
        **pool,
        "tier": "basic",
        "status": "suspended",
        "moved_from": "tenant-3",
        "unsettled_consumer": "tenant-3",
        "retained_consumer_sqs": before["consumer_sqs"],
        "retained_consumer_ddb": before["consumer_ddb"],
    }
    endpoint.sqs.get_queue_url(QueueName=before["consumer_sqs"].rsplit(":", 1)[1])
    applied("tenant-3").apply(**variables("tenant-3"))
    again = {**before, "moved_from": "pool-1", "unsettled_consumer": "pool-1"}
    assert parameters(endpoint, "tenant-3") == again, "the tenant did not get the same queue and table again"


def test_a_destroy_without_delete_data_keeps_queue_and_table(applied: Named, endpoint: endpoints.Aws) -> None:
    queue, table = (
        parameters(endpoint, "tenant-3")["consumer_sqs"].rsplit(":", 1)[1],
        parameters(endpoint, "tenant-3")["consumer_ddb"].rsplit("/", 1)[1],
    )
    refused = applied("tenant-3").destroy(check=False, **variables("tenant-3"))
    assert refused.returncode != 0
    for name in (queue, f"{queue}-dlq"):
        endpoint.sqs.get_queue_url(QueueName=name)
    endpoint.dynamodb.describe_table(TableName=table)
    applied("tenant-3").apply(**variables("tenant-3"))
    assert parameters(endpoint, "tenant-3")["consumer_ddb"].endswith(table)


def test_a_tenant_before_its_pool_is_refused_with_the_next_step(applied: Named) -> None:
    early = applied("tenant-9").apply(check=False, tenant_id="tenant-9", pool_id="pool-9", **IRSA)
    assert early.returncode != 0
    assert "apply this module for pool-9 first" in " ".join(early.stderr.replace("│", " ").split())


def test_off_aws_there_are_queues_tables_and_parameters_and_no_roles(engine: Engine, folder: Path) -> None:
    """As in docs/deploy-homelab.md, because `localaws` has no IAM."""
    binary("localaws")
    from provider import serving
    from resources import Endpoint

    place = Path(tempfile.mkdtemp(dir=folder))
    with endpoints.localaws(place) as aws, serving(place, Endpoint(aws.url)) as environment:
        for tenant, own in {"pool-1": TENANTS["tenant-1"], "tenant-2": {}, "tenant-3": TENANTS["tenant-3"]}.items():
            (place / tenant).mkdir()
            state = State(engine, place / tenant, MODULE, environment)
            state.init()
            state.apply(tenant_id=tenant, identity="none", **own)
            assert state.outputs()["role_arns"] == {}
        assert parameters(aws, "tenant-2") == {**parameters(aws, "pool-1"), "tier": "basic", "status": "active"}
        for table in aws.dynamodb.list_tables()["TableNames"]:
            read_as_the_real_provider_does(aws, table)


def read_as_the_real_provider_does(aws: endpoints.Aws, table: str) -> None:
    """Makes the real provider's reads of a table, its queue and its parameters, which an endpoint must support."""
    arn = aws.dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    aws.dynamodb.describe_continuous_backups(TableName=table)
    aws.dynamodb.describe_time_to_live(TableName=table)
    aws.dynamodb.list_tags_of_resource(ResourceArn=arn)
    if table.startswith("consumer-"):
        url = aws.sqs.get_queue_url(QueueName=table)["QueueUrl"]
        aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        aws.sqs.list_queue_tags(QueueUrl=url)
    (name,) = [p["Name"] for p in aws.ssm.get_parameters(Names=["/pool-1/consumer_sqs"])["Parameters"]]
    aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
    aws.ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [name]}])
    aws.sts.get_caller_identity()


def binary(name: str) -> Path:
    path = endpoints.REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; run make build")
    return path


class Service:
    """A service, run as in a pod, on the applied resources."""

    def __init__(self, name: str, environment: str, endpoint: endpoints.Aws, folder: Path) -> None:
        self.port, admin = endpoints.free_port(), endpoints.free_port()
        settings = {
            "ENVIRONMENT": environment,
            "PORT": str(self.port),
            "ADMIN_PORT": str(admin),
            "BIND_ADDRESS": "127.0.0.1",
            "RECEIVE_WAIT_SECONDS": "1",
            "AWS_ENDPOINT_URL": endpoint.url,
        }
        self.child = endpoints.Child([str(binary(name))], {**endpoints.clean_environment(), **settings}, folder)
        self.child.wait_until(lambda: endpoints.answers(f"http://127.0.0.1:{admin}/readyz"), f"{name} is ready")

    def send(self, method: str, path: str, tenant: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"tenantID": tenant}, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


@pytest.fixture
def services(endpoint: endpoints.Aws, tmp_path: Path) -> Iterator[Callable[[str, str], Service]]:
    started: list[Service] = []

    def start(name: str, environment: str) -> Service:
        started.append(Service(name, environment, endpoint, tmp_path))
        return started[-1]

    yield start
    for service in started:
        service.child.stop()


@pytest.mark.parametrize(
    ("tenant", "producer", "consumer"),
    [("tenant-1", "tenant-1", "tenant-1"), ("tenant-2", "pool-1", "pool-1"), ("tenant-3", "pool-1", "tenant-3")],
)
def test_the_services_run_on_the_applied_resources(
    applied: Named, services: Callable[[str, str], Service], tenant: str, producer: str, consumer: str
) -> None:
    accepting, storing = services("producer", producer), services("consumer", consumer)
    sent = accepting.send("POST", "/producer", tenant, b'{"order":7}')

    def stored() -> Any:
        return storing.send("GET", "/consumer/messages", tenant)["messages"]

    (message,) = endpoints.wait_until(stored, "the event is stored")
    assert message["message_id"] == sent["message_id"]
    assert (message["producer_environment"], message["consumer_environment"]) == (producer, consumer)


def test_a_suspended_tenant_is_refused(applied: Named, services: Callable[[str, str], Service]) -> None:
    applied("tenant-2").apply(**variables("tenant-2"), suspended=True)
    producer = services("producer", "pool-1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        producer.send("POST", "/producer", "tenant-2", b"{}")
    assert refused.value.code == 403
    applied("tenant-2").apply(**variables("tenant-2"))
