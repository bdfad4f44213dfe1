"""`flux bootstrap` and the few other commands of the Flux CLI that docs/deploy-homelab.md uses, without the CLI.

`bootstrap` does what the CLI does: it writes the components and the sync objects into the repository, pushes them,
applies them once, and makes the Secret with the login.
"""

from __future__ import annotations

import argparse
import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml

import kinds
from api import Api, condition, is_current
from kubernetes import apply_all, wait_for_deployment
from layout import HERE, RUN
from machine import ClusterError, run, wait_for

NAMESPACE = "flux-system"
CONTROLLERS = {
    "source-controller": (
        "v1.9.4",
        ["--storage-path=/data", "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local."],
    ),
    "kustomize-controller": ("v1.9.4", []),
    "helm-controller": ("v1.4.0", []),
}
REQUESTED = "reconcile.fluxcd.io/requestedAt"


def components() -> list[dict[str, Any]]:
    """The content of gotk-components.yaml."""
    found = list(yaml.safe_load_all((HERE / "manifests" / "flux.yaml").read_text()))
    found[1:1] = kinds.of(
        "source-controller", "kustomize-controller", "helm-controller", "flux-images", "flux-notifications"
    )
    for name, (version, arguments) in CONTROLLERS.items():
        found.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}})
        found.append(controller(name, version, arguments))
    return found


def controller(name: str, version: str, arguments: list[str]) -> dict[str, Any]:
    is_source = name == "source-controller"
    ports = [{"name": "http-prom", "containerPort": 8080}, {"name": "healthz", "containerPort": 9440}]
    probe = {"httpGet": {"path": "/readyz", "port": "healthz"}}
    if is_source:
        ports.append({"name": "http", "containerPort": 9090})
        probe = {"httpGet": {"path": "/", "port": "http"}}
    volumes = [{"name": "tmp", "emptyDir": {}}] + ([{"name": "data", "emptyDir": {}}] if is_source else [])
    mounts = [{"name": "tmp", "mountPath": "/tmp"}] + ([{"name": "data", "mountPath": "/data"}] if is_source else [])
    container = {
        "name": "manager",
        "image": f"ghcr.io/fluxcd/{name}:{version}",
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--events-addr=",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            *arguments,
        ],
        "env": [
            {"name": "RUNTIME_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "TUF_ROOT", "value": "/tmp/.sigstore"},
        ],
        "ports": ports,
        "readinessProbe": probe,
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "healthz"}},
        "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }
    labels = {"app": name, "app.kubernetes.io/component": name, "app.kubernetes.io/part-of": "flux"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {**labels, "control-plane": "controller"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            **({"strategy": {"type": "Recreate"}} if is_source else {}),
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "priorityClassName": "system-cluster-critical",
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {"fsGroup": 1337},
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def sync(url: str, branch: str, path: str) -> list[dict[str, Any]]:
    """The content of gotk-sync.yaml."""
    metadata = {"name": NAMESPACE, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": metadata,
            "spec": {"interval": "1m0s", "ref": {"branch": branch}, "secretRef": {"name": NAMESPACE}, "url": url},
        },
        {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": metadata,
            "spec": {
                "interval": "10m0s",
                "path": f"./{path}",
                "prune": True,
                "sourceRef": {"kind": "GitRepository", "name": NAMESPACE},
            },
        },
    ]


def git(folder: Path, *arguments: str) -> str:
    return run("git", "-C", folder, *arguments)


def bootstrap(api: Api, scratch: Path, *, url: str, branch: str, path: str, username: str, password: str) -> None:
    login = url.replace("https://", f"https://{username}:{password}@")
    folder = scratch / "bootstrap"
    run("rm", "-rf", folder)
    run("git", "clone", "--quiet", "--branch", branch, login, folder)
    target = folder / path / NAMESPACE
    target.mkdir(parents=True, exist_ok=True)
    (target / "gotk-components.yaml").write_text(yaml.safe_dump_all(components(), sort_keys=False))
    (target / "gotk-sync.yaml").write_text(yaml.safe_dump_all(sync(url, branch, path), sort_keys=False))
    if not (target / "kustomization.yaml").exists():
        listing = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["gotk-components.yaml", "gotk-sync.yaml"],
        }
        (target / "kustomization.yaml").write_text(yaml.safe_dump(listing))
    git(folder, "add", "--all")
    identity = ("-c", "user.name=Flux", "-c", "user.email=flux@example.com")
    git(folder, *identity, "commit", "--quiet", "--message", "Add Flux manifests")
    git(folder, "push", "--quiet", "origin", f"HEAD:{branch}")
    own = install(api, target)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAMESPACE, "namespace": NAMESPACE},
        "data": {
            k: base64.b64encode(v.encode()).decode() for k, v in {"username": username, "password": password}.items()
        },
    }
    api.apply(secret, "flux")
    for manifest in own:
        wait_for("Flux's kinds", lambda manifest=manifest: applied(api, manifest), 30)


def applied(api: Api, manifest: dict[str, Any]) -> bool:
    from api import ApiError

    try:
        api.apply(manifest, "flux")
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def install(api: Api, folder: Path) -> list[dict[str, Any]]:
    """Applies the components as the repository's own kustomization patches them; returns the sync objects, patched."""
    from layout import KUBECTL

    built = list(yaml.safe_load_all(run(KUBECTL, "kustomize", folder)))
    own = [o for o in built if o["kind"] in ("GitRepository", "Kustomization")]
    apply_all(api, [o for o in built if o not in own])
    for name in CONTROLLERS:
        wait_for_deployment(api, NAMESPACE, name)
    return own


def request(api: Api, kind: str, name: str, namespace: str) -> str:
    """Asks a controller to reconcile an object now, as `flux reconcile` does; returns the request's name."""
    stamp = subprocess.run(["date", "+%s.%N"], capture_output=True, text=True, check=True).stdout.strip()
    api.patch(kind, name, namespace, {"metadata": {"annotations": {REQUESTED: stamp}}})
    return stamp


def reconcile(api: Api, kind: str, name: str, namespace: str, seconds: float = 300) -> None:
    stamp = request(api, kind, name, namespace)

    def handled() -> bool:
        found = api.get(kind, name, namespace)
        return found.get("status", {}).get("lastHandledReconcileAt") == stamp and is_current(found)

    wait_for(f"{kind} {namespace}/{name}", handled, seconds, 0.2)


SOURCE = "gitrepositories.source.toolkit.fluxcd.io"
KUSTOMIZATION = "kustomizations.kustomize.toolkit.fluxcd.io"
RELEASE = "helmreleases.helm.toolkit.fluxcd.io"


def find_kustomization(api: Api, name: str) -> tuple[str, str]:
    for found in api.list(KUSTOMIZATION):
        if found["metadata"]["name"] == name:
            return found["metadata"]["name"], found["metadata"]["namespace"]
    raise ClusterError(f"no Kustomization {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Stands in for the Flux CLI.")
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("reconcile").add_subparsers(dest="kind", required=True).add_parser("kustomization")
    asking.add_argument("name")
    asking.add_argument("--with-source", action="store_true")
    commands.add_parser("get").add_argument("kind", choices=["kustomizations"])
    beginning = commands.add_parser("bootstrap").add_subparsers(dest="kind", required=True).add_parser("git")
    for option in ("--url", "--branch", "--path", "--username", "--password", "--components-extra"):
        beginning.add_argument(option)
    beginning.add_argument("--token-auth", action="store_true")
    options = parser.parse_args()
    api = Api()
    if options.command == "bootstrap":
        where = {"url": options.url, "branch": options.branch, "path": options.path}
        bootstrap(api, RUN, **where, username=options.username, password=options.password)
    elif options.command == "reconcile":
        name, namespace = find_kustomization(api, options.name)
        if options.with_source:
            source = api.get(KUSTOMIZATION, name, namespace)["spec"]["sourceRef"]
            reconcile(api, SOURCE, source["name"], source.get("namespace") or namespace)
        reconcile(api, KUSTOMIZATION, name, namespace)
    else:
        for found in api.list(KUSTOMIZATION):
            ready = condition(found)
            print(found["metadata"]["namespace"], found["metadata"]["name"], ready.get("status"), ready.get("message"))


if __name__ == "__main__":
    main()
