"""What the control plane's containers call is there: program, command, options, variables, volumes, exit codes.

The manifests are played with the real `tenantctl`: Argo's step with its own arguments and variables, on a repository
that begins with this tree.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import ROOT
from manifests import Manifest
from repository import CLUSTERS, GITOPS

PROGRAM = ROOT / "target" / "debug" / "tenantctl"
ONBOARDING = {"tenant_id": "acme", "tenant_tier": "advanced", "release_version": "0.0"}
SDK_AND_SYSTEM = re.compile(r"AWS_[A-Z_]+|HOME")
"""Variables that others than `tenantctl` read: the AWS SDK and git."""


@dataclass(frozen=True)
class Place:
    """A container of the image, with what surrounds it."""

    pod: Manifest
    container: Manifest
    variables: dict[str, str]


@pytest.fixture(scope="session")
def tenantctl() -> Path:
    assert PROGRAM.exists(), f"{PROGRAM} is not there: make build"
    return PROGRAM


def places(objects: dict[str, list[Manifest]]) -> Iterator[tuple[str, Place]]:
    for source, found in objects.items():
        settings = {o["metadata"]["name"]: o["data"] for o in found if o["kind"] == "ConfigMap" and "data" in o}
        for o in found:
            for pod, container in containers(o):
                if re.search(r"/tenantctl[:@]", container.get("image", "")):
                    names = [e["configMapRef"]["name"] for e in container["envFrom"] if "configMapRef" in e]
                    variables = {k: v for name in names for k, v in settings[name].items()}
                    variables |= {e["name"]: e.get("value", "") for e in container.get("env", [])}
                    yield f"{source}: {o['kind']}", Place(pod, container, variables)


def containers(manifest: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    if manifest["kind"] == "WorkflowTemplate":
        for template in manifest["spec"]["templates"]:
            yield template, template["container"]
    elif manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        yield from ((pod, container) for container in pod["containers"])


@pytest.fixture(scope="session")
def called(objects: dict[str, list[Manifest]]) -> dict[str, Place]:
    return dict(places(objects))


@pytest.fixture(scope="session")
def step(called: dict[str, Place]) -> Place:
    return called["argo: WorkflowTemplate"]


def test_both_overlays_and_both_clusters_are_looked_at(called: dict[str, Place]) -> None:
    expected = {"argo: WorkflowTemplate", "production: WorkflowTemplate", "worker: Deployment", "homelab: Deployment"}
    assert called.keys() == expected
    assert set(CLUSTERS) == {"production", "homelab"}


def test_the_program_is_the_images_entry_point(called: dict[str, Place]) -> None:
    entry = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    assert len(entry) == 1
    for where, place in called.items():
        # Argo looks an entry point up in the registry where none is named, which takes credentials it has not.
        expected = json.loads(entry[0]) if where.endswith("WorkflowTemplate") else None
        assert place.container.get("command") == expected, where


def test_the_image_has_git_and_its_transport() -> None:
    files = (ROOT / "docker" / "rootfs").read_text()
    for path in ("/usr/bin/git", "/usr/lib/git-core/git-remote-http", "git-remote-https"):
        assert path in files


def test_commands_and_options_are_those_of_the_program(tenantctl: Path, called: dict[str, Place]) -> None:
    for where, place in called.items():
        arguments = filled(place.container["args"], **FILLING)
        # Help is given only where everything before it is understood.
        assert ended(tenantctl, [*arguments, "--help"]).returncode == 0, where
        assert ended(tenantctl, [*arguments, "--no-such-option", "--help"]).returncode == 2, where


def test_every_variable_is_read_by_the_command(tenantctl: Path, called: dict[str, Place]) -> None:
    for where, place in called.items():
        told = ended(tenantctl, [place.container["args"][0], "--help"]).stdout
        known = set(re.findall(r"\[env: ([A-Z_]+)", told))
        assert "GITOPS_REPOSITORY" in known
        strangers = {name for name in place.variables if not SDK_AND_SYSTEM.fullmatch(name)} - known
        assert strangers == set(), where


def test_what_is_written_is_in_a_volume_and_the_password_in_a_secret(called: dict[str, Place]) -> None:
    for where, place in called.items():
        container, volumes = place.container, {v["name"]: v for v in place.pod["volumes"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
        mounts = {Path(m["mountPath"]): (m, volumes[m["name"]]) for m in container["volumeMounts"]}
        # Temporary files are in /tmp, where TMPDIR says nothing else.
        for path in (place.variables["GITOPS_CACHE_DIR"], place.variables["HOME"], "/tmp"):  # noqa: S108
            mount, volume = next(mounts[p] for p in (Path(path), *Path(path).parents) if p in mounts)
            assert "emptyDir" in volume, (where, path)
            assert not mount.get("readOnly"), (where, path)
        password = Path(place.variables["GITOPS_PASSWORD_FILE"])
        mount, volume = mounts[password.parent]
        assert volume["secret"]["secretName"] == "tenantctl-git", where
        assert f"--from-file={password.name}=" in (GITOPS / "README.md").read_text()
        # Readable by the group that the pod's volumes belong to, and by nobody else.
        assert volume["secret"]["defaultMode"] == 0o440, where
        assert mount["readOnly"] is True, where


FILLING = {"kind": "onboarding", "message": base64.b64encode(json.dumps(ONBOARDING).encode()).decode(), "id": "m-1"}


def filled(arguments: list[str], *, kind: str, message: str, id: str) -> list[str]:
    """The step's arguments as Argo fills them in."""
    values = {"kind": kind, "message": message, "request-id": id}
    return [re.sub(r"\{\{inputs\.parameters\.([a-z-]+)\}\}", lambda m: values[m[1]], a) for a in arguments]


def ended(
    program: Path, arguments: list[str], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **(variables or {})}
    command = [str(program), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)


@dataclass(frozen=True)
class Repository:
    """A bare repository with this tree, and the step's variables, pointed at it and at folders of the test's."""

    path: Path
    variables: dict[str, str]

    def commits(self) -> int:
        return int(git(self.path, "rev-list", "--count", "main"))


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **identity}
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(step: Place, tmp_path: Path) -> Repository:
    work, bare = tmp_path / "work", tmp_path / "gitops.git"
    shutil.copytree(GITOPS, work)
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=Seed")
    git(tmp_path, "clone", "--quiet", "--bare", "work", "gitops.git")
    password, volume = tmp_path / "password", tmp_path / "tmp"
    password.write_text("token\n")
    volume.mkdir()
    own = {
        "GITOPS_REPOSITORY": str(bare),
        "GITOPS_PASSWORD_FILE": str(password),
        "GITOPS_CACHE_DIR": str(volume / "tenantctl"),
        "HOME": str(volume),
    }
    assert own.keys() <= step.variables.keys()
    return Repository(bare, step.variables | own)


def test_argos_step_makes_a_commit_and_a_second_delivery_none(
    tenantctl: Path, step: Place, repository: Repository
) -> None:
    for _ in range(2):
        done = ended(tenantctl, filled(step.container["args"], **FILLING), repository.variables)
        assert done.returncode == 0, done.stderr
        assert repository.commits() == 2
    message = git(repository.path, "log", "-1", "--format=%an%n%B", "main")
    assert message.startswith("tenantctl\n")
    assert message.endswith("Request-Id: m-1")
    assert "acme.yaml" in git(repository.path, "show", "--stat", "main")


def is_final(step: Place, code: int) -> bool:
    """Whether Argo leaves a step that ended with this code."""
    strategy = step.pod["retryStrategy"]
    condition = r'lastRetry\.status == "Error" or not \(asInt\(lastRetry\.exitCode\) in (\[[\d, ]+\])\)'
    found = re.fullmatch(condition, strategy["expression"])
    assert found, strategy["expression"]
    assert int(strategy["limit"]) >= 3
    return code in json.loads(found[1])


BAD: dict[str, tuple[str, Any]] = {
    "not base64": ("onboarding", None),
    "not the message of its queue": ("offboarding", ONBOARDING),
    "a hostile id": ("onboarding", ONBOARDING | {"tenant_id": "../../clusters/production"}),
    "a conflict": ("onboarding", ONBOARDING | {"tenant_id": "tenant-1"}),
    "nobody": ("offboarding", {"tenant_id": "nobody"}),
}


@pytest.mark.parametrize("what", BAD)
def test_argo_leaves_a_message_that_can_never_be_carried_out(
    what: str, tenantctl: Path, step: Place, repository: Repository
) -> None:
    kind, body = BAD[what]
    message = "{{}}" if body is None else base64.b64encode(json.dumps(body).encode()).decode()
    done = ended(tenantctl, filled(step.container["args"], kind=kind, message=message, id="m-1"), repository.variables)
    assert is_final(step, done.returncode), done
    assert repository.commits() == 1


def test_argo_tries_again_what_may_pass(tenantctl: Path, step: Place, repository: Repository) -> None:
    arguments = filled(step.container["args"], **FILLING)
    away = repository.variables | {"GITOPS_REPOSITORY": "http://127.0.0.1:1/gitops.git"}
    full = repository.variables | {"GITOPS_CACHE_DIR": str(repository.path / "HEAD")}
    for variables in (away, full):
        done = ended(tenantctl, arguments, variables)
        assert done.returncode != 0
        assert not is_final(step, done.returncode), done
    # What `--help` says may be tried again, and only that, is.
    told = ended(tenantctl, ["--help"]).stdout
    codes = {int(code): text for code, text in re.findall(r"^  (\d)  (.*)$", told, re.M)}
    assert {code for code in codes if not is_final(step, code)} == {0, 1, 6, 7}
    assert "try again" in codes[7]
    assert "cannot be reached" in codes[6]
