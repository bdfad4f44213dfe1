"""The workflows run every step of `make test`, and docker/publish builds, pushes, tags and signs every image and chart.

Scripts in place of `docker`, `cosign`, `python3` and `make` record their calls.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from containers import IMAGES, ROOT

TIMESTAMP = "20261123072645"
VERSION = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
DOCKER = f"""#!/bin/sh
echo "$*" >> "$CALLS"
[ "$4" != --format ] || {{ echo {DIGEST}; exit 0; }}
[ "$3" != inspect ] || {{ echo "$INSPECTED" >&2; exit "$INSPECT_CODE"; }}
"""
COSIGN = """#!/bin/sh
echo "cosign $*" >> "$CALLS"
"""
PYTHON = f"""#!/bin/sh
echo "python3 $*" >> "$CALLS"
echo "application-chart 0.0.4 is published already"
echo "helm-tenant-chart 0.0.4 pushed as {DIGEST}"
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
    for name, script in {"docker": DOCKER, "cosign": COSIGN, "python3": PYTHON}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    return Publish(tmp_path)


def test_every_image_is_built_and_pushed_for_one_architecture(publish: Publish) -> None:
    assert publish.run("build", "arm64") == 0
    calls = publish.calls("build")
    assert len(calls) == len(IMAGES)
    for app, call in zip(IMAGES, calls, strict=True):
        assert f"name=registry.test/team/{app}:build-{TIMESTAMP}-arm64,push=true" in call
        for option in (f"APP={app}", "--platform linux/arm64", "--sbom=generator=", "--provenance=mode=max"):
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


def test_every_released_image_is_signed_by_digest(publish: Publish) -> None:
    assert publish.run("release") == 0
    assert publish.calls("sign") == [
        f"cosign sign --yes --recursive registry.test/team/{app}@{DIGEST}" for app in IMAGES
    ]


def test_a_key_signs_without_a_public_log(publish: Publish) -> None:
    assert publish.run("release", COSIGN_PRIVATE_KEY="key") == 0
    for call in publish.calls("sign"):
        assert call.startswith(
            "cosign sign --yes --recursive --key env://COSIGN_PRIVATE_KEY --tlog-upload=false registry"
        )


def test_the_charts_that_a_run_pushes_are_signed_and_no_others(publish: Publish) -> None:
    """The run did not make an older version, so it cannot vouch for it."""
    assert publish.run("charts") == 0
    assert publish.calls("python3") == ["python3 docker/push_charts.py oci://registry.test/team/charts"]
    signed = f"cosign sign --yes --recursive registry.test/team/charts/helm-tenant-chart@{DIGEST}"
    assert publish.calls("sign") == [signed]


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
        "tools": "timestamp",
        "release": ["timestamp", "build", "tools"],
    }
    assert "github.ref == 'refs/heads/main'" in jobs["timestamp"]["if"]


CREDENTIALS = re.compile(r"configure-aws-credentials|ecr-login|docker login|secrets\.")
INSTALLS = re.compile(r"apt|pip|npm|cargo|rustup|curl|wget|make |release-tools fetch|install")
RUNS = re.compile(r"docker/publish .*|docker log(in|out) .*|docker/release-tools unpack release-tools\n(echo .*\n)*")


@each_workflow
def test_a_job_with_credentials_installs_nothing(workflow: Path) -> None:
    """What it runs is this repository's, the runner's, or has a checksum here. Actions come before the credentials."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    holding = {name for name, job in jobs.items() if any(CREDENTIALS.search(str(step)) for step in job["steps"])}
    assert holding == {"build", "release"}
    for name in holding:
        steps = jobs[name]["steps"]
        first = next(i for i, step in enumerate(steps) if CREDENTIALS.search(str(step)))
        for i, step in enumerate(steps):
            if "run" in step:
                assert not INSTALLS.search(step["run"]), f"{name}: {step['run']}"
                assert RUNS.fullmatch(step["run"]), f"{name}: {step['run']}"
            elif i > first:
                assert CREDENTIALS.search(step["uses"]), f"{name}: {step['uses']} runs beside credentials"


DIGESTED = re.compile(r"[\w.-]+/[\w.-]+:[\w.-]+@sha256:[0-9a-f]{64}")


@each_workflow
def test_what_the_builder_runs_is_pinned_by_digest(workflow: Path) -> None:
    """An action fetches an image of its own choice otherwise, and a tag of it may move."""
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        for step in job["steps"]:
            with_ = step.get("with", {})
            if "setup-buildx-action" in step.get("uses", ""):
                assert DIGESTED.fullmatch(with_["driver-opts"].removeprefix("image="))
            if "setup-qemu-action" in step.get("uses", ""):
                assert DIGESTED.fullmatch(with_["image"])


def test_the_scanner_of_images_is_pinned_by_digest(publish: Publish) -> None:
    assert publish.run("build", "amd64") == 0
    for call in publish.calls("build"):
        (scanner,) = re.findall(r"--sbom=generator=(\S+)", call)
        assert DIGESTED.fullmatch(scanner)


@each_workflow
def test_images_and_charts_are_signed(workflow: Path) -> None:
    release = yaml.safe_load(workflow.read_text())["jobs"]["release"]
    assert [s["run"] for s in release["steps"] if "docker/publish" in s.get("run", "")] == [
        "docker/publish release",
        "docker/publish charts",
    ]
    assert release["permissions"]["id-token"] == "write"


def test_the_base_image_is_pinned_by_digest() -> None:
    (image,) = re.findall(r"^ARG RUST_IMAGE=(.*)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    channel = re.search(r'^channel = "(\d+\.\d+)', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE)[1]
    assert re.fullmatch(rf"rust:{channel}-slim-bookworm@sha256:[0-9a-f]{{64}}", image)


# Tools of the release job


@pytest.fixture
def release_tools(tmp_path: Path) -> Path:
    """A copy of docker/release-tools whose lock files name two made-up files, which are in the folder `tools`."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "docker" / "release-tools", tmp_path / "docker")
    program, wheel = tmp_path / "tools" / "cosign", tmp_path / "tools" / "helm_python_sdk-1-py3-none-any.whl"
    program.write_text("#!/bin/sh\n")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("helm_python/__init__.py", "")
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (program, wheel)]
    (tmp_path / "docker" / "release-tools.lock").write_text(f"# a\ncosign {sums[0]} https://example.com/cosign\n")
    hashes = [f"    --hash=sha256:{digest}" for digest in ("1" * 64, sums[1])]
    lock = "\n".join(["first==1 \\", hashes[0], "helm-python-sdk==1 \\", f"{hashes[0]} \\", hashes[1], "last==1", ""])
    (tmp_path / "tests" / "requirements.lock").write_text(lock)
    return tmp_path


def unpack(folder: Path) -> int:
    command = [folder / "docker" / "release-tools", "unpack", "tools"]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_tools_with_the_right_checksums_are_unpacked(release_tools: Path) -> None:
    assert unpack(release_tools) == 0
    assert os.access(release_tools / "tools" / "bin" / "cosign", os.X_OK)
    assert (release_tools / "tools" / "python" / "helm_python" / "__init__.py").exists()


@pytest.mark.parametrize("file", ["cosign", "helm_python_sdk-1-py3-none-any.whl"])
def test_a_changed_tool_ends_the_release(file: str, release_tools: Path) -> None:
    with (release_tools / "tools" / file).open("ab") as changed:
        changed.write(b"x")
    assert unpack(release_tools) != 0
    assert not (release_tools / "tools" / "python").exists()


def test_the_library_that_pushes_charts_is_locked() -> None:
    lock = (ROOT / "tests" / "requirements.lock").read_text()
    assert re.search(
        r"^helm-python-sdk==\S+ \\\n( +--hash=sha256:[0-9a-f]{64} \\\n)* +--hash=sha256:[0-9a-f]{64}$",
        lock,
        re.MULTILINE,
    )


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
