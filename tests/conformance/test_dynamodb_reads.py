"""Reads that AWS refuses: empty key values, and attributes that an index does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from endpoints import Aws
from helpers import refused, unique

X, EMPTY = {"S": "x"}, {"S": ""}
EMPTY_BYTES = {"B": b""}


def index(name: str, hash_key: str, range_key: str | None, projection: dict[str, Any]) -> dict[str, Any]:
    keys = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    if range_key:
        keys.append({"AttributeName": range_key, "KeyType": "RANGE"})
    return {"IndexName": name, "KeySchema": keys, "Projection": projection}


KEYS_ONLY, ALL = {"ProjectionType": "KEYS_ONLY"}, {"ProjectionType": "ALL"}
INCLUDE = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]}


@pytest.fixture(scope="module")
def table(aws: Aws) -> Iterator[str]:
    """Name of a table with one item and an index of each projection."""
    name = unique("indexed")
    aws.dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": part, "AttributeType": kind}
            for part, kind in {"pk": "S", "sk": "S", "gh": "S", "gr": "S", "gb": "B", "lr": "S"}.items()
        ],
        KeySchema=index("", "pk", "sk", {})["KeySchema"],
        GlobalSecondaryIndexes=[
            index("keys", "gh", None, KEYS_ONLY),
            index("some", "gh", "gr", INCLUDE),
            index("full", "gh", None, ALL),
            index("bytes", "gh", "gb", ALL),
        ],
        LocalSecondaryIndexes=[index("local", "pk", "lr", KEYS_ONLY)],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    texts = dict.fromkeys(("pk", "sk", "gh", "gr", "lr", "a", "b"), X)
    aws.dynamodb.put_item(TableName=name, Item={**texts, "gb": {"B": b"x"}, "m": {"M": {"b": X}}})
    yield name
    aws.dynamodb.delete_table(TableName=name)


EMPTY_KEYS: dict[str, dict[str, Any]] = {
    "partition key": {"KeyConditionExpression": "pk = :e"},
    "partition key by name": {"KeyConditionExpression": "#k = :e", "ExpressionAttributeNames": {"#k": "pk"}},
    "sort key": {"KeyConditionExpression": "pk = :x AND sk = :e"},
    "sort key less": {"KeyConditionExpression": "pk = :x AND sk < :e"},
    "sort key at least": {"KeyConditionExpression": "pk = :x AND sk >= :e"},
    "sort key between": {"KeyConditionExpression": "pk = :x AND sk BETWEEN :e AND :x"},
    "sort key begins": {"KeyConditionExpression": "pk = :x AND begins_with(sk, :e)"},
    "index": {"IndexName": "full", "KeyConditionExpression": "gh = :e"},
    "sort key of an index": {"IndexName": "some", "KeyConditionExpression": "gh = :x AND gr = :e"},
    "bytes of an index": {"IndexName": "bytes", "KeyConditionExpression": "gh = :x AND gb = :b"},
    "local index": {"IndexName": "local", "KeyConditionExpression": "pk = :x AND lr = :e"},
    "condition": {"KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [EMPTY]}}},
    "condition on the sort key": {
        "KeyConditions": {
            "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [X]},
            "sk": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [EMPTY]},
        }
    },
    "start key": {"KeyConditionExpression": "pk = :x", "ExclusiveStartKey": {"pk": X, "sk": EMPTY}},
}


@pytest.mark.parametrize("query", EMPTY_KEYS.values(), ids=EMPTY_KEYS.keys())
def test_an_empty_key_value_is_refused_in_a_query(aws: Aws, table: str, query: dict[str, Any]) -> None:
    condition = query.get("KeyConditionExpression", "")
    used = {name: value for name, value in ((":x", X), (":e", EMPTY), (":b", EMPTY_BYTES)) if name in condition}
    values = {"ExpressionAttributeValues": used} if used else {}
    with refused("ValidationException") as caught:
        aws.dynamodb.query(TableName=table, **query, **values)
    assert "empty" in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("empty", ["pk", "sk"])
def test_an_empty_key_value_is_refused_wherever_a_key_is(aws: Aws, table: str, empty: str) -> None:
    key = {"pk": X, "sk": X, empty: EMPTY}
    calls = [
        lambda: aws.dynamodb.get_item(TableName=table, Key=key),
        lambda: aws.dynamodb.delete_item(TableName=table, Key=key),
        lambda: aws.dynamodb.update_item(TableName=table, Key=key),
        lambda: aws.dynamodb.put_item(TableName=table, Item=key),
        lambda: aws.dynamodb.batch_get_item(RequestItems={table: {"Keys": [key]}}),
        lambda: aws.dynamodb.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": key}}]}),
        lambda: aws.dynamodb.transact_write_items(TransactItems=[{"Delete": {"TableName": table, "Key": key}}]),
        lambda: aws.dynamodb.scan(TableName=table, ExclusiveStartKey=key),
    ]
    for call in calls:
        with refused("ValidationException"):
            call()


@pytest.mark.parametrize("attribute", ["gh", "gr", "lr"])
def test_an_empty_value_is_no_key_of_an_index(aws: Aws, table: str, attribute: str) -> None:
    with refused("ValidationException"):
        aws.dynamodb.put_item(TableName=table, Item={"pk": X, "sk": {"S": "y"}, attribute: EMPTY})
    with refused("ValidationException"):
        aws.dynamodb.update_item(
            TableName=table,
            Key={"pk": X, "sk": X},
            UpdateExpression=f"SET {attribute} = :e",
            ExpressionAttributeValues={":e": EMPTY},
        )


def test_an_empty_value_can_be_filtered_by(aws: Aws, table: str) -> None:
    found = aws.dynamodb.query(
        TableName=table,
        KeyConditionExpression="pk = :x",
        FilterExpression="b = :e",
        ExpressionAttributeValues={":x": X, ":e": EMPTY},
    )
    assert (found["Count"], found["ScannedCount"]) == (0, 1)


def query(aws: Aws, table: str, name: str, **more: Any) -> list[dict[str, Any]]:
    partition = "pk" if name == "local" else "gh"
    legacy = "AttributesToGet" in more or "QueryFilter" in more
    condition: dict[str, Any] = {"KeyConditionExpression": f"{partition} = :x", "ExpressionAttributeValues": {":x": X}}
    if legacy:
        condition = {"KeyConditions": {partition: {"ComparisonOperator": "EQ", "AttributeValueList": [X]}}}
    return aws.dynamodb.query(TableName=table, IndexName=name, **condition, **more)["Items"]


PROJECTED = [("keys", "pk, gh"), ("some", "a, gr, sk"), ("full", "b, m.b"), ("local", "b, m.b")]
UNPROJECTED = [("keys", "a"), ("keys", "gr"), ("some", "b"), ("some", "a, b"), ("some", "m.b"), ("some", "#n")]


@pytest.mark.parametrize(("name", "expression"), PROJECTED)
def test_what_an_index_has_can_be_read_from_it(aws: Aws, table: str, name: str, expression: str) -> None:
    (found,) = query(aws, table, name, ProjectionExpression=expression)
    attributes = {path.strip().split(".")[0] for path in expression.split(",")}
    assert found.keys() == attributes
    (found,) = query(aws, table, name, AttributesToGet=sorted(attributes))
    assert found.keys() == attributes
    if name != "local":
        # localaws/README.md: a Scan of a local index has the attributes of the index alone.
        (found,) = aws.dynamodb.scan(TableName=table, IndexName=name, ProjectionExpression=expression)["Items"]
        assert found.keys() == attributes


@pytest.mark.parametrize(("name", "expression"), UNPROJECTED)
def test_what_a_global_index_does_not_have_is_refused(aws: Aws, table: str, name: str, expression: str) -> None:
    names = {"ExpressionAttributeNames": {"#n": "b"}} if "#" in expression else {}
    with refused("ValidationException") as caught:
        query(aws, table, name, ProjectionExpression=expression, **names)
    assert f"Global secondary index {name} does not project [" in caught.value.response["Error"]["Message"]
    with refused("ValidationException"):
        aws.dynamodb.scan(TableName=table, IndexName=name, ProjectionExpression=expression, **names)
    if not names and "." not in expression:
        attributes = expression.split(", ")
        with refused("ValidationException"):
            query(aws, table, name, AttributesToGet=attributes)
        with refused("ValidationException"):
            aws.dynamodb.scan(TableName=table, IndexName=name, AttributesToGet=attributes)


@pytest.mark.parametrize("name", ["keys", "some"])
def test_all_attributes_are_in_a_full_global_index_alone(aws: Aws, table: str, name: str) -> None:
    with refused("ValidationException"):
        query(aws, table, name, Select="ALL_ATTRIBUTES")
    with refused("ValidationException"):
        aws.dynamodb.scan(TableName=table, IndexName=name, Select="ALL_ATTRIBUTES")
    assert len(query(aws, table, "full", Select="ALL_ATTRIBUTES")) == 1
    assert len(query(aws, table, "local", Select="ALL_ATTRIBUTES")) == 1


@pytest.mark.parametrize("name", ["keys", "some", "local"])
def test_an_index_is_filtered_by_what_it_has(aws: Aws, table: str, name: str) -> None:
    for expression in ("b = :x", "attribute_exists(b) AND sk = :x", "size(m.b) > :x"):
        with refused("ValidationException") as caught:
            query(aws, table, name, FilterExpression=expression)
        assert "does not project one or more filter attributes" in caught.value.response["Error"]["Message"]
    with refused("ValidationException"):
        query(aws, table, name, QueryFilter={"b": {"ComparisonOperator": "NOT_NULL"}})
    assert len(query(aws, table, name, FilterExpression="sk = :x")) == 1
