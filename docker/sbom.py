#!/usr/bin/env python3
"""Writes the bills of materials of images, CycloneDX 1.6 as JSON: `docker/sbom.py FOLDER [APP…]`, without APP for all.

A bill lists the crates that cargo links into the program, from `cargo tree`, with the checksums of Cargo.lock. One
cargo call compiles all programs, and then a crate has the features that any of them enables. So the tree is of all
programs, too. The same commit gives the same bill, byte for byte, because a bill holds no time and no path.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TARGET = "x86_64-unknown-linux-gnu"
# Serial numbers derive from the content and this random UUID, which never changes.
NAMESPACE = uuid.UUID("4c1f7d2a-7b5e-4c0e-9a55-2f3f0c9b1e64")


class Crate(NamedTuple):
    name: str
    version: str

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def images() -> list[str]:
    return (ROOT / "docker/images").read_text().split()


def checksums() -> dict[Crate, str]:
    """Returns the SHA-256 of the archive of each crate from a registry."""
    packages = re.findall(
        r'^name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"$',
        (ROOT / "Cargo.lock").read_text(),
        re.M,
    )
    return {Crate(name, version): checksum for name, version, checksum in packages}


def tree(selection: list[str], edges: str = "normal") -> tuple[dict[Crate, str], dict[Crate, set[Crate]]]:
    """Returns the license and the dependencies of every crate of the selected packages."""
    command = ["cargo", "tree", "--locked", *selection, f"--target={TARGET}", f"--edges={edges}"]
    ran = subprocess.run(
        [*command, "--prefix=depth", "--format=|{p}|{l}"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    licenses: dict[Crate, str] = {}
    needs: dict[Crate, set[Crate]] = {}
    above: list[Crate] = []
    for line in filter(None, ran.stdout.splitlines()):
        depth, package, license = line.split("|")
        name, version = package.split()[:2]
        crate = Crate(name, version.removeprefix("v"))
        # cargo marks a repeated crate with (*) after its license.
        expression = license.removesuffix(" (*)").replace("/", " OR ")
        licenses[crate] = expression or ""
        needs.setdefault(crate, set())
        del above[int(depth) :]
        if above:
            needs[above[-1]].add(crate)
        above.append(crate)
    return licenses, needs


def reachable(app: str, needs: dict[Crate, set[Crate]]) -> list[Crate]:
    """Lists the program and all its dependencies, the program first."""
    root = next(crate for crate in needs if crate.name == app)
    found, waiting = {root}, [root]
    while waiting:
        new = needs[waiting.pop()] - found
        found |= new
        waiting += new
    return [root, *sorted(found - {root})]


def component(crate: Crate, license: str, checksum: str | None) -> dict[str, object]:
    found: dict[str, object] = {"type": "library", "bom-ref": crate.purl, "name": crate.name, "version": crate.version}
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found | {"licenses": [{"expression": license}], "purl": crate.purl}


def bill(app: str) -> dict[str, object]:
    """Makes the bill of an image's program."""
    (licenses, needs), sums = tree([f"--package={name}" for name in images()]), checksums()
    root, *crates = reachable(app, needs)
    components = [component(crate, licenses[crate], sums.get(crate)) for crate in crates]
    depends = [
        {"ref": crate.purl, "dependsOn": sorted(need.purl for need in needs[crate])} for crate in [root, *crates]
    ]
    content = json.dumps([components, depends])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": component(root, licenses[root], None) | {"type": "application"}},
        "components": components,
        "dependencies": depends,
    }


def main() -> None:
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(images()):
        sys.exit(f"usage: docker/sbom.py FOLDER [{'|'.join(images())}]…")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for app in sys.argv[2:] or images():
        found = bill(app)
        path = folder / f"{app}.cdx.json"
        path.write_text(json.dumps(found, indent=2) + "\n")
        print(f"{path}: {len(found['components'])} crates")


if __name__ == "__main__":
    main()
