"""The API server and etcd alone, on this machine's loopback address: what the tests of admission need, and no root.

    bare.py [--tree production|homelab] [OPTIONS OF PYTEST…]

Everything that decides about a request is the real one: API server, kinds, roles, policies. There is no node and no
controller but the one that checks the policies' types. Certificates and data are in a folder that goes at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

API_PORT, ETCD_PORT = 16443, 12379


def prepare(tree: str, folder: Path) -> None:
    """Sets what layout.py reads; this must come before its import."""
    os.environ |= {
        "CLUSTER_API": f"127.0.0.1:{API_PORT}",
        "CLUSTER_BARE": "1",
        "CLUSTER_PKI": str(folder / "pki"),
        "CLUSTER_RUN": str(folder),
        "CLUSTER_TREE": tree,
    }


def start(kubernetes: ModuleType) -> None:
    import pki
    from api import Api
    from layout import API_SERVER, KUBE, KUBECONFIG, LOGS, PIDS
    from machine import start as start_program
    from machine import wait_for_program

    for made in (LOGS, PIDS):
        made.mkdir(parents=True)
    pki.make()
    pki.kubeconfig("admin", KUBECONFIG, f"https://{API_SERVER}")
    kubernetes.start_etcd(ETCD_PORT)
    kubernetes.start_api_server("127.0.0.1", API_PORT, ETCD_PORT)
    wait_for_program("apiserver", "the API server's /readyz", lambda: kubernetes.answers(Api()), 120)
    start_program(
        *("controller-manager", KUBE, "kube-controller-manager", f"--kubeconfig={KUBECONFIG}", "--leader-elect=false"),
        *("--controllers=validatingadmissionpolicy-status-controller", "--secure-port=0"),
    )


def fill(kubernetes: ModuleType) -> None:
    """What a cluster has before its first tenant: Flux's kinds and rights, the tree's namespaces, roles, policies."""
    import yaml

    import kinds
    from api import Api
    from layout import HERE, TREE
    from repository import GITOPS, Repository

    api = Api()
    flux = ("source-controller", "kustomize-controller", "helm-controller", "flux-images", "flux-notifications")
    kubernetes.apply_all(api, kinds.of(*flux, "flux-others", "gateway-api", "traefik", "prometheus", "keda"))
    # The real kind has fields that ours leaves out, and attacks use them.
    kubernetes.apply_all(
        api, [kinds.definition("infra.contrib.fluxcd.io", "v1alpha2", "Terraform", "terraforms", True)]
    )
    kubernetes.apply_all(api, list(yaml.safe_load_all((HERE / "manifests" / "flux.yaml").read_text())))
    applied = Repository(GITOPS).applied(TREE)
    kubernetes.apply_all(api, [o for a in applied for o in a.objects if o["kind"] == "Namespace"])
    (tenancy,) = (a for a in applied if a.name == "tenancy")
    kubernetes.apply_all(api, list(tenancy.objects))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", choices=["production", "homelab"], default="homelab")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="tenantry-bare-") as folder:
        prepare(options.tree, Path(folder) / "run")
        sys.path[1:1] = [str(Path(__file__).resolve().parents[1] / name) for name in ("charts", "gitops")]
        import kubernetes
        from layout import KUBE
        from machine import end

        if not KUBE.exists():
            sys.exit(f"{KUBE} does not exist: `make cluster` builds it")
        try:
            start(kubernetes)
            fill(kubernetes)
            tests = Path(__file__).with_name("test_admission.py")
            done = subprocess.run([sys.executable, "-m", "pytest", str(tests), *rest], check=False)
        finally:
            for name in ("controller-manager", "apiserver", "etcd"):
                end(name)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
