"""The build context holds every file that images are built from. A missing file fails a build only after 30 minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import IMAGES, ROOT

IGNORE = (ROOT / ".dockerignore").read_text().splitlines()
INCLUDED = [Path(line.removeprefix("!/")) for line in IGNORE if line.startswith("!/")]
EMBEDDED = re.compile(r'include_(?:str|bytes|dir)!\(\s*(?:concat!\()?"([^"]*)"')
WORKSPACE = (ROOT / "Cargo.toml").read_text()
FOLDERS = dict(re.findall(r'^([\w-]+) = \{ path = "([^"]+)"', WORKSPACE, re.M))
"""Folder of each member that others depend on, by the member's name."""


def is_included(path: Path) -> bool:
    return any(path == included or included in path.parents for included in INCLUDED)


def crates(folder: str, seen: set[str]) -> set[str]:
    """Folders of a member and of the members that it depends on."""
    if folder not in seen:
        seen.add(folder)
        own = (ROOT / folder / "Cargo.toml").read_text().split("[dev-dependencies]")[0]
        for name in re.findall(r"^([\w-]+)(?:\.workspace| = \{ (?:path|workspace))", own, re.M):
            if name in FOLDERS:
                crates(FOLDERS[name], seen)
    return seen


def embedded(crate: str) -> Iterator[Path]:
    """Files outside a member's folder that its sources embed."""
    for source in (ROOT / crate / "src").rglob("*.rs"):
        for text in EMBEDDED.findall(source.read_text()):
            start = ROOT / crate if text.startswith("$CARGO_MANIFEST_DIR") else source.parent
            path = (start / text.removeprefix("$CARGO_MANIFEST_DIR/")).resolve().relative_to(ROOT)
            if not path.is_relative_to(crate):
                yield path


def test_the_context_excludes_files_by_default() -> None:
    assert "*" in IGNORE
    assert INCLUDED


@pytest.mark.parametrize("app", IMAGES)
def test_the_context_holds_every_source_of_an_image(app: str) -> None:
    members = crates(app, set())
    assert app == "producer" or len(members) > 1
    for member in members:
        assert is_included(Path(member)), member
        for path in embedded(member):
            assert (ROOT / path).exists(), path
            assert is_included(path), f"{member} embeds {path}"


def test_embedded_files_are_found() -> None:
    assert {path.parts[0] for app in IMAGES for path in embedded(app)} >= {"gitops", "helm-charts"}


def test_the_context_holds_every_manifest() -> None:
    members = re.search(r"^members = \[(.*?)\]$", WORKSPACE, re.M | re.S)
    assert members
    for member in re.findall(r'"([^"]+)"', members[1]):
        assert is_included(Path(member, "Cargo.toml")), f"cargo needs the manifest of {member}"
