"""The SaaS as its clients and operators see it: requests through the Gateway, lifecycle messages, commits, AWS's
data."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from api import Api, ApiError, Object, condition, is_current
from layout import API_HOST, GATEWAY_ADDRESS, GIT_LOGIN, GITOPS_REPOSITORY, KUBECONFIG, PKI, RUN, VENV
from machine import ClusterError, run, wait_for

APPS = ("producer", "consumer", "payments")
TLS = ssl.create_default_context(cafile=PKI / "homelab.crt")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class Connection(http.client.HTTPSConnection):
    """Connection to the Gateway's address, without DNS."""

    def __init__(self, timeout: float = 10) -> None:
        super().__init__(API_HOST, 443, timeout=timeout, context=TLS)

    def connect(self) -> None:
        plain = socket.create_connection((GATEWAY_ADDRESS, 443), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = TLS.wrap_socket(plain, server_hostname=API_HOST)


def ask(
    method: str, path: str, tenant: str | None, body: Any = None, connection: Connection | None = None, **headers: str
) -> Answer:
    own = connection or Connection()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if tenant is not None:
        sent["tenantID"] = tenant
    try:
        own.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = own.getresponse()
        text = answer.read()
    finally:
        if connection is None:
            own.close()
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = text.decode(errors="replace")
    return Answer(answer.status, parsed, {k.lower(): v for k, v in answer.getheaders()})


def get(path: str, tenant: str | None, **headers: str) -> Answer:
    return ask("GET", path, tenant, **headers)


def post(path: str, tenant: str | None, body: Any = None, **headers: str) -> Answer:
    return ask("POST", path, tenant, {} if body is None else body, **headers)


def environment_of(tenant: str, app: str) -> str | None:
    """The environment that answers a tenant; None where none does."""
    try:
        answer = get(f"/{app}", tenant)
    except OSError:
        return None
    return answer.body.get("environment") if answer.status == 200 and isinstance(answer.body, dict) else None


def get_after_retries(path: str, tenant: str, attempts: int = 20) -> Answer:
    """Repeats the request after `Retry-After` while the answer is 503; returns the first other answer."""
    for _ in range(attempts):
        answer = get(path, tenant)
        if answer.status != 503 or "retry-after" not in answer.headers:
            break
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def messages(tenant: str) -> list[Object]:
    """The tenant's stored messages, all pages."""
    found: list[Object] = []
    cursor = None
    while True:
        query = "?limit=100" + (f"&cursor={cursor}" if cursor else "")
        answer = get_after_retries(f"/consumer/messages{query}", tenant)
        assert answer.status == 200, answer
        found += answer.body["messages"]
        cursor = answer.body["next_cursor"]
        if not cursor:
            return found


# Load


@dataclass
class Load:
    """Requests at a steady rate, and the outcome of each.

    An answer counts as good when it is 200, or 503 with `Retry-After`. A connection is used for many requests, as by a
    client's pool. A server may close an idle connection: the next request on it has not been received, and a GET is
    sent again once, on a new connection."""

    tenant: str
    method: str = "POST"
    path: str = "/producer"
    rate: float = 50
    workers: int = 8
    outcomes: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    slowest: float = 0
    first: dict[str, float] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, number: int) -> None:
        pause = self.workers / self.rate
        due = time.monotonic() + pause * number / self.workers
        connection = Connection()
        while not self.stopping.wait(max(0, due - time.monotonic())):
            due = max(due + pause, time.monotonic() - 1)
            begin = time.monotonic()
            try:
                body = {"n": number} if self.method == "POST" else None
                answer = ask(self.method, self.path, self.tenant, body, connection)
                outcome = str(answer.status)
                if answer.status == 503 and "retry-after" in answer.headers:
                    outcome = "503 with Retry-After"
                message = answer.body.get("message_id") if isinstance(answer.body, dict) else None
            except (OSError, http.client.HTTPException) as error:
                outcome, message = f"{type(error).__name__}: {error}", None
                connection.close()
                connection = Connection()
            with self.lock:
                self.outcomes[outcome] += 1
                self.first.setdefault(outcome, begin)
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if message:
                    self.accepted.append(message)
        connection.close()

    @property
    def bad(self) -> dict[str, int]:
        return {k: n for k, n in self.outcomes.items() if k not in ("200", "503 with Retry-After")}

    @property
    def errors(self) -> dict[str, int]:
        """Requests without any answer."""
        return {k: n for k, n in self.outcomes.items() if not k[:3].isdigit()}

    def __str__(self) -> str:
        return f"{self.tenant} {self.method} {self.path}: {dict(self.outcomes)}, slowest {self.slowest:.2f} s"


@contextmanager
def load(*loads: Load) -> Any:
    """Sends while the block runs."""
    with ThreadPoolExecutor(max_workers=sum(one.workers for one in loads)) as pool:
        futures = [pool.submit(one.work, number) for one in loads for number in range(one.workers)]
        try:
            yield
        finally:
            for one in loads:
                one.stopping.set()
            for future in futures:
                future.result()


def check_stored(*loads: Load, seconds: float = 60) -> None:
    """Checks that every accepted message is stored, once."""
    for one in loads:
        accepted = set(one.accepted)
        assert len(accepted) == len(one.accepted), f"{one.tenant}: an id was given twice"
        stored: list[str] = []

        def all_there(one: Load = one, accepted: set[str] = accepted) -> bool:
            nonlocal stored
            stored = [m["message_id"] for m in messages(one.tenant)]
            return accepted <= set(stored)

        try:
            wait_for(f"the messages of {one.tenant}", all_there, seconds, 0.5)
        except ClusterError as error:
            lost = accepted - set(stored)
            raise AssertionError(
                f"{one.tenant}: {len(lost)} of {len(accepted)} accepted messages lost; {error}"
            ) from None
        assert len(stored) == len(set(stored)), f"{one.tenant}: a message is stored twice"


BEGUN: list[str] = []
"""Tenants of the test that runs."""


def new_tenant(name: str) -> str:
    """Returns an unused id. The id of an offboarded tenant stays taken, and a test may run twice on one cluster."""
    BEGUN.append(f"{name}-{secrets.token_hex(2)}")
    return BEGUN[-1]


def offboard_all() -> None:
    """Offboards the tenants that a test has left running: a node of two cores has room for few silos."""
    while BEGUN:
        tenant = BEGUN.pop()
        if environment_of(tenant, "producer"):
            tenantctl("offboard", tenant)


# AWS's side


def client(service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=(RUN / "aws-endpoint").read_text().strip(),
        region_name="us-east-1",
        aws_access_key_id="homelab",
        aws_secret_access_key="homelab",
        config=Config(retries={"max_attempts": 3}, connect_timeout=2, read_timeout=15),
    )


def send_message(kind: str, **message: Any) -> str:
    """Puts a message onto a lifecycle queue and returns its id."""
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName=f"argoworkflows-{kind}-queue")["QueueUrl"]
    return sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))["MessageId"]


def parameters(owner: str) -> dict[str, str]:
    pages = client("ssm").get_paginator("get_parameters_by_path").paginate(Path=f"/{owner}/")
    return {p["Name"].rpartition("/")[2]: p["Value"] for page in pages for p in page["Parameters"]}


def tables_of(tenant: str) -> list[str]:
    names = client("dynamodb").list_tables()["TableNames"]
    return [n for n in names if n.startswith((f"consumer-{tenant}-", f"payments-{tenant}-"))]


def items_in(table: str, tenant: str) -> list[str]:
    """Range keys of a tenant's items in a table."""
    dynamodb = client("dynamodb")
    sort = {"consumer": "message_id", "payments": "sk"}[table.partition("-")[0]]
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="tenant_id = :t",
        ExpressionAttributeValues={":t": {"S": tenant}},
        ConsistentRead=True,
    )
    return [item[sort]["S"] for page in pages for item in page["Items"]]


# The operator's side


def tenantctl(*arguments: str) -> str:
    """Runs tenantctl outside the cluster, against its repository and AWS endpoint."""
    password = RUN / "git-password"
    password.write_text(GIT_LOGIN[1])
    program = Path((RUN / "programs").read_text()) / "tenantctl"
    environment = {**os.environ, "GITOPS_CACHE_DIR": str(RUN / "tenantctl"), "HOME": str(RUN)}
    environment |= {
        "AWS_ENDPOINT_URL": (RUN / "aws-endpoint").read_text().strip(),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "homelab",
        "AWS_SECRET_ACCESS_KEY": "homelab",
        "KUBECONFIG": str(KUBECONFIG),
        "PATH": f"{VENV}:{os.environ['PATH']}",
    }
    login = ("--repository", GITOPS_REPOSITORY, "--password-file", str(password))
    done = subprocess.run(
        [str(program), *arguments, *login], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise ClusterError(f"tenantctl {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Checkout:
    """A clone of the GitOps repository, for commits by hand."""

    def __init__(self) -> None:
        self.folder = RUN / f"checkout-{os.getpid()}"
        if not self.folder.exists():
            login = GITOPS_REPOSITORY.replace("https://", f"https://{GIT_LOGIN[0]}:{GIT_LOGIN[1]}@")
            run("git", "clone", "--quiet", login, self.folder)

    def git(self, *arguments: str) -> str:
        return run("git", "-C", self.folder, *arguments)

    def commit(self, message: str, change: Callable[[Path], object]) -> str:
        """Changes the newest commit's files, pushes, and returns the new commit."""
        self.git("fetch", "--quiet", "origin", "main")
        self.git("reset", "--quiet", "--hard", "origin/main")
        change(self.folder)
        self.git("add", "--all")
        self.git(
            "-c",
            "user.name=operator",
            "-c",
            "user.email=op@example.com",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            message,
        )
        self.git("push", "--quiet", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD").strip()

    def head(self) -> str:
        self.git("fetch", "--quiet", "origin", "main")
        return self.git("rev-parse", "origin/main").strip()


# Deployments and pods


def running(api: Api, tenant: str) -> dict[str, str]:
    """The namespace of each app's Deployment of a tenant or pool."""
    found = {}
    for deployment in api.list("deployments.apps", labelSelector=f"tenantry/tenant={tenant}"):
        labels = deployment["metadata"]["labels"]
        found[labels["tenantry/app"]] = deployment["metadata"]["namespace"]
    return found


def pods(api: Api, tenant: str, app: str) -> list[Object]:
    """Pods of an app, except those being deleted."""
    selected = api.list("pods", labelSelector=f"tenantry/tenant={tenant},tenantry/app={app}")
    return [p for p in selected if not p["metadata"].get("deletionTimestamp")]


def rolled_out(api: Api, namespace: str, name: str) -> bool:
    from kubernetes import is_available

    return is_available(api, namespace, name)


def release(api: Api, tenant: str) -> Object | None:
    return api.find("helmreleases.helm.toolkit.fluxcd.io", tenant, "flux-tenants")


def wait_for_release(api: Api, tenant: str, seconds: float = 180) -> Object:
    def ready() -> Object | None:
        found = release(api, tenant)
        return found if found and is_current(found) else None

    try:
        found = wait_for(f"HelmRelease {tenant}", ready, seconds, 0.2)
    except ClusterError as error:
        raise ClusterError(f"{error}: {condition(release(api, tenant) or {}).get('message')}") from None
    assert found
    return found


def wait_until_gone(api: Api, kind: str, name: str, namespace: str | None = None, seconds: float = 120) -> None:
    wait_for(f"the end of {kind} {name}", lambda: api.find(kind, name, namespace) is None, seconds, 0.2)


__all__ = ["ApiError"]
