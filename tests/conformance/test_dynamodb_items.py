"""Items: written singly, in batches, on conditions and in transactions; read by key, by query and by scan."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints import Aws
from helpers import refused, unique
from tables import Item, ids, item, key, new_table, put_all


@pytest.fixture
def table(aws: Aws) -> str:
    """Name of an empty table that no other check uses."""
    return new_table(aws)


def get(aws: Aws, table: str, message: str, tenant: str = "tenant-1") -> Item | None:
    return aws.dynamodb.get_item(TableName=table, Key=key(message, tenant), ConsistentRead=True).get("Item")


EVERY_TYPE: Item = {
    "string": {"S": "grüße ✓"},
    "number": {"N": "-12.5"},
    "binary": {"B": b"\x00\xff"},
    "truth": {"BOOL": True},
    "nothing": {"NULL": True},
    "list": {"L": [{"S": "a"}, {"N": "1"}]},
    "map": {"M": {"inner": {"M": {"deep": {"S": "x"}}}}},
}


def test_an_item_of_every_type_is_read_back(aws: Aws, table: str) -> None:
    written = item("m1", **EVERY_TYPE)
    aws.dynamodb.put_item(TableName=table, Item=written)
    assert get(aws, table, "m1") == written


def test_sets_are_read_back(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1", words={"SS": ["b", "a"]}, numbers={"NS": ["2", "1"]}))
    read = get(aws, table, "m1")
    assert read is not None
    assert (sorted(read["words"]["SS"]), sorted(read["numbers"]["NS"])) == (["a", "b"], ["1", "2"])


def test_a_missing_item_is_no_error(aws: Aws, table: str) -> None:
    assert "Item" not in aws.dynamodb.get_item(TableName=table, Key=key("missing"))


def test_putting_replaces_the_item_and_can_return_the_old(aws: Aws, table: str) -> None:
    old = item("m1", a={"S": "1"})
    aws.dynamodb.put_item(TableName=table, Item=old)
    answer = aws.dynamodb.put_item(TableName=table, Item=item("m1"), ReturnValues="ALL_OLD")
    assert answer["Attributes"] == old
    assert get(aws, table, "m1") == item("m1")


def test_some_attributes_can_be_read_alone(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1", a={"S": "1"}, b={"S": "2"}))
    answer = aws.dynamodb.get_item(
        TableName=table,
        Key=key("m1"),
        ProjectionExpression="a, #time",
        ExpressionAttributeNames={"#time": "timestamp"},
    )
    assert answer["Item"] == {"a": {"S": "1"}, "timestamp": {"S": "2024-07-12T16:31:39+0000"}}


INVALID_ITEMS: dict[str, Item] = {
    "no sort key": {"tenant_id": {"S": "t"}},
    "key of another type": {"tenant_id": {"S": "t"}, "message_id": {"N": "1"}},
    "empty key": item(""),
    "partition key over 2048 bytes": item("m", "x" * 2049),
    "sort key over 1024 bytes": item("x" * 1025),
    "item over 400 KB": item("m", payload={"S": "x" * 400 * 1024}),
}


@pytest.mark.parametrize("invalid", INVALID_ITEMS.values(), ids=INVALID_ITEMS.keys())
def test_an_invalid_item_is_refused(aws: Aws, table: str, invalid: Item) -> None:
    with refused("ValidationException"):
        aws.dynamodb.put_item(TableName=table, Item=invalid)


def test_keys_may_be_as_long_as_the_limits(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m" * 1024, "t" * 2048))
    assert get(aws, table, "m" * 1024, "t" * 2048) is not None


def test_an_item_of_a_missing_table_is_refused(aws: Aws) -> None:
    with refused("ResourceNotFoundException"):
        aws.dynamodb.put_item(TableName=unique("missing"), Item=item("m"))


def query(aws: Aws, table: str, **more: Any) -> dict[str, Any]:
    condition = {"KeyConditionExpression": "tenant_id = :t", "ExpressionAttributeValues": {":t": {"S": "tenant-1"}}}
    return aws.dynamodb.query(TableName=table, **{**condition, **more})


def test_a_query_returns_one_tenants_items_newest_first(aws: Aws, table: str) -> None:
    put_all(aws, table, [item(f"{n:03}") for n in range(5)] + [item("999", "tenant-2")])
    answer = query(aws, table, ScanIndexForward=False)
    assert ids(answer["Items"]) == ["004", "003", "002", "001", "000"]
    assert (answer["Count"], answer["ScannedCount"]) == (5, 5)
    assert "LastEvaluatedKey" not in answer


def test_a_query_is_paged_without_gap_or_repetition(aws: Aws, table: str) -> None:
    put_all(aws, table, [item(f"{n:03}") for n in range(60)])
    first = query(aws, table, ScanIndexForward=False, Limit=25)
    second = query(aws, table, ScanIndexForward=False, Limit=25, ExclusiveStartKey=first["LastEvaluatedKey"])
    third = query(aws, table, ScanIndexForward=False, Limit=25, ExclusiveStartKey=second["LastEvaluatedKey"])
    assert "LastEvaluatedKey" not in third
    seen = [message for page in (first, second, third) for message in ids(page["Items"])]
    assert seen == [f"{n:03}" for n in reversed(range(60))]


def test_a_page_holds_one_mebibyte_at_most(aws: Aws, table: str) -> None:
    for n in range(4):
        aws.dynamodb.put_item(TableName=table, Item=item(str(n), payload={"S": "x" * 350 * 1024}))
    first = query(aws, table)
    assert first["Count"] < 4
    rest = query(aws, table, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert first["Count"] + rest["Count"] == 4


RANGES = {
    "begins with": ("begins_with(message_id, :a)", {":a": {"S": "b"}}, ["b1", "b2"]),
    "between": ("message_id BETWEEN :a AND :b", {":a": {"S": "a2"}, ":b": {"S": "b1"}}, ["a2", "b1"]),
    "less than": ("message_id < :a", {":a": {"S": "b"}}, ["a1", "a2"]),
}


@pytest.mark.parametrize(("condition", "values", "expected"), RANGES.values(), ids=RANGES.keys())
def test_a_query_takes_a_range_of_sort_keys(
    aws: Aws, table: str, condition: str, values: Item, expected: list[str]
) -> None:
    put_all(aws, table, [item(message) for message in ("a1", "a2", "b1", "b2", "c1")])
    answer = query(
        aws,
        table,
        KeyConditionExpression=f"tenant_id = :t AND {condition}",
        ExpressionAttributeValues={":t": {"S": "tenant-1"}, **values},
    )
    assert ids(answer["Items"]) == expected


def test_a_filter_hides_items_it_has_read(aws: Aws, table: str) -> None:
    put_all(aws, table, [item(str(n), even={"BOOL": n % 2 == 0}) for n in range(6)])
    answer = query(
        aws,
        table,
        FilterExpression="even = :e",
        ExpressionAttributeValues={":t": {"S": "tenant-1"}, ":e": {"BOOL": True}},
    )
    assert ids(answer["Items"]) == ["0", "2", "4"]
    assert (answer["Count"], answer["ScannedCount"]) == (3, 6)


def test_a_query_can_count_alone(aws: Aws, table: str) -> None:
    put_all(aws, table, [item(str(n)) for n in range(3)])
    answer = query(aws, table, Select="COUNT")
    assert answer["Count"] == 3
    assert "Items" not in answer


def test_a_scan_returns_every_item_in_pages(aws: Aws, table: str) -> None:
    put_all(aws, table, [item(str(n), f"tenant-{n % 3}") for n in range(30)])
    pages = list(aws.dynamodb.get_paginator("scan").paginate(TableName=table, PaginationConfig={"PageSize": 7}))
    assert all(page["Count"] <= 7 for page in pages)
    assert sorted(ids([one for page in pages for one in page["Items"]]), key=int) == [str(n) for n in range(30)]


def batch(aws: Aws, table: str, items: list[Item]) -> dict[str, Any]:
    return aws.dynamodb.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": one}} for one in items]})


def test_a_batch_writes_25_items(aws: Aws, table: str) -> None:
    assert batch(aws, table, [item(f"{n:02}") for n in range(25)])["UnprocessedItems"] == {}
    assert query(aws, table)["Count"] == 25


def test_a_batch_writes_and_deletes(aws: Aws, table: str) -> None:
    put_all(aws, table, [item("old")])
    requests = [{"DeleteRequest": {"Key": key("old")}}, {"PutRequest": {"Item": item("new")}}]
    aws.dynamodb.batch_write_item(RequestItems={table: requests})
    assert ids(query(aws, table)["Items"]) == ["new"]


def test_a_batch_of_more_than_25_items_is_refused(aws: Aws, table: str) -> None:
    with refused("ValidationException"):
        batch(aws, table, [item(str(n)) for n in range(26)])
    assert query(aws, table)["Count"] == 0


def test_a_batch_that_names_a_key_twice_is_refused(aws: Aws, table: str) -> None:
    with refused("ValidationException"):
        batch(aws, table, [item("a"), item("b"), item("a", more={"S": "x"})])
    assert query(aws, table)["Count"] == 0


def test_a_batch_for_a_missing_table_is_refused(aws: Aws) -> None:
    with refused("ResourceNotFoundException"):
        batch(aws, unique("missing"), [item("a")])


def test_a_batch_reads_existing_items(aws: Aws, table: str) -> None:
    put_all(aws, table, [item("a"), item("b")])
    keys = [key(message) for message in ("a", "b", "missing")]
    answer = aws.dynamodb.batch_get_item(RequestItems={table: {"Keys": keys}})
    assert sorted(ids(answer["Responses"][table])) == ["a", "b"]
    assert answer["UnprocessedKeys"] == {}


def test_a_put_whose_condition_fails_changes_nothing(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1"))
    exception = aws.dynamodb.exceptions.ConditionalCheckFailedException
    with refused("ConditionalCheckFailedException", exception=exception) as caught:
        aws.dynamodb.put_item(
            TableName=table,
            Item=item("m1", changed={"BOOL": True}),
            ConditionExpression="attribute_not_exists(message_id)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert caught.value.response["Item"] == item("m1")
    assert get(aws, table, "m1") == item("m1")


def test_a_put_whose_condition_holds_is_written(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1"), ConditionExpression="attribute_not_exists(message_id)")
    assert get(aws, table, "m1") == item("m1")


def test_an_update_on_condition_sets_adds_and_removes(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1", state={"S": "new"}, tries={"N": "1"}, scratch={"S": "x"}))
    answer = aws.dynamodb.update_item(
        TableName=table,
        Key=key("m1"),
        UpdateExpression="SET #s = :done ADD tries :one REMOVE scratch",
        ConditionExpression="#s = :new",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":done": {"S": "done"}, ":new": {"S": "new"}, ":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"] == item("m1", state={"S": "done"}, tries={"N": "2"})


def test_an_update_whose_condition_fails_changes_nothing(aws: Aws, table: str) -> None:
    with refused("ConditionalCheckFailedException"):
        aws.dynamodb.update_item(
            TableName=table,
            Key=key("m1"),
            UpdateExpression="SET a = :a",
            ConditionExpression="attribute_exists(message_id)",
            ExpressionAttributeValues={":a": {"S": "x"}},
        )
    assert get(aws, table, "m1") is None


def test_an_update_makes_a_missing_item(aws: Aws, table: str) -> None:
    aws.dynamodb.update_item(
        TableName=table,
        Key=key("m1"),
        UpdateExpression="SET tally = if_not_exists(tally, :zero) + :two",
        ExpressionAttributeValues={":zero": {"N": "0"}, ":two": {"N": "2"}},
    )
    assert get(aws, table, "m1") == {**key("m1"), "tally": {"N": "2"}}


def test_deleting_is_idempotent_and_can_return_the_old(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("m1"))
    answer = aws.dynamodb.delete_item(TableName=table, Key=key("m1"), ReturnValues="ALL_OLD")
    assert answer["Attributes"] == item("m1")
    assert "Attributes" not in aws.dynamodb.delete_item(TableName=table, Key=key("m1"), ReturnValues="ALL_OLD")


def put_action(table: str, one: Item, **more: str) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": one, **more}}


def test_a_transaction_writes_all(aws: Aws, table: str) -> None:
    aws.dynamodb.transact_write_items(TransactItems=[put_action(table, item(message)) for message in "ab"])
    assert ids(query(aws, table)["Items"]) == ["a", "b"]


def test_a_transaction_whose_condition_fails_writes_nothing_and_reports_why(aws: Aws, table: str) -> None:
    aws.dynamodb.put_item(TableName=table, Item=item("taken"))
    condition = "attribute_not_exists(message_id)"
    with refused("TransactionCanceledException") as caught:
        aws.dynamodb.transact_write_items(
            TransactItems=[
                put_action(table, item("free"), ConditionExpression=condition),
                put_action(table, item("taken"), ConditionExpression=condition),
            ]
        )
    reasons = [reason["Code"] for reason in caught.value.response["CancellationReasons"]]
    assert reasons == ["None", "ConditionalCheckFailed"]
    assert ids(query(aws, table)["Items"]) == ["taken"]


def test_a_transaction_that_names_an_item_twice_is_refused(aws: Aws, table: str) -> None:
    with refused("ValidationException"):
        aws.dynamodb.transact_write_items(TransactItems=[put_action(table, item("a")), put_action(table, item("a"))])


def test_a_transaction_repeated_with_its_token_is_done_once(aws: Aws, table: str) -> None:
    add = {
        "Update": {
            "TableName": table,
            "Key": key("m1"),
            "UpdateExpression": "ADD tally :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
    token = unique("token")
    for _ in range(2):
        aws.dynamodb.transact_write_items(TransactItems=[add], ClientRequestToken=token)
    assert get(aws, table, "m1") == {**key("m1"), "tally": {"N": "1"}}


def test_an_unknown_attribute_value_in_an_expression_is_refused(aws: Aws, table: str) -> None:
    with refused("ValidationException"):
        query(aws, table, KeyConditionExpression="tenant_id = :undefined")
