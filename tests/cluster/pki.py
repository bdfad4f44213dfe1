"""Certificates: of the control plane, of Harbor and the Gateway (the homelab's authority), and of the hosts that are
public elsewhere (an authority that every image of the cluster trusts). Made once, and again a week before they
end."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from layout import API_HOST, API_SERVICE, GIT, HARBOR, HUB_NAMES, NODE, PAGES_NAMES, PKI
from machine import run

DAYS = 60
WEEK_SECONDS = 7 * 24 * 3600

CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kubelet-client": "/O=system:masters/CN=apiserver-kubelet-client",
    "front-proxy": "/CN=front-proxy-client",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "policies": "/O=system:masters/CN=kube-network-policies",
    "standins": "/O=system:masters/CN=stand-ins",
}
API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)


def make() -> None:
    PKI.mkdir(parents=True, exist_ok=True)
    PKI.chmod(0o700)
    authority("kubernetes")
    authority("homelab")
    authority("public")
    if not is_good(PKI / "sa.key"):
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", PKI / "sa.key")
        run("openssl", "ec", "-in", PKI / "sa.key", "-pubout", "-out", PKI / "sa.pub")
    for name, subject in CLIENTS.items():
        certificate(name, subject, [], "kubernetes")
    certificate("apiserver", "/CN=kube-apiserver", [*API_NAMES, "127.0.0.1", API_SERVICE, NODE], "kubernetes")
    certificate("node", "/O=system:nodes/CN=system:node:node-1", ["node-1", "127.0.0.1", NODE], "kubernetes")
    certificate("harbor", f"/CN={HARBOR}", [HARBOR], "homelab")
    certificate("gateway", f"/CN={API_HOST}", [API_HOST], "homelab")
    certificate("hub", "/CN=hub", [*HUB_NAMES], "public")
    certificate("git", f"/CN={GIT}", [GIT, *PAGES_NAMES], "public")
    # The homelab's authority is not in the images: docs/deploy-homelab.md says who must be given it.
    system = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
    (PKI / "image-bundle.crt").write_text(system + (PKI / "public.crt").read_text())
    (PKI / "bundle.crt").write_text(system + (PKI / "public.crt").read_text() + (PKI / "homelab.crt").read_text())


def is_good(path: Path) -> bool:
    if path.suffix == ".key":
        return path.exists()
    check = ["openssl", "x509", "-noout", "-checkend", str(WEEK_SECONDS), "-in", str(path)]
    return path.exists() and subprocess.run(check, capture_output=True, check=False).returncode == 0


def authority(name: str) -> None:
    if is_good(PKI / f"{name}.crt"):
        return
    # A new authority cannot verify the certificates that the old one signed.
    for path in PKI.glob("*.crt"):
        if f"issuer=CN = {name}" in run("openssl", "x509", "-noout", "-issuer", "-in", path):
            path.unlink()
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", str(DAYS), "-subj", f"/CN={name}", "-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt"),
    )


def certificate(name: str, subject: str, names: list[str], signer: str, days: int = DAYS, renew: bool = False) -> None:
    path = PKI / f"{name}.crt"
    asked, mark = " ".join([subject, *names]), PKI / f"{name}.asked"
    if is_good(path) and not renew and mark.exists() and mark.read_text() == asked:
        return
    kinds = ["IP" if n.replace(".", "").isdigit() else "DNS" for n in names]
    alternatives = ",".join(f"{kind}:{n}" for kind, n in zip(kinds, names, strict=True))
    extensions = "extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={alternatives}\n" if names else "")
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as file:
        file.write(extensions)
        file.flush()
        request = PKI / f"{name}.csr"
        run(
            *("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", subject, "-keyout", PKI / f"{name}.key", "-out", request),
        )
        run(
            *("openssl", "x509", "-req", "-in", request, "-CA", PKI / f"{signer}.crt", "-CAkey", PKI / f"{signer}.key"),
            *("-CAcreateserial", "-days", str(days), "-extfile", file.name, "-out", path),
        )
        request.unlink()
    mark.write_text(asked)


def kubeconfig(name: str, path: Path, server: str = f"https://{NODE}:6443") -> None:
    """A kubeconfig with everything in it, so that it can be copied elsewhere."""
    from base64 import b64encode

    def data(file: str) -> str:
        return b64encode((PKI / file).read_bytes()).decode()

    path.write_text(
        f"""apiVersion: v1
kind: Config
clusters:
  - name: tenantry
    cluster:
      server: {server}
      certificate-authority-data: {data("kubernetes.crt")}
users:
  - name: {name}
    user:
      client-certificate-data: {data(f"{name}.crt")}
      client-key-data: {data(f"{name}.key")}
contexts:
  - name: tenantry
    context:
      cluster: tenantry
      user: {name}
current-context: tenantry
"""
    )
    path.chmod(0o600)
