"""Pushes the Helm charts as OCI artifacts: push_charts.py oci://HOST/FOLDER [--plain-http].

A published version is not replaced: raise `version` in Chart.yaml to publish a change. Credentials are those of `docker
login` or `helm registry login`. Helm's own code runs as a library of the locked tools, so `helm` is not needed.
A line of the output ends in `is published already`, or in `pushed as` and the digest that `docker/publish` signs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import helm_python

CHARTS = Path(__file__).parent.parent / "helm-charts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("remote", help="oci://HOST/FOLDER; the chart's name is added")
    parser.add_argument("--plain-http", action="store_true", help="for a registry on this machine")
    options = parser.parse_args()
    with helm_python.RegistryClient(plain_http=options.plain_http) as client, tempfile.TemporaryDirectory() as folder:
        for manifest in sorted(CHARTS.glob("*/Chart.yaml")):
            push(client, manifest.parent, options.remote, options.plain_http, folder)


def push(client: helm_python.RegistryClient, chart: Path, remote: str, plain_http: bool, folder: str) -> None:
    package = Path(helm_python.package(chart, destination=folder))
    version = package.stem.removeprefix(f"{chart.name}-")
    if version in published(client, f"{remote}/{chart.name}"):
        print(f"{chart.name} {version} is published already")
        return
    client.push(package, remote, plain_http=plain_http)
    digest = client.resolve(f"{remote}/{chart.name}:{version}")["digest"]
    print(f"{chart.name} {version} pushed as {digest}")


def published(client: helm_python.RegistryClient, reference: str) -> list[str]:
    try:
        return client.tags(reference)
    except helm_python.HelmRegistryError as error:
        # The first push makes the repository. Any other error is a failure.
        if "not found" in str(error).lower() or "name unknown" in str(error).lower():
            return []
        sys.exit(f"push_charts.py: {reference}: {error}")


if __name__ == "__main__":
    main()
