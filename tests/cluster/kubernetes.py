"""Control plane and node: starts each program with its options and waits until it answers.

Runs inside the cluster's namespaces. The options are those of a production cluster, with three exceptions for this kind
of machine: cgroup v1 is accepted, the OOM score of a container is not lowered, etcd does not flush to disk.
"""

from __future__ import annotations

import json
import subprocess

import yaml

from api import Api, is_current
from layout import (
    BIN,
    CGROUP,
    DNS_SERVICE,
    HARBOR,
    HERE,
    KUBE,
    KUBERNETES,
    NODE,
    NODE_POD_RANGE,
    PKI,
    POD_RANGE,
    RUN,
    SERVICE_RANGE,
)
from machine import ClusterError, run, start, wait_for, wait_for_program
from pki import kubeconfig

IS_OLD = KUBERNETES == "1.30"
ADMISSION = ("NodeRestriction",)


def start_etcd(port: int = 2379) -> None:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
    start(
        *(
            "etcd",
            BIN / "kube",
            "etcd",
            "--name=n",
            f"--data-dir={RUN / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"),
        *(f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=n={peer}", "--quota-backend-bytes=8589934592"),
    )


def start_api_server(bind: str = "0.0.0.0", port: int = 6443, etcd: int = 2379) -> None:
    start(
        *("apiserver", KUBE, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}"),
        *(f"--advertise-address={NODE}", f"--secure-port={port}", f"--bind-address={bind}"),
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        *(f"--tls-cert-file={PKI}/apiserver.crt", f"--tls-private-key-file={PKI}/apiserver.key"),
        *(f"--client-ca-file={PKI}/kubernetes.crt", "--authorization-mode=Node,RBAC", "--allow-privileged=true"),
        *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={PKI}/sa.pub"),
        *(f"--service-account-signing-key-file={PKI}/sa.key", f"--enable-admission-plugins={','.join(ADMISSION)}"),
        *(f"--kubelet-client-certificate={PKI}/kubelet-client.crt", f"--kubelet-client-key={PKI}/kubelet-client.key"),
        *(f"--kubelet-certificate-authority={PKI}/kubernetes.crt", "--kubelet-preferred-address-types=InternalIP"),
        *(f"--requestheader-client-ca-file={PKI}/kubernetes.crt", "--requestheader-allowed-names=front-proxy-client"),
        *("--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group"),
        *("--requestheader-username-headers=X-Remote-User", "--enable-aggregator-routing=true", "--profiling=false"),
        *(f"--proxy-client-cert-file={PKI}/front-proxy.crt", f"--proxy-client-key-file={PKI}/front-proxy.key"),
    )


def is_ready(api: Api) -> bool:
    return api.raw("/readyz") == "ok"


def start_control_plane() -> None:
    for name in ("admin", "controller-manager", "scheduler", "node", "proxy", "standins"):
        kubeconfig(name, RUN / f"{name}.conf")
    api = Api()
    start_etcd()
    start_api_server()
    wait_for_program("apiserver", "the API server's /readyz", lambda: answers(api), 120)
    # The controller-manager ends if the API server has not made its roles yet, so it starts after readiness.
    config = RUN / "controller-manager.conf"
    start(
        *("controller-manager", KUBE, "kube-controller-manager", f"--kubeconfig={config}", "--leader-elect=false"),
        *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}", "--bind-address=127.0.0.1"),
        *(f"--service-account-private-key-file={PKI}/sa.key", f"--root-ca-file={PKI}/kubernetes.crt"),
        *("--use-service-account-credentials=true", f"--cluster-signing-cert-file={PKI}/kubernetes.crt"),
        *(f"--cluster-signing-key-file={PKI}/kubernetes.key", "--horizontal-pod-autoscaler-sync-period=5s"),
        *("--allocate-node-cidrs=true", f"--cluster-cidr={POD_RANGE}", "--node-cidr-mask-size=20"),
        *(f"--service-cluster-ip-range={SERVICE_RANGE}", "--kube-api-qps=100", "--kube-api-burst=200"),
    )
    config = RUN / "scheduler.conf"
    start(
        *(
            "scheduler",
            KUBE,
            "kube-scheduler",
            f"--kubeconfig={config}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ),
        *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
    )


def answers(api: Api) -> bool:
    from api import ApiError

    try:
        return is_ready(api)
    except ApiError:
        return False


def queue_connections() -> None:
    """Hands each new connection between pods to the engine of NetworkPolicies.

    The engine's own rule needs NFT_QUEUE, which some kernels lack. DNS over UDP passes, as with the engine's rule: two
    queries of one socket race in the queue, and one of them is lost.
    """
    accepted = (
        ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED"),
        ("-m", "addrtype", "--src-type", "LOCAL"),
        ("-p", "udp", "--dport", "53"),
    )
    for match in accepted:
        run("iptables", "-t", "mangle", "-A", "POSTROUTING", *match, "-j", "ACCEPT")
    run("iptables", "-t", "mangle", "-A", "POSTROUTING", "-j", "NFQUEUE", "--queue-num", "98")


def start_node() -> None:
    write_node_files()
    queue_connections()
    start("containerd", BIN / "containerd", "--config", RUN / "containerd.toml")
    start("kube-proxy", KUBE, "kube-proxy", "--config", RUN / "kube-proxy.yaml")
    wait_for_program("containerd", "containerd's socket", (RUN / "containerd" / "containerd.sock").exists, 30)
    start(
        *("kubelet", KUBE, "kubelet", "--config", RUN / "kubelet.yaml", "--kubeconfig", RUN / "node.conf"),
        *(
            "--root-dir",
            RUN / "kubelet",
            "--hostname-override",
            "node-1",
            "--node-ip",
            NODE,
            "--cert-dir",
            RUN / "kubelet-pki",
        ),
    )


def write_node_files() -> None:
    (RUN / "containerd.toml").write_text(
        f"""version = 3
root = "{RUN}/containerd-root"
state = "{RUN}/containerd"
disabled_plugins = [{", ".join(f'"io.containerd.{p}"' for p in UNUSED_PLUGINS)}]
[grpc]
  address = "{RUN}/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  max_concurrent_downloads = 4
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "registry.k8s.io/pause:1"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{RUN}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  enable_selinux = false
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{BIN}/cni"]
    conf_dir = "{RUN}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
"""
    )
    # Harbor as docs/deploy-homelab.md configures it; every other registry is the hub that stands in for them.
    hosts = {
        HARBOR: f'server = "https://{HARBOR}"\nca = "{PKI}/homelab.crt"\n',
        "_default": f'server = "https://ghcr.io"\n[host."https://ghcr.io"]\n  ca = "{PKI}/public.crt"\n',
    }
    for host, text in hosts.items():
        folder = RUN / "certs.d" / host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(text)
    (RUN / "cni").mkdir(exist_ok=True)
    # Each pod has a link of its own. So traffic between pods is routed, and Services and policies apply to all of it.
    ranges = [[{"subnet": NODE_POD_RANGE}]]
    address = {"type": "host-local", "dataDir": str(RUN / "ipam"), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": address}]}
    (RUN / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **({} if IS_OLD else {"failCgroupV1": False}),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{RUN}/containerd/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/kubernetes.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/node.crt",
        "tlsPrivateKeyFile": f"{PKI}/node.key",
        "address": NODE,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(RUN / "resolv.conf"),
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "maxPods": 500,
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": str(RUN / "volumeplugins"),
        "serializeImagePulls": False,
        "podLogsDir": str(RUN / "pod-logs"),
        "registryPullQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }
    (RUN / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(RUN / "proxy.conf")},
        "mode": "iptables" if IS_OLD else "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": "node-1",
        "bindAddress": NODE,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nodePortAddresses": [f"{NODE}/32"],
    }
    (RUN / "kube-proxy.yaml").write_text(yaml.safe_dump(proxy))


UNUSED_PLUGINS = (
    *("internal.v1.opt", "snapshotter.v1.devmapper", "snapshotter.v1.blockfile", "snapshotter.v1.btrfs"),
    *("snapshotter.v1.zfs", "snapshotter.v1.erofs", "differ.v1.erofs", "nri.v1.nri", "tracing.processor.v1.otlp"),
)


def apply_file(api: Api, name: str, **values: str) -> None:
    text = (HERE / "manifests" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"${{{key}}}", value)
    apply_all(api, list(yaml.safe_load_all(text)))


def apply_all(api: Api, objects: list[dict]) -> None:
    """Applies objects in order, kinds and namespaces first."""
    first = ("Namespace", "CustomResourceDefinition")
    for manifest in sorted((o for o in objects if o), key=lambda o: o["kind"] not in first):
        api.apply(manifest)


def is_available(api: Api, namespace: str, name: str, kind: str = "deployments.apps") -> bool:
    found = api.find(kind, name, namespace)
    if not found:
        return False
    status = found.get("status", {})
    if kind.startswith("daemonsets"):
        return status.get("numberReady", 0) >= 1 and status.get("observedGeneration") == found["metadata"]["generation"]
    wanted = found["spec"].get("replicas", 1)
    return (
        is_current(found, "Available")
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def wait_for_deployment(api: Api, namespace: str, name: str, seconds: float = 120) -> None:
    try:
        wait_for(f"Deployment {namespace}/{name}", lambda: is_available(api, namespace, name), seconds, 0.2)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{describe_pods(api, namespace)}") from None


def describe_pods(api: Api, namespace: str) -> str:
    lines = []
    for pod in api.list("pods", namespace):
        states = [
            f"{s['name']} ready={s['ready']} restarts={s['restartCount']} {json.dumps(s['state'])}"
            for s in pod.get("status", {}).get("containerStatuses", [])
        ]
        lines.append(f"{pod['metadata']['name']} {pod['status'].get('phase')} {'; '.join(states)}")
    events = sorted(api.list("events", namespace), key=lambda e: e.get("lastTimestamp") or "")[-8:]
    lines += [f"  {e['involvedObject'].get('name')}: {e.get('reason')} {e.get('message')}" for e in events]
    return "\n".join(lines)


def containers() -> list[str]:
    """Ids of the containers there are, by containerd."""
    command = [
        str(BIN / "ctr"),
        "-a",
        str(RUN / "containerd" / "containerd.sock"),
        "-n",
        "k8s.io",
        "containers",
        "ls",
        "-q",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
