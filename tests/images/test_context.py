"""What images are built from is in the context: a file that is not makes a build fail half an hour in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import IMAGES, ROOT

IGNORE = (ROOT / ".dockerignore").read_text().splitlines()
TAKEN = [Path(line.removeprefix("!/")) for line in IGNORE if line.startswith("!/")]
EMBEDDED = re.compile(r'include_(?:str|bytes|dir)!\(\s*(?:concat!\()?"([^"]*)"')


def is_taken(path: Path) -> bool:
    return any(path == taken or taken in path.parents for taken in TAKEN)


def crates(name: str, seen: set[str]) -> set[str]:
    """A crate and those of the workspace that it is made of."""
    if name not in seen:
        seen.add(name)
        own = (ROOT / name / "Cargo.toml").read_text().split("[dev-dependencies]")[0]
        for other in re.findall(r"^([a-z]+)(?:\.workspace| = \{ (?:path|workspace))", own, re.M):
            if (ROOT / other / "Cargo.toml").exists():
                crates(other, seen)
    return seen


def embedded(crate: str) -> Iterator[Path]:
    """What a crate's sources take in from outside their own folder."""
    for source in (ROOT / crate / "src").rglob("*.rs"):
        for text in EMBEDDED.findall(source.read_text()):
            start = ROOT / crate if text.startswith("$CARGO_MANIFEST_DIR") else source.parent
            path = (start / text.removeprefix("$CARGO_MANIFEST_DIR/")).resolve().relative_to(ROOT)
            if path.parts[0] != crate:
                yield path


def test_the_context_begins_empty() -> None:
    assert "*" in IGNORE
    assert TAKEN


@pytest.mark.parametrize("app", IMAGES)
def test_what_an_image_is_made_of_is_taken(app: str) -> None:
    made_of = crates(app, set())
    assert app == "producer" or len(made_of) > 1
    for crate in made_of:
        assert is_taken(Path(crate)), crate
        for path in embedded(crate):
            assert (ROOT / path).exists(), path
            assert is_taken(path), f"{crate} embeds {path}"


def test_something_is_embedded() -> None:
    """Else the expression above finds nothing."""
    assert {path.parts[0] for app in IMAGES for path in embedded(app)} >= {"gitops", "helm-charts"}


def test_every_member_has_its_manifest_there() -> None:
    members = re.search(r"^members = \[(.*)\]$", (ROOT / "Cargo.toml").read_text(), re.M)
    assert members
    for member in re.findall(r'"([^"]+)"', members[1]):
        assert is_taken(Path(member, "Cargo.toml")), f"{member}: cargo wants to see its manifest"
