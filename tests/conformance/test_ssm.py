"""Parameter Store: put, get, versions, paths, secrets, tags, history and deletion."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.exceptions import ClientError

from endpoints import REGION, Aws
from helpers import ACCOUNT, refused, unique


def put(aws: Aws, name: str, value: str = "value", **more: Any) -> dict[str, Any]:
    return aws.ssm.put_parameter(**{"Name": name, "Value": value, "Type": "String", **more})


def get(aws: Aws, name: str, **more: Any) -> dict[str, Any]:
    return aws.ssm.get_parameter(Name=name, **more)["Parameter"]


@pytest.fixture
def root() -> str:
    """A path that no other check uses."""
    return f"/{unique('path')}"


def test_a_parameter_is_read_back_with_all_its_fields(aws: Aws, root: str) -> None:
    assert put(aws, f"{root}/a", "arn:aws:sqs:x")["Version"] == 1
    parameter = get(aws, f"{root}/a")
    age = dt.datetime.now(dt.timezone.utc) - parameter.pop("LastModifiedDate")
    assert abs(age.total_seconds()) < 60
    assert parameter == {
        "Name": f"{root}/a",
        "Type": "String",
        "Value": "arn:aws:sqs:x",
        "Version": 1,
        "ARN": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{root}/a",
        "DataType": "text",
    }


def test_a_new_parameter_is_of_the_standard_tier(aws: Aws, root: str) -> None:
    assert put(aws, f"{root}/a")["Tier"] == "Standard"


def test_a_name_without_a_path_is_accepted(aws: Aws) -> None:
    name = unique("plain")
    put(aws, name)
    assert get(aws, name)["ARN"] == f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name}"


def test_a_parameter_is_found_by_its_arn(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "found")
    assert get(aws, get(aws, f"{root}/a")["ARN"])["Value"] == "found"


def test_an_unknown_parameter_is_not_found(aws: Aws, root: str) -> None:
    with refused("ParameterNotFound", exception=aws.ssm.exceptions.ParameterNotFound):
        get(aws, f"{root}/missing")


def test_an_existing_parameter_is_not_overwritten_by_default(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "old")
    with refused("ParameterAlreadyExists", exception=aws.ssm.exceptions.ParameterAlreadyExists):
        put(aws, f"{root}/a", "new")
    assert get(aws, f"{root}/a")["Value"] == "old"


def test_overwriting_makes_the_next_version(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "old")
    assert put(aws, f"{root}/a", "new", Overwrite=True)["Version"] == 2
    parameter = get(aws, f"{root}/a")
    assert (parameter["Value"], parameter["Version"]) == ("new", 2)


def test_overwriting_needs_no_type_and_keeps_it(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "a,b", Type="StringList")
    aws.ssm.put_parameter(Name=f"{root}/a", Value="c,d", Overwrite=True)
    assert get(aws, f"{root}/a")["Type"] == "StringList"


def test_an_earlier_version_can_be_read(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "old")
    put(aws, f"{root}/a", "new", Overwrite=True)
    parameter = get(aws, f"{root}/a:1")
    assert (parameter["Value"], parameter["Version"], parameter["Selector"]) == ("old", 1, ":1")


NO_SELECTORS = ["0", "-1", "+1", "01x", "1.0", "9", "1st", "99999999999999999999"]


@pytest.mark.parametrize("selector", NO_SELECTORS)
def test_a_selector_that_names_no_version_selects_none(aws: Aws, root: str, selector: str) -> None:
    put(aws, f"{root}/a")
    with pytest.raises(ClientError) as caught:
        get(aws, f"{root}/a:{selector}")
    assert caught.value.response["Error"]["Code"] in ("ParameterVersionNotFound", "ValidationException")
    many = aws.ssm.get_parameters
    if selector not in ("-1", "+1"):
        assert many(Names=[f"{root}/a:{selector}"])["InvalidParameters"] == [f"{root}/a:{selector}"]


def arn(name: str) -> str:
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}"


SELECTORS = {"a version": "{}:1", "a missing version": "{}:9", "a label": "{}:prod", "nothing": "{}:"}
WRITTEN = {**SELECTORS, "an arn": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{{}}"}


@pytest.fixture
def labeled(aws: Aws, root: str) -> str:
    """Name of a parameter of two versions, the first with a label."""
    name = f"{root}/a"
    put(aws, name, "old")
    put(aws, name, "new", Overwrite=True)
    aws.ssm.label_parameter_version(Name=name, ParameterVersion=1, Labels=["prod"])
    return name


def unchanged(aws: Aws, name: str) -> bool:
    history = aws.ssm.get_parameter_history(Name=name)["Parameters"]
    return [(v["Version"], v["Value"], v["Labels"]) for v in history] == [(1, "old", ["prod"]), (2, "new", [])]


@pytest.mark.parametrize("form", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_write_takes_a_name_and_no_selector(aws: Aws, labeled: str, form: str) -> None:
    with refused("ValidationException"):
        put(aws, form.format(labeled), "other", Overwrite=True)
    assert unchanged(aws, labeled)


@pytest.mark.parametrize("form", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_deletion_takes_a_name_and_no_selector(aws: Aws, labeled: str, form: str) -> None:
    name = form.format(labeled)
    with refused("ParameterNotFound"):
        aws.ssm.delete_parameter(Name=name)
    answer = aws.ssm.delete_parameters(Names=[name])
    assert (answer["DeletedParameters"], answer["InvalidParameters"]) == ([], [name])
    assert unchanged(aws, labeled)


@pytest.mark.parametrize("form", WRITTEN.values(), ids=WRITTEN.keys())
def test_labels_are_put_on_a_name_and_no_selector(aws: Aws, labeled: str, form: str) -> None:
    with refused("ParameterNotFound"):
        aws.ssm.label_parameter_version(Name=form.format(labeled), Labels=["test"])
    with refused("ParameterNotFound"):
        aws.ssm.unlabel_parameter_version(Name=form.format(labeled), ParameterVersion=1, Labels=["prod"])
    assert unchanged(aws, labeled)


@pytest.mark.parametrize("form", SELECTORS.values(), ids=SELECTORS.keys())
def test_a_history_and_tags_are_of_a_parameter_and_no_version(aws: Aws, labeled: str, form: str) -> None:
    name = form.format(labeled)
    with pytest.raises(ClientError) as caught:
        aws.ssm.get_parameter_history(Name=name)
    assert caught.value.response["Error"]["Code"] in ("ParameterNotFound", "ValidationException")
    with refused("InvalidResourceId"):
        aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
    with refused("InvalidResourceId"):
        aws.ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=[{"Key": "a", "Value": "b"}])
    with refused("ValidationException"):
        aws.ssm.get_parameters_by_path(Path=name)
    assert tags_of(aws, labeled) == {}


def test_a_version_is_read_by_number_label_and_arn(aws: Aws, labeled: str) -> None:
    for selector, value in ((":1", "old"), (":prod", "old"), (":2", "new"), ("", "new")):
        for name in (labeled + selector, arn(labeled + selector), f" {labeled}{selector} "):
            parameter = get(aws, name)
            assert (parameter["Value"], parameter.get("Selector", "")) == (value, selector)
    (one,) = aws.ssm.get_parameters(Names=[f"{labeled}:prod"])["Parameters"]
    assert one["Value"] == "old"
    filters = [{"Key": "Label", "Values": ["prod"]}]
    path = labeled.rsplit("/", 1)[0]
    (found,) = aws.ssm.get_parameters_by_path(Path=path, ParameterFilters=filters)["Parameters"]
    assert found["Value"] == "old"


def test_a_label_moves_and_is_taken_off(aws: Aws, labeled: str) -> None:
    moved = aws.ssm.label_parameter_version(Name=labeled, Labels=["prod", "1st", "aws-x"])
    assert (moved["ParameterVersion"], sorted(moved["InvalidLabels"])) == (2, ["1st", "aws-x"])
    assert get(aws, f"{labeled}:prod")["Value"] == "new"
    gone = aws.ssm.unlabel_parameter_version(Name=labeled, ParameterVersion=2, Labels=["prod", "other"])
    assert (gone["RemovedLabels"], gone["InvalidLabels"]) == (["prod"], ["other"])
    with refused("ParameterVersionNotFound"):
        get(aws, f"{labeled}:prod")


@pytest.mark.parametrize("name", ["/with space", "/a$b", "/a:1:2", "/ä"])
def test_a_malformed_name_is_refused_when_read(aws: Aws, name: str) -> None:
    with refused("ValidationException"):
        get(aws, name)
    with refused("ValidationException"):
        aws.ssm.get_parameters(Names=[name])


def test_spaces_around_a_name_are_removed(aws: Aws, root: str) -> None:
    put(aws, f"  {root}/a ")
    assert get(aws, f" {root}/a")["Name"] == f"{root}/a"
    aws.ssm.delete_parameter(Name=f"{root}/a ")
    with refused("ParameterNotFound"):
        get(aws, f"{root}/a")


PATTERNS = [
    (r"^\d+$", "42", "42a"),
    (r"\d{1,4}", "1000", "10,000"),
    (r"(?=.*[A-Z])(?=.*\d).{8,20}", "Passw0rd", "password"),
    ("a|b", "b", "ab"),
    (r"\d+", "12", "\u0663"),
    (r"\w+", "ab", "\u00e4"),
    (r"\Qa.b\E", "a.b", "axb"),
    (r"\p{XDigit}+", "0aF", "g"),
]


@pytest.mark.parametrize(("pattern", "good", "bad"), PATTERNS)
def test_a_value_matches_the_allowed_pattern_also_later(aws: Aws, root: str, pattern: str, good: str, bad: str) -> None:
    with refused("ParameterPatternMismatchException"):
        put(aws, f"{root}/a", bad, AllowedPattern=pattern)
    put(aws, f"{root}/a", good, AllowedPattern=pattern)
    with refused("ParameterPatternMismatchException"):
        put(aws, f"{root}/a", bad, Overwrite=True)
    assert get(aws, f"{root}/a")["Value"] == good
    (described,) = aws.ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [f"{root}/a"]}])[
        "Parameters"
    ]
    assert described["AllowedPattern"] == pattern


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a)(b", "a{2", "a{,3}", "a(?#c)b"])
def test_a_pattern_that_is_no_regular_expression_is_refused(aws: Aws, root: str, pattern: str) -> None:
    with refused("InvalidAllowedPatternException"):
        put(aws, f"{root}/a", AllowedPattern=pattern)


WRONG_MEMBERS: list[dict[str, Any]] = [
    {"KeyId": "alias/aws/ssm"},
    {"KeyId": "alias/aws/ssm", "Type": "StringList"},
    {"KeyId": "a key", "Type": "SecureString"},
    {"DataType": "Text"},
    {"DataType": "aws:ec2:instance"},
    {"DataType": "aws:ec2:image", "Type": "SecureString"},
    {"DataType": "aws:ec2:image", "Type": "StringList"},
    {"Value": "{{ssm:other}}"},
    {"Value": "a,,b", "Type": "StringList"},
    {"Tier": "Gold"},
    {"Description": "x" * 1025},
    {"AllowedPattern": "x" * 1025},
]


@pytest.mark.parametrize("members", WRONG_MEMBERS, ids=[str(list(m)) + str(n) for n, m in enumerate(WRONG_MEMBERS)])
def test_a_member_that_does_not_fit_is_refused(aws: Aws, root: str, members: dict[str, Any]) -> None:
    with refused("ValidationException"):
        put(aws, f"{root}/a", **{"Value": "value", **members})
    with refused("ParameterNotFound"):
        get(aws, f"{root}/a")


def test_a_key_stays_with_its_secret(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "x", Type="SecureString", KeyId="alias/mine")
    aws.ssm.put_parameter(Name=f"{root}/a", Value="y", Overwrite=True)
    history = aws.ssm.get_parameter_history(Name=f"{root}/a", WithDecryption=True)["Parameters"]
    assert [(version["KeyId"], version["Value"]) for version in history] == [("alias/mine", "x"), ("alias/mine", "y")]


def test_an_image_is_kept_if_its_id_is_one(aws: Aws, root: str) -> None:
    put(aws, f"{root}/good", "ami-0abcdef1234567890", DataType="aws:ec2:image")
    assert get(aws, f"{root}/good")["DataType"] == "aws:ec2:image"
    # AWS answers with success, and then does not create the parameter (PutParameter, DataType).
    put(aws, f"{root}/bad", "no-image", DataType="aws:ec2:image")
    with refused("ParameterNotFound"):
        get(aws, f"{root}/bad")


def test_a_name_is_as_long_as_the_arn_allows(aws: Aws) -> None:
    longest = 1011 - len(arn("/"))
    name = "/" + (unique("long") + "x" * longest)[:longest]
    put(aws, name)
    aws.ssm.delete_parameter(Name=name)
    with refused("ValidationException"):
        put(aws, name + "x")


@pytest.mark.parametrize("key", ["Name", "Path", "Tier", "DataType", "tag:team"])
def test_a_path_is_not_filtered_by_these(aws: Aws, root: str, key: str) -> None:
    with refused("InvalidFilterKey"):
        aws.ssm.get_parameters_by_path(Path=root, ParameterFilters=[{"Key": key, "Values": ["x"]}])


def test_a_missing_version_is_not_found(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a")
    with refused("ParameterVersionNotFound"):
        get(aws, f"{root}/a:9")


def test_a_new_parameter_needs_a_type(aws: Aws, root: str) -> None:
    with refused("ValidationException"):
        aws.ssm.put_parameter(Name=f"{root}/a", Value="x")


def test_a_value_over_4_kib_is_refused(aws: Aws, root: str) -> None:
    put(aws, f"{root}/fits", "x" * 4096)
    with refused("ValidationException"):
        put(aws, f"{root}/does-not", "x" * 4097)


@pytest.mark.parametrize("name", ["with space", "not/leading", "/ssm/name", "/a$b"])
def test_an_invalid_name_is_refused(aws: Aws, name: str) -> None:
    with refused("ValidationException"):
        put(aws, name)


@pytest.mark.parametrize("name", ["aws-name", "/aws/name"])
def test_a_name_reserved_for_aws_is_refused(aws: Aws, name: str) -> None:
    with refused("AccessDeniedException"):
        put(aws, name)


def test_a_name_of_more_than_15_levels_is_refused(aws: Aws) -> None:
    with refused("HierarchyLevelLimitExceededException"):
        put(aws, "/a" * 16)


def test_a_secret_is_readable_with_decryption_only(aws: Aws, root: str) -> None:
    put(aws, f"{root}/secret", "hunter2", Type="SecureString")
    assert get(aws, f"{root}/secret", WithDecryption=True)["Value"] == "hunter2"
    hidden = get(aws, f"{root}/secret")
    assert hidden["Type"] == "SecureString"
    assert "hunter2" not in hidden["Value"]


def test_secrets_of_a_path_are_readable_with_decryption_only(aws: Aws, root: str) -> None:
    put(aws, f"{root}/secret", "hunter2", Type="SecureString")
    (shown,) = aws.ssm.get_parameters_by_path(Path=root, WithDecryption=True)["Parameters"]
    (hidden,) = aws.ssm.get_parameters_by_path(Path=root)["Parameters"]
    assert shown["Value"] == "hunter2"
    assert "hunter2" not in hidden["Value"]


def test_many_are_read_at_once_and_the_unknown_are_named(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", "A")
    put(aws, f"{root}/b", "B")
    answer = aws.ssm.get_parameters(Names=[f"{root}/a", f"{root}/x", f"{root}/b"])
    assert {p["Name"]: p["Value"] for p in answer["Parameters"]} == {f"{root}/a": "A", f"{root}/b": "B"}
    assert answer["InvalidParameters"] == [f"{root}/x"]


def test_ten_can_be_read_at_once(aws: Aws, root: str) -> None:
    names = [f"{root}/{n}" for n in range(10)]
    assert sorted(aws.ssm.get_parameters(Names=names)["InvalidParameters"]) == names


def test_more_than_ten_at_once_are_refused(aws: Aws, root: str) -> None:
    with refused("ValidationException"):
        aws.ssm.get_parameters(Names=[f"{root}/{n}" for n in range(11)])


@pytest.fixture
def tree(aws: Aws, root: str) -> str:
    """Three levels of parameters, and a sibling whose name merely begins like the path."""
    for name in ("a", "b", "deep/c", "deep/er/d"):
        put(aws, f"{root}/{name}")
    put(aws, f"{root}sibling/e")
    return root


def names_of(root: str, answer: dict[str, Any]) -> list[str]:
    return sorted(p["Name"].removeprefix(root) for p in answer["Parameters"])


def test_a_path_lists_its_own_level(aws: Aws, tree: str) -> None:
    assert names_of(tree, aws.ssm.get_parameters_by_path(Path=tree)) == ["/a", "/b"]


def test_a_path_lists_all_levels_if_recursive(aws: Aws, tree: str) -> None:
    answer = aws.ssm.get_parameters_by_path(Path=tree, Recursive=True)
    assert names_of(tree, answer) == ["/a", "/b", "/deep/c", "/deep/er/d"]


def test_a_trailing_slash_of_the_path_makes_no_difference(aws: Aws, tree: str) -> None:
    assert names_of(tree, aws.ssm.get_parameters_by_path(Path=f"{tree}/")) == ["/a", "/b"]


def test_an_unknown_path_lists_nothing(aws: Aws, root: str) -> None:
    assert aws.ssm.get_parameters_by_path(Path=root)["Parameters"] == []


def test_a_path_is_listed_in_pages(aws: Aws, root: str) -> None:
    expected = [f"{root}/{n:02}" for n in range(23)]
    for name in expected:
        put(aws, name)
    pages = list(aws.ssm.get_paginator("get_parameters_by_path").paginate(Path=root, Recursive=True))
    assert all(len(page["Parameters"]) <= 10 for page in pages)
    assert sorted(p["Name"] for page in pages for p in page["Parameters"]) == expected


def test_the_page_size_of_a_path_can_be_set(aws: Aws, tree: str) -> None:
    first = aws.ssm.get_parameters_by_path(Path=tree, Recursive=True, MaxResults=3)
    rest = aws.ssm.get_parameters_by_path(Path=tree, Recursive=True, MaxResults=3, NextToken=first["NextToken"])
    assert (len(first["Parameters"]), len(rest["Parameters"])) == (3, 1)
    assert not rest.get("NextToken")


def test_a_page_of_more_than_ten_is_refused(aws: Aws, root: str) -> None:
    with refused("ValidationException"):
        aws.ssm.get_parameters_by_path(Path=root, MaxResults=11)


def test_a_path_must_begin_with_a_slash(aws: Aws) -> None:
    with refused("ValidationException"):
        aws.ssm.get_parameters_by_path(Path="no-slash")


def test_a_deleted_parameter_is_gone(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a")
    aws.ssm.delete_parameter(Name=f"{root}/a")
    with refused("ParameterNotFound"):
        get(aws, f"{root}/a")
    assert aws.ssm.get_parameters_by_path(Path=root)["Parameters"] == []


def test_deleting_an_unknown_parameter_is_refused(aws: Aws, root: str) -> None:
    with refused("ParameterNotFound"):
        aws.ssm.delete_parameter(Name=f"{root}/missing")


def test_a_parameter_made_anew_starts_at_version_one(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a")
    put(aws, f"{root}/a", Overwrite=True)
    aws.ssm.delete_parameter(Name=f"{root}/a")
    assert put(aws, f"{root}/a")["Version"] == 1


def test_deleting_many_separates_deleted_from_unknown(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a")
    put(aws, f"{root}/b")
    answer = aws.ssm.delete_parameters(Names=[f"{root}/a", f"{root}/b", f"{root}/x"])
    assert sorted(answer["DeletedParameters"]) == [f"{root}/a", f"{root}/b"]
    assert answer["InvalidParameters"] == [f"{root}/x"]


def tags_of(aws: Aws, name: str) -> dict[str, str]:
    answer = aws.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
    return {tag["Key"]: tag["Value"] for tag in answer["TagList"]}


def test_tags_are_added_overwritten_and_removed(aws: Aws, root: str) -> None:
    name = f"{root}/a"
    put(aws, name, Tags=[{"Key": "team", "Value": "a"}])
    aws.ssm.add_tags_to_resource(
        ResourceType="Parameter",
        ResourceId=name,
        Tags=[{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": "dev"}],
    )
    assert tags_of(aws, name) == {"team": "b", "stage": "dev"}
    aws.ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=name, TagKeys=["stage"])
    assert tags_of(aws, name) == {"team": "b"}


def test_tags_cannot_be_given_when_overwriting(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a")
    with refused("ValidationException"):
        put(aws, f"{root}/a", Overwrite=True, Tags=[{"Key": "team", "Value": "a"}])


def test_an_unknown_parameter_cannot_be_tagged(aws: Aws, root: str) -> None:
    with refused("InvalidResourceId"):
        aws.ssm.add_tags_to_resource(
            ResourceType="Parameter", ResourceId=f"{root}/missing", Tags=[{"Key": "a", "Value": "b"}]
        )


def test_the_history_lists_every_version_oldest_first(aws: Aws, root: str) -> None:
    for value in ("one", "two", "three"):
        put(aws, f"{root}/a", value, Overwrite=value != "one")
    history = aws.ssm.get_parameter_history(Name=f"{root}/a")["Parameters"]
    assert [(version["Version"], version["Value"]) for version in history] == [(1, "one"), (2, "two"), (3, "three")]


def test_an_unknown_parameter_has_no_history(aws: Aws, root: str) -> None:
    with refused("ParameterNotFound"):
        aws.ssm.get_parameter_history(Name=f"{root}/missing")


def test_a_parameter_is_described_by_name(aws: Aws, root: str) -> None:
    put(aws, f"{root}/a", Description="what it is for")
    put(aws, f"{root}/ab")
    filters = [{"Key": "Name", "Option": "Equals", "Values": [f"{root}/a"]}]
    (described,) = aws.ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
    assert described["Name"] == f"{root}/a"
    assert described["Description"] == "what it is for"
    assert (described["Type"], described["Version"], described["Tier"]) == ("String", 1, "Standard")
    assert "Value" not in described
