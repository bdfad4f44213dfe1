"""The deployment pages can be followed: their names exist, and their commands are valid shell."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine import ROOT

PAGES = [
    ROOT / "docs" / "deploy-eks.md",
    ROOT / "docs" / "deploy-homelab.md",
    ROOT / "terraform" / "README.md",
    ROOT / "gitops" / "README.md",
]
GITOPS = ROOT / "gitops"
SHELL = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


@pytest.fixture(params=PAGES, ids=lambda p: p.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def shell_of(page: Path) -> str:
    """Joins a page's shell blocks to one script, as a reader types them in order."""
    return "\n".join(SHELL.findall(page.read_text()))


def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", found.read_text(), re.M)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, target


FOLDERS = "docker terraform gitops helm-charts docs tests .github .gitea"
LAYERS = "clusters infrastructure control-plane application-plane"
PLACES = f"(?:{'|'.join(map(re.escape, f'{FOLDERS} {LAYERS}'.split()))})"
# Terraform objects in kubectl's notation, and the file of an example tenant.
OBJECTS = re.compile(r"terraform/(tenant|pool)-|.*/offboarded/tenant$")


def test_paths_of_the_repository_exist(page: Path) -> None:
    text = re.sub(r"https?://\S+", "", page.read_text())
    named = set(re.findall(rf"(?<![\w./-])({PLACES}/[\w./-]*\w)", text))
    assert named or page.name == "README.md"
    missing = []
    for path in named:
        if not OBJECTS.match(path) and not (ROOT / path).exists() and not (GITOPS / path).exists():
            missing.append(path)
    assert missing == []


def test_commands_are_valid_shell(page: Path) -> None:
    checker = Path(sys.executable).parent / "shellcheck"
    if not checker.exists():
        pytest.skip("shellcheck is not installed for this machine")
    # The excluded checks matter to a script's exit code, not at a prompt.
    options = ["--shell=bash", "--severity=warning", "--exclude=SC2155,SC2164", "-"]
    done = subprocess.run([str(checker), *options], input=shell_of(page), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_here_documents_are_yaml(page: Path) -> None:
    for document in re.findall(r"<<EOF\n(.*?)^EOF$", shell_of(page), re.M | re.S):
        assert list(yaml.safe_load_all(document))


def test_targets_variables_and_outputs_exist(page: Path) -> None:
    text = page.read_text()
    makefile = "\n".join((ROOT / name).read_text() for name in ("Makefile", "tests/cluster/cluster.mk"))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for command in re.findall(r"-chdir=(\S+) (?:apply|destroy)((?:[^\n]|\\\n)*)", text):
        folder, arguments = command
        declared = {
            name
            for file in (ROOT / folder).glob("*.tf")
            for name in re.findall(r'^variable "(\w+)"', file.read_text(), re.M)
        }
        assert set(re.findall(r"-var (\w+)=", arguments)) <= declared


def test_names_in_the_cluster_are_in_the_gitops_tree(page: Path) -> None:
    """The GitOps tree knows every namespace and Secret that a page uses."""
    tree = "\n".join(file.read_text() for file in GITOPS.rglob("*.yaml"))
    own = set(re.findall(r"^  name: (\S+)$", shell_of(page), re.M))
    for namespace in set(re.findall(r"--namespace ([a-z][a-z-]+)", shell_of(page))) - own:
        known = re.search(rf"(?:name|[nN]amespace): {namespace}$", tree, re.M)
        assert known or namespace in {"metallb-system", "harbor"}, namespace
    for name in re.findall(r"create secret (?:generic|docker-registry|tls) ([a-z][a-z-]+)", shell_of(page)):
        assert re.search(rf"(?:name|secretName|key): {name}$", tree, re.M) or name == "harbor-tls", name
    for path in re.findall(r"--path=(\S+)", shell_of(page)):
        assert (GITOPS / path / "kustomization.yaml").exists()


def test_replaced_settings_exist(page: Path) -> None:
    for expression, file in re.findall(r'sed -i "(.*?)" \\\n  (\S+)', shell_of(page), re.S):
        settings = (GITOPS / file).read_text()
        for name in re.findall(r"s\|(\w+): ", expression):
            assert re.search(rf"^  {name}: ", settings, re.M), f"{name} in {file}"
    for expression, file in re.findall(r"sed -i '(/.*?/d)' (\S+)", shell_of(page)):
        lines = (GITOPS / file).read_text()
        for part in re.findall(r"/(components\\/[a-z-]+)\$/d", expression):
            assert part.replace("\\", "") in lines, part


def test_tenantctl_has_every_option(page: Path) -> None:
    arguments = "\n".join(file.read_text() for file in (ROOT / "tenantctl" / "src").rglob("*.rs"))
    for line in re.findall(r"^\s*tenantctl (.*)$", shell_of(page), re.M):
        for option in re.findall(r"--([a-z-]+)", line):
            assert option.replace("-", "_") in arguments, option


def test_platform_makes_a_repository_for_every_published_image_and_chart() -> None:
    declared = (ROOT / "terraform" / "platform" / "variables.tf").read_text()
    charts = [chart.parent.name for chart in (ROOT / "helm-charts").glob("*/Chart.yaml")]
    images = (ROOT / "docker" / "images").read_text().split()
    assert images
    assert charts
    for name in [*images, *charts]:
        assert f'"{name}"' in declared, f"{name} is published but has no repository; add it to terraform/platform"
