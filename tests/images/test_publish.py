"""docker/publish: what it tells docker to build, push and tag. A script stands in for docker and writes it down."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from containers import IMAGES, ROOT

TIMESTAMP = "20261123072645"
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
DOCKER = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$3" != inspect ] || { echo "$INSPECTED" >&2; exit "$INSPECT_CODE"; }
"""


@dataclass
class Publish:
    """The script in an environment of its own."""

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


def test_layers_are_kept_where_a_repository_for_them_is_named(publish: Publish) -> None:
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
    assert publish.run("release", inspected=("Name: it is there", 0)) == 0
    for app, call in zip(IMAGES, publish.calls("create"), strict=True):
        assert f":prd-{TIMESTAMP}" in call
        assert f"{app}:{VERSION}" not in call


def test_a_registry_that_does_not_answer_is_not_taken_for_one_without_the_version(publish: Publish) -> None:
    assert publish.run("release", inspected=("ERROR: connection refused", 1)) == 1
    assert publish.calls("create") == []


@pytest.mark.parametrize("timestamp", ["", "2026-11-23", "1732346805"])
def test_a_timestamp_that_does_not_sort_is_refused(publish: Publish, timestamp: str) -> None:
    assert publish.run("build", "amd64", TIMESTAMP=timestamp) != 0
    assert publish.calls("build") == []
