"""Images without a container engine: a root folder as docker/rootfs makes it, one layer, pushed over the registry's
HTTP API.

Promises: the same files give the same digest, so that what is in the registry is not pushed again. Never: a layer
cache, other platforms, compression.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from layout import BIN, HARBOR, PKI, PUSH_LOGIN, ROOT
from machine import ClusterError

NOBODY = "65532:65532"
OURS = ("producer", "consumer", "payments", "tenantctl", "onboarding", "localaws")
PROGRAMS = {"onboarding": "onboarding-service"}
"""Programs that have another name than their image."""
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class Image:
    """Content of an image: files of this machine by their path in the image, plus libraries and certificates."""

    name: str
    tag: str
    files: dict[str, Path]
    entrypoint: tuple[str, ...] = ()
    user: str = NOBODY
    links: dict[str, str] = field(default_factory=dict)
    libraries: bool = True


def ours(programs: Path, tag: str = "0.0.1") -> list[Image]:
    """The images of docker/images and localaws, of programs that are built already."""
    found = []
    for app in OURS:
        program = programs / PROGRAMS.get(app, app)
        if not program.exists():
            raise ClusterError(f"{program} is missing: cargo build --release --package {app}")
        files, links = {"/service": program}, {}
        if app in ("tenantctl", "onboarding"):
            core = Path(
                subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
            )
            files |= {
                "/usr/bin/git": Path(shutil.which("git") or ""),
                "/usr/lib/git-core/git-remote-http": core / "git-remote-http",
            }
            links = {"/usr/lib/git-core/git-remote-https": "git-remote-http"}
        found.append(Image(f"tenantry/{app}", tag, files, ("/service",), links=links))
    return found


def foreign() -> list[Image]:
    """Images of other projects, made here of the tools, under the names the manifests use."""

    def tool(name: str, image: str, tag: str, path: str | None = None, user: str = NOBODY) -> Image:
        path = path or f"/usr/local/bin/{name}"
        return Image(image, tag, {path: BIN / name}, (path,), user, libraries=False)

    shell = {f"/bin/{p}": Path(shutil.which(p) or "") for p in ("sh", "grep", "cat", "sleep")}
    return [
        tool("pause", "pause", "1", "/pause", "65535:65535"),
        tool("coredns", "coredns", "1", "/coredns"),
        tool("metrics-server", "metrics-server", "1", "/metrics-server"),
        tool("source-controller", "fluxcd/source-controller", "v1.9.4"),
        tool("kustomize-controller", "fluxcd/kustomize-controller", "v1.9.4"),
        tool("helm-controller", "fluxcd/helm-controller", "v1.4.0"),
        tool("traefik", "library/traefik", "v3", "/traefik"),
        tool("kube-network-policies", "kube-network-policies", "v0.8.0", "/netpol", "0:0"),
        # Stands in for curlimages/curl: its shell, curl and grep are this machine's.
        Image(
            "curlimages/curl", "8.20.0", {**shell, "/usr/bin/curl": Path(shutil.which("curl") or "")}, user="100:101"
        ),
    ]


def layer(image: Image) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, source in image.files.items():
            put(source, root, path)
            if image.libraries:
                for library in libraries(source):
                    put(Path(library), root, library)
        for path, target in image.links.items():
            (root / path[1:]).symlink_to(target)
        put(PKI / "image-bundle.crt", root, "/etc/ssl/certs/ca-certificates.crt")
        user, group = image.user.split(":")
        for name, text in {
            "nsswitch.conf": "hosts: files dns\n",
            "passwd": f"nonroot:x:{user}:{group}:nonroot:/:/sbin/nologin\n",
            "group": f"nonroot:x:{group}:\n",
        }.items():
            (root / "etc" / name).write_text(text)
        return archive(root)


def put(source: Path, root: Path, path: str) -> None:
    target = root / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o555 if os.access(source, os.X_OK) else 0o444)
    if path == "/service" and (strip := shutil.which("strip")):
        # Symbols make a program ten times as large as in the shipped image. A failure of `strip` is harmless.
        target.chmod(0o755)
        subprocess.run([strip, str(target)], capture_output=True, check=False)
        target.chmod(0o555)


def libraries(program: Path) -> list[str]:
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S*\.so\S*)", listed)


def archive(root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(root)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = "root"
            info.mode = 0o755 if info.isdir() else info.mode
            if info.isreg():
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """The part of the registry's HTTP API that a push needs."""

    def __init__(self, host: str = HARBOR, login: tuple[str, str] = PUSH_LOGIN) -> None:
        self.host = host
        self.tls = ssl.create_default_context(cafile=PKI / "bundle.crt")
        self.authorization = "Basic " + base64.b64encode(":".join(login).encode()).decode()

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> tuple[int, dict[str, str]]:
        url = path if path.startswith("https:") else f"https://{self.host}/v2/{path}"
        headers = {"Authorization": self.authorization, "Content-Type": kind, "Accept": f"{MANIFEST}, */*"}
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=60) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return 404, {}
            raise ClusterError(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}") from None

    def push_blob(self, repository: str, data: bytes) -> None:
        if self.ask("HEAD", f"{repository}/blobs/{digest(data)}")[0] == 200:
            return
        _, headers = self.ask("POST", f"{repository}/blobs/uploads/", b"")
        location = headers["location"]
        location = location if location.startswith("https:") else f"https://{self.host}{location}"
        joint = "&" if "?" in location else "?"
        self.ask("PUT", f"{location}{joint}digest={digest(data)}", data)

    def push(self, image: Image, data: bytes | None = None) -> str:
        """Pushes an image and returns its manifest's digest."""
        data = layer(image) if data is None else data
        environment = ["PATH=/usr/local/bin:/usr/bin:/bin"]
        config = json.dumps(
            {
                "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
                "os": "linux",
                "config": {"User": image.user, "Entrypoint": list(image.entrypoint), "Env": environment},
                "rootfs": {"type": "layers", "diff_ids": [digest(data)]},
                "history": [{}],
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
                "layers": [{"mediaType": LAYER, "digest": digest(data), "size": len(data)}],
            }
        ).encode()
        status, headers = self.ask("HEAD", f"{image.name}/manifests/{image.tag}")
        if status != 200 or headers.get("docker-content-digest") != digest(manifest):
            self.push_blob(image.name, data)
            self.push_blob(image.name, config)
            self.ask("PUT", f"{image.name}/manifests/{image.tag}", manifest, MANIFEST)
        return digest(manifest)


def stamp(image: Image) -> str:
    """Changes when the image's content may have: names, sizes and times of its files."""
    parts = [repr((image.name, image.tag, image.entrypoint, image.user, image.links))]
    for path, source in sorted(image.files.items()):
        status = source.stat()
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    parts.append(hashlib.sha256((PKI / "image-bundle.crt").read_bytes()).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


__all__ = ["OURS", "ROOT", "Image", "Registry", "foreign", "ours", "stamp"]
