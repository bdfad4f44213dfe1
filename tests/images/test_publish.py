"""The workflows run every step of `make test`, and docker/publish builds, pushes and tags every image.

Scripts in place of `docker` and `make` record their calls.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from containers import IMAGES, ROOT

TIMESTAMP = "20261123072645"
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
DOCKER = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$3" != inspect ] || { echo "$INSPECTED" >&2; exit "$INSPECT_CODE"; }
"""


@dataclass
class Publish:
    """docker/publish in its own environment."""

    folder: Path

    def run(self, *arguments: str, inspected: tuple[str, int] = ("ERROR: not found", 1), **variables: str) -> int:
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "CALLS": str(self.folder / "calls"),
            "INSPECTED": inspected[0],
            "INSPECT_CODE": str(inspected[1]),
            "REGISTRY": "registry.test",
            "REPOSITORY_PREFIX": "team/",
            "TIMESTAMP": TIMESTAMP,
            **variables,
        }
        return subprocess.run([ROOT / "docker" / "publish", *arguments], check=False, env=environment).returncode

    def calls(self, verb: str) -> list[str]:
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.split()[:3].count(verb)]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    return Publish(tmp_path)


def test_every_image_is_built_and_pushed_for_one_architecture(publish: Publish) -> None:
    assert publish.run("build", "arm64") == 0
    calls = publish.calls("build")
    assert len(calls) == len(IMAGES)
    for app, call in zip(IMAGES, calls, strict=True):
        assert f"name=registry.test/team/{app}:build-{TIMESTAMP}-arm64,push=true" in call
        for option in (f"APP={app}", "--platform linux/arm64", "--sbom=true", "--provenance=mode=max"):
            assert option in call
        assert "--cache-" not in call


def test_a_build_cache_keeps_layers(publish: Publish) -> None:
    assert publish.run("build", "amd64", BUILD_CACHE="layers") == 0
    for call in publish.calls("build"):
        assert "--cache-from type=registry,ref=registry.test/team/layers:amd64 " in call
        assert "--cache-to type=registry,ref=registry.test/team/layers:amd64,mode=max" in call


def test_a_release_joins_the_architectures_under_timestamp_and_version(publish: Publish) -> None:
    assert publish.run("release") == 0
    for app, call in zip(IMAGES, publish.calls("create"), strict=True):
        image = f"registry.test/team/{app}"
        assert f"--tag {image}:prd-{TIMESTAMP} --tag {image}:{VERSION} " in call
        assert call.endswith(f"{image}:build-{TIMESTAMP}-amd64 {image}:build-{TIMESTAMP}-arm64")


def test_a_published_version_is_not_moved(publish: Publish) -> None:
    assert publish.run("release", inspected=("Name: found", 0)) == 0
    for app, call in zip(IMAGES, publish.calls("create"), strict=True):
        assert f":prd-{TIMESTAMP}" in call
        assert f"{app}:{VERSION}" not in call


def test_an_unreachable_registry_ends_the_release(publish: Publish) -> None:
    assert publish.run("release", inspected=("ERROR: connection refused", 1)) == 1
    assert publish.calls("create") == []


@pytest.mark.parametrize("timestamp", ["", "2026-11-23", "1732346805"])
def test_an_invalid_timestamp_is_refused(publish: Publish, timestamp: str) -> None:
    assert publish.run("build", "amd64", TIMESTAMP=timestamp) != 0
    assert publish.calls("build") == []


# Workflows

STEPS = re.search(r"^STEPS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
JOBS = {
    name: steps.split()
    for name, steps in re.findall(r"^(\w+): (.*)$", (ROOT / ".ci" / "jobs").read_text(), re.MULTILINE)
}
WORKFLOWS = [ROOT / folder / "workflows" / "ci.yaml" for folder in (".github", ".gitea")]

each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.parts[-3])


def test_the_jobs_run_every_step_once_and_in_order() -> None:
    """Only `build` is in several jobs, because a job starts without the binaries of another."""
    assert sorted(step for steps in JOBS.values() for step in steps if step != "build") == sorted(
        set(STEPS) - {"build"}
    )
    assert {step for steps in JOBS.values() for step in steps} == set(STEPS)
    for steps in JOBS.values():
        assert steps == sorted(steps, key=STEPS.index)


@each_workflow
def test_a_workflow_runs_every_job(workflow: Path) -> None:
    test = yaml.safe_load(workflow.read_text())["jobs"]["test"]
    assert test["strategy"]["matrix"] == {"job": list(JOBS)}
    runs = [(step["run"], step["env"]) for step in test["steps"] if ".ci/run" in step.get("run", "")]
    assert runs == [('.ci/run "$JOB"', {"JOB": "${{ matrix.job }}"})]
    assert "if" not in test


@each_workflow
def test_images_are_pushed_only_from_main_and_after_every_job(workflow: Path) -> None:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    pushing = {name for name, job in jobs.items() if any("docker/publish" in s.get("run", "") for s in job["steps"])}
    assert pushing == {"build", "release"}
    assert {name: job["needs"] for name, job in jobs.items() if "needs" in job} == {
        "timestamp": "test",
        "build": "timestamp",
        "release": ["timestamp", "build"],
    }
    assert "github.ref == 'refs/heads/main'" in jobs["timestamp"]["if"]


@pytest.mark.parametrize("job", ["", *JOBS])
def test_ci_runs_the_steps_of_a_job_or_all(job: str, tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\nprintf "%s|" "$@" > "$CALLS"\n')
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    subprocess.run([ROOT / ".ci" / "run", *job.split()], check=True, env=environment)
    expected = f"test|STEPS={' '.join(JOBS[job])}|" if job else "test|"
    assert (tmp_path / "calls").read_text() == expected


def test_ci_refuses_an_unknown_job() -> None:
    done = subprocess.run([ROOT / ".ci" / "run", "chart"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, ".ci/run: no job chart in .ci/jobs\n")
