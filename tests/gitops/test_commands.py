"""The control plane's containers match `tenantctl`: program, command, options, variables, volumes, exit codes.

The tests run the real `tenantctl` as the manifests do: Argo's step with its own arguments and variables, on a
repository with this tree.
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
"""Variables for the AWS SDK and git, which `tenantctl --help` does not list."""


@dataclass(frozen=True)
class Caller:
    """A container that runs `tenantctl`, with its pod and its variables."""

    pod: Manifest
    container: Manifest
    variables: dict[str, str]


@pytest.fixture(scope="session")
def tenantctl() -> Path:
    assert PROGRAM.exists(), f"{PROGRAM} does not exist; run make build"
    return PROGRAM


def all_callers(objects: dict[str, list[Manifest]]) -> Iterator[tuple[str, Caller]]:
    for source, found in objects.items():
        settings = {o["metadata"]["name"]: o["data"] for o in found if o["kind"] == "ConfigMap" and "data" in o}
        for o in found:
            for pod, container in containers(o):
                if re.search(r"/tenantctl[:@]", container.get("image", "")):
                    names = [e["configMapRef"]["name"] for e in container["envFrom"] if "configMapRef" in e]
                    variables = {k: v for name in names for k, v in settings[name].items()}
                    variables |= {e["name"]: e.get("value", "") for e in container.get("env", [])}
                    yield f"{source}: {o['kind']}", Caller(pod, container, variables)


def containers(manifest: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    if manifest["kind"] == "WorkflowTemplate":
        for template in manifest["spec"]["templates"]:
            yield template, template["container"]
    elif manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        yield from ((pod, container) for container in pod["containers"])


@pytest.fixture(scope="session")
def callers(objects: dict[str, list[Manifest]]) -> dict[str, Caller]:
    return dict(all_callers(objects))


@pytest.fixture(scope="session")
def step(callers: dict[str, Caller]) -> Caller:
    return callers["argo: WorkflowTemplate"]


def test_both_overlays_and_both_clusters_are_tested(callers: dict[str, Caller]) -> None:
    expected = {"argo: WorkflowTemplate", "production: WorkflowTemplate", "worker: Deployment", "homelab: Deployment"}
    assert callers.keys() == expected
    assert set(CLUSTERS) == {"production", "homelab"}


def test_the_program_is_the_images_entry_point(callers: dict[str, Caller]) -> None:
    entry = re.findall(r"^ENTRYPOINT (.*)$", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    assert len(entry) == 1
    for where, caller in callers.items():
        # Without a command, Argo looks up the entry point in the registry, for which it has no credentials.
        expected = json.loads(entry[0]) if where.endswith("WorkflowTemplate") else None
        assert caller.container.get("command") == expected, where


def test_the_image_has_git_and_its_transport() -> None:
    files = (ROOT / "docker" / "rootfs").read_text()
    for path in ("/usr/bin/git", "/usr/lib/git-core/git-remote-http", "git-remote-https"):
        assert path in files


def test_the_program_accepts_commands_and_options(tenantctl: Path, callers: dict[str, Caller]) -> None:
    for where, caller in callers.items():
        arguments = filled(caller.container["args"], **FILLING)
        # `--help` succeeds only if every argument before it is valid.
        assert run(tenantctl, [*arguments, "--help"]).returncode == 0, where
        assert run(tenantctl, [*arguments, "--no-such-option", "--help"]).returncode == 2, where


def test_the_command_reads_every_variable(tenantctl: Path, callers: dict[str, Caller]) -> None:
    for where, caller in callers.items():
        help_text = run(tenantctl, [caller.container["args"][0], "--help"]).stdout
        known = set(re.findall(r"\[env: ([A-Z_]+)", help_text))
        assert "GITOPS_REPOSITORY" in known
        unknown = {name for name in caller.variables if not SDK_AND_SYSTEM.fullmatch(name)} - known
        assert unknown == set(), where


def test_written_paths_are_in_a_volume_and_the_password_is_in_a_secret(callers: dict[str, Caller]) -> None:
    for where, caller in callers.items():
        container, volumes = caller.container, {v["name"]: v for v in caller.pod["volumes"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, where
        mounts = {Path(m["mountPath"]): (m, volumes[m["name"]]) for m in container["volumeMounts"]}
        # Temporary files are in /tmp, because TMPDIR is not set.
        for path in (caller.variables["GITOPS_CACHE_DIR"], caller.variables["HOME"], "/tmp"):  # noqa: S108
            mount, volume = next(mounts[p] for p in (Path(path), *Path(path).parents) if p in mounts)
            assert "emptyDir" in volume, (where, path)
            assert not mount.get("readOnly"), (where, path)
        password = Path(caller.variables["GITOPS_PASSWORD_FILE"])
        mount, volume = mounts[password.parent]
        assert volume["secret"]["secretName"] == "tenantctl-git", where
        assert f"--from-file={password.name}=" in (GITOPS / "README.md").read_text()
        # Readable only by root and the pod's fsGroup.
        assert volume["secret"]["defaultMode"] == 0o440, where
        assert mount["readOnly"] is True, where


FILLING = {"kind": "onboarding", "message": base64.b64encode(json.dumps(ONBOARDING).encode()).decode(), "id": "m-1"}


def filled(arguments: list[str], *, kind: str, message: str, id: str) -> list[str]:
    """Fills in the step's arguments as Argo does."""
    values = {"kind": kind, "message": message, "request-id": id}
    return [re.sub(r"\{\{inputs\.parameters\.([a-z-]+)\}\}", lambda m: values[m[1]], a) for a in arguments]


def run(
    program: Path, arguments: list[str], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **(variables or {})}
    command = [str(program), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)


@dataclass(frozen=True)
class Repository:
    """A bare repository with this tree, and the step's variables for this repository and the test's folders."""

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
def repository(step: Caller, tmp_path: Path) -> Repository:
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


def test_argos_step_makes_one_commit_for_two_deliveries(tenantctl: Path, step: Caller, repository: Repository) -> None:
    for _ in range(2):
        done = run(tenantctl, filled(step.container["args"], **FILLING), repository.variables)
        assert done.returncode == 0, done.stderr
        assert repository.commits() == 2
    message = git(repository.path, "log", "-1", "--format=%an%n%B", "main")
    assert message.startswith("tenantctl\n")
    assert message.endswith("Request-Id: m-1")
    assert "acme.yaml" in git(repository.path, "show", "--stat", "main")


def is_final(step: Caller, code: int) -> bool:
    """Whether Argo does not retry a step that ended with this code."""
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
    "an unknown tenant": ("offboarding", {"tenant_id": "unknown"}),
}


@pytest.mark.parametrize("mistake", BAD)
def test_argo_does_not_retry_a_permanent_failure(
    mistake: str, tenantctl: Path, step: Caller, repository: Repository
) -> None:
    kind, body = BAD[mistake]
    message = "{{}}" if body is None else base64.b64encode(json.dumps(body).encode()).decode()
    done = run(tenantctl, filled(step.container["args"], kind=kind, message=message, id="m-1"), repository.variables)
    assert is_final(step, done.returncode), done
    assert repository.commits() == 1


def test_argo_retries_a_temporary_failure(tenantctl: Path, step: Caller, repository: Repository) -> None:
    arguments = filled(step.container["args"], **FILLING)
    unreachable = repository.variables | {"GITOPS_REPOSITORY": "http://127.0.0.1:1/gitops.git"}
    unwritable = repository.variables | {"GITOPS_CACHE_DIR": str(repository.path / "HEAD")}
    for variables in (unreachable, unwritable):
        done = run(tenantctl, arguments, variables)
        assert done.returncode != 0
        assert not is_final(step, done.returncode), done
    # Argo retries exactly the exit codes that `--help` calls temporary.
    help_text = run(tenantctl, ["--help"]).stdout
    codes = {int(code): text for code, text in re.findall(r"^  (\d)  (.*)$", help_text, re.M)}
    assert {code for code in codes if not is_final(step, code)} == {0, 1, 6, 7}
    assert "try again" in codes[7]
    assert "unreachable" in codes[6]
