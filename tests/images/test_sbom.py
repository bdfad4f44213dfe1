"""A bill of materials names the crates of the program, as Cargo.lock does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containers import IMAGES, ROOT

sys.path.insert(0, str(ROOT / "docker"))
import sbom  # noqa: E402 (a script of docker/, not a module of the tests)


def bill(app: str, folder: Path) -> tuple[dict[str, Any], bytes]:
    subprocess.run([sys.executable, str(ROOT / "docker/sbom.py"), str(folder), app], check=True)
    written = (folder / f"{app}.cdx.json").read_bytes()
    return json.loads(written), written


def locked() -> dict[tuple[str, str], str | None]:
    """Maps every package of Cargo.lock to its checksum."""
    found = {}
    for package in (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]:
        field = dict(re.findall(r'^(name|version|checksum) = "(.+)"$', package, re.M))
        found[field["name"], field["version"]] = field.get("checksum")
    return found


def compiled_in(app: str) -> set[tuple[str, str]]:
    """Lists the crates that a program's line tables name."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    program = {"onboarding": "onboarding-service"}.get(app, app)
    binary = (ROOT / target / "debug" / program).read_bytes()
    names = re.findall(rb"/registry/src/[^/\0]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[^/\0]*)/", binary)
    return {(name.decode(), version.decode()) for name, version in names}


@pytest.mark.parametrize("app", IMAGES)
def test_a_bill_names_crates_as_the_lock_file_does(app: str, tmp_path: Path) -> None:
    found, _ = bill(app, tmp_path)
    named = {(component["name"], component["version"]): component for component in found["components"]}
    assert len(named) == len(found["components"]), "a crate is repeated"
    packages = locked()
    for crate, component in named.items():
        assert crate in packages, "a crate is not in Cargo.lock"
        checksums = [digest["content"] for digest in component.get("hashes", [])]
        assert checksums == [packages[crate]] * (packages[crate] is not None), crate
        assert component["licenses"][0]["expression"], crate
    references = {component["bom-ref"] for component in found["components"]}
    references.add(found["metadata"]["component"]["bom-ref"])
    edges = {row["ref"]: row["dependsOn"] for row in found["dependencies"]}
    assert edges.keys() == references
    assert {needed for needs in edges.values() for needed in needs} <= references


def test_every_crate_in_a_program_is_in_its_tree() -> None:
    # Selects as `make build` does, where a crate has the features that any member enables, tests included.
    _, needs = sbom.tree(["--workspace"], edges="normal,dev")
    for app in IMAGES:
        inside = compiled_in(app)
        assert len(inside) > 50, f"{app} was built without line tables"
        assert inside <= set(sbom.reachable(app, needs)), app


def test_the_tree_has_the_packages_of_the_images_cargo_call() -> None:
    assert "packages=$(sed 's/^/--package=/' docker/images)" in (ROOT / "docker/compile").read_text()


def test_a_bill_depends_only_on_the_commit_and_the_program(tmp_path: Path) -> None:
    first, again = (bill("producer", tmp_path / name)[1] for name in ("a", "b"))
    assert first == again
    assert str(ROOT).encode() not in first, "the bill names the folder of the build"
    producer, local = (bill(app, tmp_path)[0] for app in ("producer", "local"))
    names = [{component["name"] for component in found["components"]} for found in (producer, local)]
    assert "rusqlite" in names[1] - names[0], "only local contains the embedded endpoint"
    assert producer["serialNumber"] != local["serialNumber"]
