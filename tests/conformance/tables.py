"""The contract's table and items, for the DynamoDB checks."""

from __future__ import annotations

from typing import Any

from endpoints import Aws
from helpers import unique

SCHEMA: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": "tenant_id", "AttributeType": "S"},
        {"AttributeName": "message_id", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "tenant_id", "KeyType": "HASH"},
        {"AttributeName": "message_id", "KeyType": "RANGE"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}

Item = dict[str, dict[str, Any]]


def new_table(aws: Aws, name: str | None = None) -> str:
    """Creates a table and waits until it is active."""
    name = name or unique("consumer")
    aws.dynamodb.create_table(TableName=name, **SCHEMA)
    aws.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    return name


def key(message: str, tenant: str = "tenant-1") -> Item:
    return {"tenant_id": {"S": tenant}, "message_id": {"S": message}}


def item(message: str, tenant: str = "tenant-1", **more: dict[str, Any]) -> Item:
    return {**key(message, tenant), "timestamp": {"S": "2024-07-12T16:31:39+0000"}, **more}


def put_all(aws: Aws, table: str, items: list[Item]) -> None:
    for start in range(0, len(items), 25):
        requests = [{"PutRequest": {"Item": one}} for one in items[start : start + 25]]
        answer = aws.dynamodb.batch_write_item(RequestItems={table: requests})
        assert not answer.get("UnprocessedItems")


def ids(items: list[Item]) -> list[str]:
    return [one["message_id"]["S"] for one in items]
