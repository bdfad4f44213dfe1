"""Renders charts with real Helm: the `helm` on the PATH, else Helm's own Go packages as a library from PyPI.

Both enforce the chart's schema and stop at `fail`, with Helm's messages. Neither contacts a cluster. One render is for
one version of Kubernetes, so a template that depends on the version is tested at each version.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
from helm_python import _native

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "helm-charts"
TENANT_CHART = CHARTS / "helm-tenant-chart"
APPLICATION_CHART = CHARTS / "application-chart"

KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
"""Minor versions that the charts support."""

HELM = shutil.which("helm")


class RenderError(Exception):
    """Helm refused the values: by the schema, by `fail`, or because a template does not render."""


def helm_version() -> str:
    if HELM is None:
        return f"Helm's SDK {helm_python.helm_sdk_version()}"
    output = subprocess.run([HELM, "version", "--short"], check=True, capture_output=True, text=True).stdout
    return f"{HELM} {output.strip()}"


def render(chart: Path, values: dict[str, Any], name: str, namespace: str, kubernetes: str) -> str:
    """Renders the manifests, `helm test` pods included, as one stream of YAML documents."""
    if HELM is None:
        return sdk_render(chart, values, name, namespace, kubernetes)
    return run_helm(
        *("template", name, str(chart), "--namespace", namespace, "--kube-version", kubernetes, "--values", "-"),
        values=values,
    )


def notes(chart: Path, values: dict[str, Any], name: str, namespace: str) -> str:
    """Renders NOTES.txt with the SDK, because `helm template` does not print it."""
    files = sdk_files(chart, values, name, namespace, KUBERNETES[-1])
    return next(text for path, text in files.items() if path.endswith("/templates/NOTES.txt"))


def lint(chart: Path, values: dict[str, Any], kubernetes: str) -> list[str]:
    """Returns the messages of `helm lint`, warnings included."""
    report = helm_python.lint(chart, values, strict=True, namespace="lint", kube_version=f"v{kubernetes}.0")
    warning = 2
    return [f"{m['path']}: {m['error']}" for m in report["messages"] if m["severity"] >= warning]


def run_helm(*arguments: str, values: dict[str, Any]) -> str:
    assert HELM is not None
    done = subprocess.run([HELM, *arguments], check=False, capture_output=True, text=True, input=json.dumps(values))
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return done.stdout


def sdk_render(chart: Path, values: dict[str, Any], name: str, namespace: str, kubernetes: str) -> str:
    files = sdk_files(chart, values, name, namespace, kubernetes)
    return "".join(f"---\n{text}\n" for path, text in sorted(files.items()) if not path.endswith("NOTES.txt"))


def sdk_files(chart: Path, values: dict[str, Any], name: str, namespace: str, kubernetes: str) -> dict[str, str]:
    # The public `Chart.render` takes no Kubernetes version yet; the function that it wraps does.
    options = {"name": name, "namespace": namespace, "kube_version": f"v{kubernetes}.0"}
    try:
        rendered = _native.call_string("helm_render", load(chart)._raw(), json.dumps(values), json.dumps(options))
    except helm_python.HelmError as error:
        raise RenderError(error.detail) from None
    return json.loads(rendered)


@cache
def load(chart: Path) -> helm_python.Chart:
    return helm_python.Chart.load(chart)
