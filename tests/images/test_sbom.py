"""A bill of materials names what is in the program, as Cargo.lock names it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "docker"))
import sbom  # noqa: E402 (a script of docker/, not a module of the tests)

IMAGES = (REPOSITORY / "docker/images").read_text().split()


def bill(app: str, folder: Path) -> tuple[dict[str, Any], bytes]:
    subprocess.run([sys.executable, str(REPOSITORY / "docker/sbom.py"), str(folder), app], check=True)
    written = (folder / f"{app}.cdx.json").read_bytes()
    return json.loads(written), written


def locked() -> dict[tuple[str, str], str | None]:
    """Every package of Cargo.lock, by name and version, with its checksum."""
    found = {}
    for package in (REPOSITORY / "Cargo.lock").read_text().split("[[package]]")[1:]:
        field = dict(re.findall(r'^(name|version|checksum) = "(.+)"$', package, re.M))
        found[field["name"], field["version"]] = field.get("checksum")
    return found


def compiled_in(app: str) -> set[tuple[str, str]]:
    """The crates whose sources a program's line tables name."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = (REPOSITORY / target / "debug" / app).read_bytes()
    names = re.findall(rb"/registry/src/[^/\0]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[^/\0]*)/", binary)
    return {(name.decode(), version.decode()) for name, version in names}


@pytest.mark.parametrize("app", IMAGES)
def test_a_bill_names_what_is_in_the_program_as_the_lock_file_does(app: str, tmp_path: Path) -> None:
    found, _ = bill(app, tmp_path)
    named = {(component["name"], component["version"]): component for component in found["components"]}
    assert len(named) == len(found["components"]), "each once"
    packages = locked()
    for crate, component in named.items():
        assert crate in packages, "what is named is locked"
        checksums = [digest["content"] for digest in component.get("hashes", [])]
        assert checksums == [packages[crate]] * (packages[crate] is not None), crate
        assert component["licenses"][0]["expression"], crate
    references = {component["bom-ref"] for component in found["components"]}
    references.add(found["metadata"]["component"]["bom-ref"])
    edges = {row["ref"]: row["dependsOn"] for row in found["dependencies"]}
    assert edges.keys() == references
    assert {needed for needs in edges.values() for needed in needs} <= references


def test_what_is_compiled_into_a_program_is_in_its_tree() -> None:
    # As `make build` selects: there each crate has the features that any member asks for, tests included.
    _, needs = sbom.tree(["--workspace"], edges="normal,dev")
    for app in IMAGES:
        inside = compiled_in(app)
        assert len(inside) > 50, f"{app} was built with line tables"
        assert inside <= set(sbom.reachable(app, needs)), app


def test_the_tree_is_of_the_packages_that_are_compiled_in_one_call() -> None:
    assert "packages=$(sed 's/^/--package=/' docker/images)" in (REPOSITORY / "docker/compile").read_text()


def test_a_bill_of_the_same_commit_is_the_same_and_each_program_has_its_own(tmp_path: Path) -> None:
    first, again = (bill("producer", tmp_path / name)[1] for name in ("a", "b"))
    assert first == again
    assert str(REPOSITORY).encode() not in first, "it tells nothing of where it was written"
    producer, local = (bill(app, tmp_path)[0] for app in ("producer", "local"))
    names = [{component["name"] for component in found["components"]} for found in (producer, local)]
    assert "rusqlite" in names[1] - names[0], "the embedded endpoint is not in the producer"
    assert producer["serialNumber"] != local["serialNumber"]
