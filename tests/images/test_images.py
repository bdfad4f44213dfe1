"""An image holds its program and no more, runs without rights, and survives a registry."""

from __future__ import annotations

import json
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Registry
from containers import IMAGES, NONROOT, built_with, image_of, podman

COMPRESSED_BYTES_MAX = 20_000_000
# git and its libraries are more than half of the images that call it.
COMPRESSED_BYTES_MAX_WITH_GIT = 25_000_000
WITH_GIT = {"tenantctl", "onboarding"}
# Programs with another name than their image.
PROGRAMS = {"onboarding": "onboarding-service"}

each_image = pytest.mark.parametrize("app", IMAGES)


@pytest.fixture
def files(app: str) -> Iterator[Path]:
    """The image's root file system."""
    image = image_of(app)
    mounted = Path(podman("image", "mount", image))
    yield mounted
    podman("image", "unmount", image)


@each_image
def test_an_image_runs_as_an_unprivileged_user_and_has_labels(app: str) -> None:
    config = json.loads(podman("inspect", "--type=image", image_of(app)))[0]["Config"]
    assert config["User"] == f"{NONROOT}:{NONROOT}"
    assert config["Entrypoint"] == ["/service"]
    assert config["ExposedPorts"].keys() == {"8080/tcp", "9090/tcp"}
    arguments = built_with(app)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == app
    assert labels["licenses"] == "Apache-2.0"
    for label in ("description", "version", "revision", "created"):
        assert labels[label] == arguments[label.upper()], label


@each_image
def test_an_image_holds_the_service_its_libraries_and_no_shell(app: str, files: Path) -> None:
    found = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    programs = {name for name in found if (files / name).stat().st_mode & 0o111 and ".so" not in name}
    # tenantctl calls git, which calls its HTTP transport; both link more libraries.
    git = {"usr/bin/git", "usr/lib/git-core/git-remote-http", "usr/lib/git-core/git-remote-https"}
    assert programs == {"service"} | (git if app in WITH_GIT else set())
    libraries = {Path(name).name for name in found if ".so" in name}
    assert libraries >= {"libc.so.6"}
    if app not in WITH_GIT:
        assert all(name.startswith(("ld-linux-", "libc.", "libm.", "libgcc_s.")) for name in libraries), libraries
    assert (files / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000
    assert (files / "etc/passwd").read_text().startswith(f"nonroot:x:{NONROOT}:{NONROOT}:")
    assert (files / "var/lib/dpkg/status.d/libc6").read_text().startswith("Package: libc6\n")


@each_image
def test_the_service_cannot_change_a_file_of_its_image(app: str, files: Path) -> None:
    for path in [files, *files.rglob("*")]:
        entry = path.lstat()
        assert (entry.st_uid, entry.st_gid) == (0, 0), path
        assert stat.S_ISLNK(entry.st_mode) or not entry.st_mode & 0o022, path
        assert not entry.st_mode & (stat.S_ISUID | stat.S_ISGID), path


@each_image
def test_an_image_has_no_setting_of_this_machine(app: str) -> None:
    inspected = podman("inspect", "--type=image", image_of(app))
    history = podman("history", "--no-trunc", "--format={{.CreatedBy}}", image_of(app))
    for word in ("/vendor", "CARGO", "http://", "replace-with"):
        assert word not in inspected + history


@each_image
def test_an_image_runs_the_program_of_its_name(app: str) -> None:
    name = podman("run", "--rm", "--network=none", "--pull=never", "--read-only", image_of(app), "--version")
    assert name == f"{PROGRAMS.get(app, app)} {built_with(app)['VERSION']}"


@each_image
def test_a_missing_setting_is_one_line_and_exit_code_2(app: str) -> None:
    if app == "local":
        pytest.skip("local needs no setting")
    command = ["podman", "run", "--rm", "--network=none", "--pull=never", "--read-only", image_of(app)]
    line = "ENVIRONMENT is not set; --help says what it takes"
    if app == "tenantctl":
        command, line = [*command, "lint"], "no repository: set --repository or GITOPS_REPOSITORY"
    if app == "onboarding":
        line = "GITOPS_REPOSITORY is not set; --help says what it takes"
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"{PROGRAMS.get(app, app)}: {line}\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_tenantctl_finds_git_and_git_finds_its_transport(scheme: str) -> None:
    command = ["podman", "run", "--rm", "--network=none", "--pull=never", "--read-only", "--tmpfs=/tmp"]
    repository = f"--repository={scheme}://127.0.0.1:9/gitops.git"
    arguments = [image_of("tenantctl"), repository, "--cache-dir=/tmp/cache", "lint"]
    done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, "Failed to connect" in done.stderr) == (6, True), done.stderr


@each_image
def test_an_image_survives_a_registry_and_is_small(
    app: str, registry: Registry, figures: dict[str, dict[str, str]]
) -> None:
    image, remote = image_of(app), f"{registry.host}/tenantry/{app}:test"
    podman("push", "--tls-verify=false", "--format=oci", image, remote)
    podman("pull", "--quiet", "--tls-verify=false", remote)
    try:
        identity = "--format={{.Id}}"
        assert podman("inspect", "--type=image", identity, remote) == podman("inspect", "--type=image", identity, image)
    finally:
        podman("untag", remote, remote)
    request = urllib.request.Request(
        f"http://{registry.host}/v2/tenantry/{app}/manifests/test",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        compressed = sum(layer["size"] for layer in json.load(answer)["layers"])
    figures[app]["compressed"] = f"{compressed / 1e6:.1f} MB"
    figures[app]["unpacked"] = f"{int(podman('inspect', '--type=image', '--format={{.Size}}', image)) / 1e6:.1f} MB"
    assert compressed < (COMPRESSED_BYTES_MAX_WITH_GIT if app in WITH_GIT else COMPRESSED_BYTES_MAX)
