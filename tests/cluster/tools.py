"""Builds the cluster's programs from Go modules that go.mod and go.sum pin, once, into .tools/cluster/bin.

    tools.py [--all]

A program is built again when its module's files have changed. Two calls at once wait for each other. Two modules are
changed: lego loses its DNS providers, because not all of their client libraries are available, and Traefik gets the
controller name of Envoy Gateway's class.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from layout import BIN, HERE, HOME, KUBE, SOURCES
from machine import ClusterError

TOOLS = HERE / "tools"
MODCACHE = HOME / "cache" / "mod"
CONTAINERD = "github.com/containerd/containerd/v2/cmd"
CNI = "github.com/containernetworking/plugins/plugins"

# Program, package, module folder; what takes longest first.
PROGRAMS = (
    ("kube", "./kube", "."),
    ("kube-1.30", ".", "kube-1.30"),
    ("containerd", f"{CONTAINERD}/containerd", "."),
    ("containerd-shim-runc-v2", f"{CONTAINERD}/containerd-shim-runc-v2", "."),
    ("ctr", f"{CONTAINERD}/ctr", "."),
    ("cni/ptp", f"{CNI}/main/ptp", "."),
    ("cni/loopback", f"{CNI}/main/loopback", "."),
    ("cni/host-local", f"{CNI}/ipam/host-local", "."),
    ("pause", "./pause", "."),
    ("registry", "./registry", "."),
    ("coredns", "./coredns", "."),
    ("kustomize-controller", "github.com/fluxcd/kustomize-controller", "."),
    ("source-controller", "github.com/fluxcd/source-controller", "."),
    ("helm-controller", "github.com/fluxcd/helm-controller", "helm-controller"),
    ("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", "."),
    ("kube-network-policies", "sigs.k8s.io/kube-network-policies/cmd", "."),
    ("traefik", "github.com/traefik/traefik/v3/cmd/traefik", "."),
)
NEWEST_GO = (1, 26)

LEGO = ("github.com/go-acme/lego/v5", "v5.4.1", "h1:Jt6xAP9xQrJ3SLLGgxejfDDd3pzdrmuLCWe4oTqHHQc=")
TRAEFIK = ("github.com/traefik/traefik/v3", "v3.7.13", "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw=")
LEGO_PROVIDERS = """// Package dns stands in for lego's list of DNS providers: it knows none.
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName knows no provider.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("%s: built without DNS providers", name)
}
"""
TRAEFIKS_NAME, ENVOYS_NAME = "traefik.io/gateway-controller", "gateway.envoyproxy.io/gatewayclass-controller"


def environment() -> dict[str, str]:
    flags = f"-p={os.cpu_count() or 2} -buildvcs=false -trimpath -modcacherw"
    folders = {"GOMODCACHE": str(MODCACHE), "GOCACHE": str(HOME / "cache" / "build")}
    return {
        **os.environ,
        **folders,
        "GOFLAGS": flags,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": os.environ.get("GOTOOLCHAIN", "local"),
    }


def go(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterError(f"go {' '.join(arguments)} in {folder}:\n{done.stderr[-4000:]}")
    return done.stdout


def check_go() -> None:
    wanted = ".".join(map(str, NEWEST_GO))
    if not shutil.which("go"):
        raise ClusterError(
            f"no Go on the PATH: the cluster's programs are built with Go {wanted} or newer; install it from go.dev/dl"
        )
    found = go(HERE, "env", "GOVERSION").strip()
    numbers = tuple(map(int, re.findall(r"\d+", found)[:2]))
    if numbers < NEWEST_GO:
        raise ClusterError(f"the cluster's programs need Go {wanted} or newer; `go` on the PATH is {found}")


def module(path: str, version: str, checksum: str) -> Path:
    """A module's folder in the cache, once its checksum has been compared."""
    scratch = HOME / "cache" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "go.mod").write_text("module scratch\n")
    found = json.loads(go(scratch, "mod", "download", "-json", f"{path}@{version}"))
    if found["Sum"] != checksum:
        raise ClusterError(f"{path}@{version} has checksum {found['Sum']}, not {checksum}")
    return Path(found["Dir"])


def copy_module(name: str, path: str, version: str, checksum: str, *, without: tuple[str, ...]) -> Path | None:
    """Copies a module into SOURCES; None where it is there already."""
    target, mark = SOURCES / name, SOURCES / f"{name}.version"
    if mark.exists() and mark.read_text() == f"{version} {checksum}":
        return None
    source = module(path, version, checksum)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        source,
        target,
        ignore=lambda folder, names: [n for n in names if str(Path(folder, n).relative_to(source)) in without],
    )
    for entry in target.rglob("*"):
        entry.chmod(0o755 if entry.is_dir() else 0o644)
    return target


def copy_sources() -> None:
    SOURCES.mkdir(parents=True, exist_ok=True)
    if lego := copy_module("lego", *LEGO, without=("cmd", "e2e", "docs", "providers/dns")):
        (lego / "providers" / "dns").mkdir(parents=True)
        (lego / "providers" / "dns" / "dns.go").write_text(LEGO_PROVIDERS)
        (SOURCES / "lego.version").write_text(f"{LEGO[1]} {LEGO[2]}")
    if traefik := copy_module("traefik", *TRAEFIK, without=("docs", "integration", "webui/src", "webui/public")):
        file = traefik / "pkg" / "provider" / "kubernetes" / "gateway" / "kubernetes.go"
        text = file.read_text()
        if TRAEFIKS_NAME not in text:
            raise ClusterError(f"{file} does not have {TRAEFIKS_NAME}")
        file.write_text(text.replace(TRAEFIKS_NAME, ENVOYS_NAME))
        (SOURCES / "traefik.version").write_text(f"{TRAEFIK[1]} {TRAEFIK[2]}")


def link_flags(name: str, folder: str) -> str:
    """Kubernetes gets its version from the linker; charts ask for it."""
    flags = "-s -w"
    if name in ("kube", "kube-1.30") and (
        found := re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\S+", read_go_mod(folder))
    ):
        version = found[0].partition(" ")[2]
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            values = (("gitVersion", version), ("gitMajor", found[1]), ("gitMinor", found[2]))
            flags += "".join(f" -X {package}.{variable}={value}" for variable, value in values)
    return flags


def read_go_mod(folder: str) -> str:
    return (TOOLS / folder / "go.mod").read_text()


def stamp(name: str, package: str, folder: str) -> str:
    """Changes when what a program is built of does."""
    files = [TOOLS / folder / "go.mod", TOOLS / folder / "go.sum"]
    if package.startswith("."):
        files += sorted((TOOLS / folder / package).glob("*.go"))
    content = b"".join(file.read_bytes() for file in files) + link_flags(name, folder).encode()
    return hashlib.sha256(content).hexdigest()


def build() -> None:
    """Builds what is missing or out of date."""
    HOME.mkdir(parents=True, exist_ok=True)
    stamps = HOME / "stamps"
    stamps.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        todo = []
        for name, package, folder in PROGRAMS:
            if name.startswith("kube-1.") and name != KUBE.name:
                continue
            mark = stamps / name.replace("/", "-")
            wanted = stamp(name, package, folder)
            if not (BIN / name).exists() or not mark.exists() or mark.read_text() != wanted:
                todo.append((name, package, folder, mark, wanted))
        if todo or not (HOME / "kinds").exists():
            check_go()
            import kinds

            kinds.collect()
        if not todo:
            return
        copy_sources()
        for name, package, folder, mark, wanted in todo:
            begin = time.monotonic()
            (BIN / name).parent.mkdir(parents=True, exist_ok=True)
            go(TOOLS / folder, "build", "-ldflags", link_flags(name, folder), "-o", str(BIN / name), package)
            mark.write_text(wanted)
            size = (BIN / name).stat().st_size / 1e6
            print(f"{name:24} {size:6.0f} MB {time.monotonic() - begin:6.0f} s", flush=True)


def tool_file(path: str, *parts: str) -> Path:
    """A file of a module that go.mod requires, such as a custom resource's definition."""
    folder = "helm-controller" if path.endswith("/helm-controller") else "."
    found = go(TOOLS / folder, "list", "-m", "-f", "{{.Dir}}", path).strip()
    return Path(found, *parts)


def main() -> None:
    try:
        build()
    except ClusterError as error:
        sys.exit(f"make cluster: {error}")


if __name__ == "__main__":
    main()
