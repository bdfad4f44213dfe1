"""Numbers compare as numbers, however they are spelled: in sets, keys, conditions and updates."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints import Aws
from helpers import refused, unique
from tables import Item, item, key, new_table


@pytest.fixture
def table(aws: Aws) -> str:
    """Name of a table with one item, whose set is {1, 2}."""
    table = new_table(aws)
    aws.dynamodb.put_item(TableName=table, Item=item("m", numbers={"NS": ["1", "2"]}, n={"N": "10"}))
    return table


def numbers(aws: Aws, table: str) -> list[str] | None:
    stored = aws.dynamodb.get_item(TableName=table, Key=key("m"), ConsistentRead=True)["Item"].get("numbers")
    return sorted(stored["NS"], key=float) if stored else None


def update(aws: Aws, table: str, form: str, action: str, members: list[str]) -> None:
    """Adds to the set or deletes from it."""
    call: dict[str, Any] = {"TableName": table, "Key": key("m")}
    change = {"UpdateExpression": f"{action} numbers :v", "ExpressionAttributeValues": {":v": {"NS": members}}}
    if form == "expression":
        aws.dynamodb.update_item(**call, **change)
    elif form == "attribute updates":
        updates = {"numbers": {"Action": action, "Value": {"NS": members}}}
        aws.dynamodb.update_item(**call, AttributeUpdates=updates)
    elif form == "transaction":
        aws.dynamodb.transact_write_items(TransactItems=[{"Update": {**call, **change}}])
    else:
        function = {"ADD": "set_add", "DELETE": "set_delete"}[action]
        aws.dynamodb.execute_statement(
            Statement=f'UPDATE "{table}" SET numbers = {function}(numbers, ?) WHERE tenant_id = ? AND message_id = ?',
            Parameters=[{"NS": members}, *key("m").values()],
        )


FORMS = ["expression", "attribute updates", "transaction", "statement"]
SPELLINGS = ["2", "2.0", "2.00", "02", "2e0", "20E-1", "+2", "0.2e1"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("two", SPELLINGS)
def test_adding_a_member_that_is_there_changes_nothing(aws: Aws, table: str, form: str, two: str) -> None:
    update(aws, table, form, "ADD", [two])
    assert numbers(aws, table) == ["1", "2"]
    update(aws, table, form, "ADD", [two, "3.50"])
    assert numbers(aws, table) == ["1", "2", "3.5"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("two", SPELLINGS)
def test_a_member_is_deleted_by_its_value(aws: Aws, table: str, form: str, two: str) -> None:
    update(aws, table, form, "DELETE", [two, "99"])
    assert numbers(aws, table) == ["1"]
    update(aws, table, form, "DELETE", ["1.0"])
    assert numbers(aws, table) is None


DUPLICATES = [["1", "1.0"], ["100", "1e2"], ["0", "-0.0"], ["0.1", "0.10", "7"]]


@pytest.mark.parametrize("members", DUPLICATES, ids=str)
def test_a_set_with_one_number_twice_is_refused(aws: Aws, table: str, members: list[str]) -> None:
    for form in FORMS:
        with refused("ValidationException"):
            update(aws, table, form, "ADD", members)
    nested = {"L": [{"M": {"deep": {"NS": members}}}]}
    for value in ({"NS": members}, nested):
        with refused("ValidationException"):
            aws.dynamodb.put_item(TableName=table, Item=item("m", numbers=value))
        with refused("ValidationException"):
            put = {"PutRequest": {"Item": item("m", numbers=value)}}
            aws.dynamodb.batch_write_item(RequestItems={table: [put]})
    assert numbers(aws, table) == ["1", "2"]


STORED = [("1.0", "1"), ("0042", "42"), ("1e3", "1000"), ("-0", "0"), ("1.50E+1", "15"), ("0.10", "0.1"), ("+7", "7")]


@pytest.mark.parametrize(("sent", "answered"), STORED)
def test_a_number_is_answered_in_its_normal_form(aws: Aws, table: str, sent: str, answered: str) -> None:
    value = {"L": [{"N": sent}, {"NS": [sent]}]}
    aws.dynamodb.put_item(TableName=table, Item=item("put", n={"N": sent}, l=value))
    updated = aws.dynamodb.update_item(
        TableName=table,
        Key=key("updated"),
        UpdateExpression="SET n = :n, l = :l",
        ExpressionAttributeValues={":n": {"N": sent}, ":l": value},
        ReturnValues="UPDATED_NEW",
    )["Attributes"]
    expected = {"n": {"N": answered}, "l": {"L": [{"N": answered}, {"NS": [answered]}]}}
    assert updated == expected
    read = aws.dynamodb.get_item(TableName=table, Key=key("put"))["Item"]
    assert {name: read[name] for name in expected} == expected


CONDITIONS: dict[str, dict[str, Any]] = {
    "n = :v": {"N": "10.0"},
    "n IN (:v)": {"N": "1e1"},
    "n BETWEEN :v AND :v": {"N": "010"},
    "NOT n <> :v": {"N": "10.00"},
    "contains(numbers, :v)": {"N": "2.0"},
    "numbers = :v": {"NS": ["2.0", "1.00"]},
    "numbers IN (:v)": {"NS": ["2e0", "1"]},
}


@pytest.mark.parametrize(("condition", "value"), CONDITIONS.items(), ids=CONDITIONS.keys())
def test_a_condition_compares_numbers(aws: Aws, table: str, condition: str, value: Item) -> None:
    values = {":v": value}
    aws.dynamodb.put_item(
        TableName=table,
        Item=item("m", numbers={"NS": ["1", "2"]}, n={"N": "10"}),
        ConditionExpression=condition,
        ExpressionAttributeValues=values,
    )
    found = aws.dynamodb.scan(TableName=table, FilterExpression=condition, ExpressionAttributeValues=values)
    assert found["Count"] == 1


@pytest.fixture
def numbered(aws: Aws) -> str:
    """Name of a table whose keys are numbers, with the item (1, 2)."""
    name = unique("numbered")
    aws.dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": part, "AttributeType": "N"} for part in ("h", "r")],
        KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    aws.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    aws.dynamodb.put_item(TableName=name, Item=ONE)
    return name


ONE: Item = {"h": {"N": "1"}, "r": {"N": "2"}}
SAME: Item = {"h": {"N": "1.0"}, "r": {"N": "0.2e1"}}


def test_a_key_is_found_by_its_value(aws: Aws, numbered: str) -> None:
    assert aws.dynamodb.get_item(TableName=numbered, Key=SAME)["Item"] == ONE
    found = aws.dynamodb.query(
        TableName=numbered,
        KeyConditionExpression="h = :h AND r BETWEEN :r AND :r",
        ExpressionAttributeValues={":h": SAME["h"], ":r": SAME["r"]},
    )
    assert found["Items"] == [ONE]
    assert aws.dynamodb.put_item(TableName=numbered, Item=SAME, ReturnValues="ALL_OLD")["Attributes"] == ONE
    assert aws.dynamodb.scan(TableName=numbered)["Items"] == [ONE]
    aws.dynamodb.delete_item(TableName=numbered, Key=SAME)
    assert aws.dynamodb.scan(TableName=numbered)["Count"] == 0


def test_a_key_spelled_twice_is_named_twice(aws: Aws, numbered: str) -> None:
    with refused("ValidationException"):
        puts = [{"PutRequest": {"Item": one}} for one in (ONE, SAME)]
        aws.dynamodb.batch_write_item(RequestItems={numbered: puts})
    with refused("ValidationException"):
        aws.dynamodb.batch_get_item(RequestItems={numbered: {"Keys": [ONE, SAME]}})
    with refused("ValidationException"):
        gets = [{"Delete": {"TableName": numbered, "Key": one}} for one in (ONE, SAME)]
        aws.dynamodb.transact_write_items(TransactItems=gets)
