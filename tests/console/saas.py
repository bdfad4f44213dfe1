"""`local`, started for the tests: addresses from its start message, requests to it, commits pushed by hand."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from endpoints import Aws, Child, built, clean_environment, wait_until

AUTHOR = ("-c", "user.name=a person", "-c", "user.email=person@example.com")


class Saas:
    """A running `local` with its data in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        ports = [f"--{name}=127.0.0.1:0" for name in ("listen", "aws-listen", "console-listen", "admin-listen")]
        command = [str(built("local")), *ports, f"--data-dir={self.data}"]
        self.child = Child(command, clean_environment(), folder)
        try:
            self.child.wait_until(lambda: re.search("^Ctrl-C", self.child.output(), re.M), "local is ready")
        except BaseException:
            self.child.stop()
            raise

    def address(self, name: str) -> str:
        found = re.search(rf"^ *{name} +(http://\S+)", self.child.output(), re.M)
        assert found, self.child.output()
        return found[1].rstrip("/")

    @property
    def console(self) -> str:
        return self.address("console").removesuffix("/console") + "/console"

    def request(self, tenant: str, path: str, body: Any = None, **headers: str) -> Any:
        """Sends a request through the load balancer, and returns the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address("load balancer") + path,
            data,
            {"tenantID": tenant, "content-type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def api(self, path: str, body: Any = None) -> Any:
        """Sends a request to the control plane's API, and returns the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.console.removesuffix("/console") + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def listings(self) -> int:
        """How many lists of messages and of charges the pool's apps have answered."""
        counted = 0
        for app in ("consumer", "payments"):
            with urllib.request.urlopen(
                f"{self.address('admin')}".replace("/producer/", f"/{app}/"), timeout=10
            ) as answer:
                metrics = answer.read().decode()
            lists = re.findall(
                r'^http_requests_total{[^}]*route="/\w+/(?:messages|charges)"[^}]*method="GET"[^}]*} (\d+)',
                metrics,
                re.M,
            )
            counted += sum(map(int, lists))
        return counted

    def serves(self, tenant: str) -> bool:
        try:
            return bool(self.request(tenant, "/producer"))
        except OSError:
            return False

    def poison(self, tenant: str) -> None:
        """Sends a message of another tenant to the tenant's queue; the consumer dead-letters the message."""
        aws = Aws("localaws", self.address("AWS endpoint"))
        arn = aws.ssm.get_parameter(Name=f"/{tenant}/consumer_sqs")["Parameter"]["Value"]
        queue = aws.sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[1])["QueueUrl"]
        attributes = {"tenant_id": {"DataType": "String", "StringValue": "tenant-2"}}
        aws.sqs.send_message(QueueUrl=queue, MessageBody='{"order":13}', MessageAttributes=attributes)

    def clone(self, name: str) -> Clone:
        place = self.folder / name
        git(self.folder, "clone", "--quiet", str(self.data / "gitops.git"), str(place))
        return Clone(place)

    def stop(self) -> None:
        self.child.stop()


class Clone:
    """A person's clone of the GitOps repository."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def file_of(self, tenant: str) -> Path:
        found = [path for path in self.place.rglob(f"{tenant}.yaml") if "tenants" in path.parts]
        assert len(found) == 1, found
        return found[0]

    def push(self, subject: str) -> str:
        """Commits every change, pushes the commit and returns its id."""
        git(self.place, *AUTHOR, "commit", "--quiet", "--all", f"--message={subject}")
        wait_until(self._pushed, "the commit is pushed")
        return git(self.place, "rev-parse", "HEAD").strip()

    def _pushed(self) -> bool:
        """Pushes on top of what others have pushed meanwhile."""
        git(self.place, *AUTHOR, "pull", "--quiet", "--rebase")
        push = ["git", "push", "--quiet"]
        return (
            subprocess.run(push, cwd=self.place, env=clean_environment(), capture_output=True, timeout=60).returncode
            == 0
        )


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=place, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
