"""Brings the cluster up, from inside its namespaces: registries and Git, control plane and node, Flux, the four tiers.

    bringup.py PROGRAMS

PROGRAMS is the folder with the services' binaries. Each step says when it is done. What is done after the node is up
follows docs/deploy-homelab.md, section by section.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import flux
import images
import kinds
import kubernetes
import standin_charts
import tokens
from api import Api, condition, is_current
from layout import (
    API_HOST,
    BIN,
    DNS_SERVICE,
    GIT_ADDRESS,
    GIT_LOGIN,
    GITOPS_REPOSITORY,
    HARBOR,
    HARBOR_ADDRESS,
    HOME,
    HOOK_PORT,
    HUB_ADDRESS,
    ISSUER,
    KEYS,
    KUBECONFIG,
    METADATA_ADDRESS,
    NAMES,
    NODE,
    PAGES,
    PKI,
    PULL_LOGIN,
    PUSH_LOGIN,
    REGISTRY,
    ROOT,
    RUN,
    SOURCE_REPOSITORY,
)
from machine import ClusterError, outside, prepare, run, start, start_python, wait_for, wait_for_program

BEGIN = time.monotonic()
ENDPOINT_FILE = RUN / "aws-endpoint"
REPOSITORIES = RUN / "git"


def say(step: str) -> None:
    print(f"{time.monotonic() - BEGIN:6.1f} s  {step}", flush=True)


# Harbor's and Gitea's places


def start_registries() -> None:
    logins = RUN / "htpasswd"
    logins.write_text("".join(htpasswd(*login) for login in (PUSH_LOGIN, PULL_LOGIN)))
    registry(
        "harbor",
        HARBOR_ADDRESS,
        RUN / "registry",
        "harbor",
        f"auth:\n  htpasswd:\n    realm: harbor\n    path: {logins}\n",
    )
    registry("hub", HUB_ADDRESS, HOME / "hub", "hub", "")


def registry(name: str, address: str, folder: Path, certificate: str, login: str) -> None:
    config = RUN / f"{name}.yml"
    config.write_text(
        f"""version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {folder}
  delete:
    enabled: true
http:
  addr: {address}:443
  secret: {name}
  tls:
    certificate: {PKI}/{certificate}.crt
    key: {PKI}/{certificate}.key
{login}"""
    )
    start(name, *outside(), BIN / "registry", "serve", config, OTEL_TRACES_EXPORTER="none")


def htpasswd(user: str, password: str) -> str:
    """A line with a bcrypt hash; Python has no bcrypt of its own."""
    if shutil.which("htpasswd"):
        return run("htpasswd", "-nbB", "-C", "5", user, password).strip() + "\n"
    code = "import sys,bcrypt;print(bcrypt.hashpw(sys.argv[1].encode(),bcrypt.gensalt(5)).decode())"
    return f"{user}:{run(sys.executable, '-c', code, password).strip()}\n"


def is_listening(address: str, port: int = 443) -> Callable[[], bool]:
    import socket

    def listening() -> bool:
        with socket.create_connection((address, port), 1):
            return True

    return listening


def start_git() -> None:
    (REPOSITORIES / "tenantry").mkdir(parents=True, exist_ok=True)
    PAGES.mkdir(parents=True, exist_ok=True)
    tokens.publish_keys(PAGES / ISSUER / "jwks.json")
    for name in ("gitops", "tenantry"):
        repository = REPOSITORIES / "tenantry" / f"{name}.git"
        run("git", "init", "--quiet", "--bare", "--initial-branch=main", repository)
        run("git", "-C", repository, "config", "http.receivepack", "true")
    start_python(
        *("git", "standins/git_server.py", GIT_ADDRESS, PKI / "git.crt", PKI / "git.key", REPOSITORIES, PAGES),
        *(":".join(GIT_LOGIN), f"http://{NODE}:{HOOK_PORT}/hook"),
        beside=outside(),
    )
    start_python("metadata", "standins/metadata.py", METADATA_ADDRESS, beside=outside())


def push_source() -> None:
    """Section 1: the module's repository, at its tag."""
    scratch = RUN / "source"
    run("git", "init", "--quiet", "--initial-branch=main", scratch)
    target = scratch / "terraform" / "modules"
    target.mkdir(parents=True)
    shutil.copytree(ROOT / "terraform" / "modules" / "tenant-apps", target / "tenant-apps")
    run("git", "-C", scratch, "add", "--all")
    commit(scratch, "The module")
    run("git", "-C", scratch, "tag", "v0.0.1")
    run("git", "-C", scratch, "push", "--quiet", with_login(SOURCE_REPOSITORY), "main", "v0.0.1")


def with_login(url: str) -> str:
    return url.replace("https://", f"https://{GIT_LOGIN[0]}:{GIT_LOGIN[1]}@")


def commit(folder: Path, message: str) -> None:
    identity = ("-c", "user.name=operator", "-c", "user.email=operator@example.com")
    run("git", "-C", folder, *identity, "commit", "--quiet", "--message", message)


# Section 5: images and charts


def push_images(programs: Path) -> None:
    foreign, hub = images.foreign(), images.Registry("ghcr.io")
    marks = HOME / "image-stamps"
    marks.mkdir(exist_ok=True)
    for image in foreign:
        mark = marks / image.name.replace("/", "-")
        stamp = images.stamp(image)
        if (
            not mark.exists()
            or mark.read_text() != stamp
            or hub.ask("HEAD", f"{image.name}/manifests/{image.tag}")[0] != 200
        ):
            hub.push(image)
            mark.write_text(stamp)
    harbor = images.Registry(HARBOR)
    layers = HOME / "images"
    layers.mkdir(exist_ok=True)
    for image in images.ours(programs):
        cached, mark = layers / f"{image.name.replace('/', '-')}.tar", layers / f"{image.name.replace('/', '-')}.stamp"
        stamp = images.stamp(image)
        if not mark.exists() or mark.read_text() != stamp:
            cached.write_bytes(images.layer(image))
            mark.write_text(stamp)
        harbor.push(image, cached.read_bytes())


def docker_config() -> None:
    """What `docker login` writes."""
    folder = RUN / "docker"
    folder.mkdir(exist_ok=True)
    login = base64.b64encode(":".join(PUSH_LOGIN).encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {HARBOR: {"auth": login}}}))
    os.environ["DOCKER_CONFIG"] = str(folder)
    os.environ["SSL_CERT_FILE"] = str(PKI / "bundle.crt")


def push_charts() -> None:
    docker_config()
    run(sys.executable, ROOT / "docker" / "push_charts.py", f"oci://{REGISTRY}/charts")


# Section 3: the add-ons of RKE2


def start_addons(api: Api) -> None:
    hosts = "\n    ".join(f"{address} {name}" for name, address in NAMES.items())
    kubernetes.apply_file(api, "coredns.yaml", HOSTS=hosts, DNS_SERVICE=DNS_SERVICE)
    kubernetes.apply_file(api, "network-policies.yaml")
    kubernetes.apply_file(api, "metrics-server.yaml")
    kubernetes.apply_all(api, kinds.of("prometheus", "keda"))
    # One volume instead of a provisioner: only localaws claims a volume.
    folder = RUN / "volume"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65532, 65532)
    kubernetes.apply_file(api, "volume.yaml", FOLDER=str(folder))


def secret(namespace: str, name: str, kind: str = "Opaque", **data: str) -> dict:
    encoded = {k.replace("__", "."): base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "data": encoded,
    }


def pull_secret(namespace: str, **more: str) -> dict:
    auth = base64.b64encode(":".join(PULL_LOGIN).encode()).decode()
    config = {"auths": {HARBOR: {"username": PULL_LOGIN[0], "password": PULL_LOGIN[1], "auth": auth}}}
    return secret(
        namespace, "registry", "kubernetes.io/dockerconfigjson", **{"__dockerconfigjson": json.dumps(config), **more}
    )


def keys(namespace: str) -> dict:
    return secret(namespace, "aws-credentials", **KEYS)


# Section 6: the stand-in for AWS


def page_block(section: str, containing: str) -> str:
    """A shell block of docs/deploy-homelab.md, by its section and some text in it."""
    text = (ROOT / "docs" / "deploy-homelab.md").read_text()
    part = text.split(f"\n## {section}")[1].split("\n## ")[0]
    return next(block for block in part.split("```sh\n")[1:] if containing in block.split("\n```")[0]).split("\n```")[0]


def start_localaws(api: Api) -> None:
    manifests = (
        page_block("6", "kind: PersistentVolumeClaim")
        .split("<<EOF\n")[1]
        .split("\nEOF")[0]
        .replace("$REGISTRY", REGISTRY)
    )
    kubernetes.apply_all(api, list(yaml.safe_load_all(manifests)))
    api.apply(pull_secret("aws"))
    kubernetes.wait_for_deployment(api, "aws", "localaws")
    address = api.get("services", "localaws", "aws")["spec"]["clusterIP"]
    ENDPOINT_FILE.write_text(f"http://{address}:4566")
    make_lifecycle_queues(f"http://{address}:4566")


def make_lifecycle_queues(endpoint: str) -> None:
    import boto3

    sqs = boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="homelab",
        aws_secret_access_key="homelab",
    )
    for kind in ("onboarding", "offboarding", "deployment"):
        name = f"argoworkflows-{kind}-queue"
        sqs.create_queue(QueueName=f"{name}-dlq")
        policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{name}-dlq", "maxReceiveCount": "5"}
        sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(policy)})


# Section 7: the GitOps repository


def seed_gitops() -> Path:
    folder = RUN / "gitops"
    run("git", "init", "--quiet", "--initial-branch=main", folder)
    shutil.copytree(ROOT / "gitops", folder, dirs_exist_ok=True)
    settings = folder / "clusters" / "homelab" / "cluster-settings.yaml"
    text = settings.read_text()
    wanted = {
        "HOSTNAME": API_HOST,
        "REGISTRY": REGISTRY,
        "GITOPS_REPOSITORY": GITOPS_REPOSITORY,
        "TERRAFORM_REPOSITORY": SOURCE_REPOSITORY,
    }
    lines = [
        next((f"  {k}: {v}" for k, v in wanted.items() if line.startswith(f"  {k}: ")), line)
        for line in text.splitlines()
    ]
    settings.write_text("\n".join(lines) + "\n")
    run("git", "-C", folder, "add", "--all")
    commit(folder, "Begin with the seed")
    run("git", "-C", folder, "remote", "add", "origin", with_login(GITOPS_REPOSITORY))
    run("git", "-C", folder, "push", "--quiet", "origin", "HEAD:main")
    return folder


def make_secrets(api: Api) -> None:
    authority = (PKI / "homelab.crt").read_text()
    api.apply(pull_secret("flux-system", ca__crt=authority))
    wanted = {
        "flux-tenants": lambda: [
            keys("flux-tenants"),
            pull_secret("flux-tenants", ca__crt=authority),
            secret("flux-tenants", "terraform-git", username=GIT_LOGIN[0], password=GIT_LOGIN[1]),
        ],
        "tenant-secrets": lambda: [keys("tenant-secrets"), pull_secret("tenant-secrets")],
        "gateway": lambda: [
            secret(
                *("gateway", "tenants-tls", "kubernetes.io/tls"),
                tls__crt=(PKI / "gateway.crt").read_text(),
                tls__key=(PKI / "gateway.key").read_text(),
            )
        ],
        "tenantry": lambda: [
            keys("tenantry"),
            pull_secret("tenantry"),
            secret("tenantry", "tenantctl-git", password=GIT_LOGIN[1]),
        ],
        "onboarding-service": lambda: [
            keys("onboarding-service"),
            pull_secret("onboarding-service"),
            secret(
                *("onboarding-service", "onboarding-service"),
                GITOPS_PASSWORD=GIT_LOGIN[1],
                AUTH_ISSUER=tokens.ISSUER_URL,
                AUTH_AUDIENCE=tokens.AUDIENCE,
                AUTH_JWKS=f"{tokens.ISSUER_URL}/jwks.json",
                LOAD_BALANCER_CA=(PKI / "homelab.crt").read_text(),
            ),
        ],
    }

    def make(namespace: str) -> None:
        wait_for(f"namespace {namespace}", lambda: api.find("namespaces", namespace), 300, 0.2)
        for manifest in wanted[namespace]():
            api.apply(manifest)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, wanted))


def make_receiver(api: Api) -> None:
    """Makes the Git server's webhook request the source, so that a commit does not wait for the interval."""
    api.apply(secret("flux-system", "webhook-token", token="webhook-token"))
    api.apply(
        {
            "apiVersion": "notification.toolkit.fluxcd.io/v1",
            "kind": "Receiver",
            "metadata": {"name": "gitops", "namespace": "flux-system"},
            "spec": {
                "type": "generic",
                "secretRef": {"name": "webhook-token"},
                "resources": [{"kind": "GitRepository", "name": "flux-system"}],
            },
        }
    )


def wait_for_tiers(api: Api) -> None:
    def unfinished() -> str:
        for name in ("pooled-envs", "tenants"):
            found = api.find(flux.KUSTOMIZATION, name, "flux-system")
            if not found or not is_current(found):
                return f"Kustomization {name}: {condition(found or {}).get('message')}"
        for name in ("pool-1", "tenant-1", "tenant-2", "tenant-3"):
            found = api.find(flux.RELEASE, name, "flux-tenants")
            if not found or not is_current(found):
                return f"HelmRelease {name}: {condition(found or {}).get('message')}"
        return ""

    last = ""

    def done() -> bool:
        nonlocal last
        last = unfinished()
        return not last

    try:
        wait_for("the four tiers", done, 600, 0.3)
    except ClusterError as error:
        raise ClusterError(f"{error}: {last}") from None


def probe(tenant: str, app: str) -> str:
    """A request as the printed curl lines make it."""
    done = subprocess.run(
        [
            *("curl", "--silent", "--max-time", "5", "--cacert", str(PKI / "homelab.crt")),
            *("--header", f"tenantID: {tenant}", f"https://{API_HOST}/{app}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def wait_for_answers() -> None:
    expected = {
        ("tenant-1", "producer"): "tenant-1",
        ("tenant-2", "producer"): "pool-1",
        ("tenant-3", "consumer"): "tenant-3",
    }
    for (tenant, app), environment in expected.items():
        wait_for(
            f"{app} of {tenant}",
            lambda tenant=tenant, app=app, environment=environment: (
                f'"environment":"{environment}"' in probe(tenant, app)
            ),
            60,
            0.2,
        )


def main() -> None:
    programs = Path(sys.argv[1])
    (RUN / "programs").write_text(str(programs))
    prepare()
    start_registries()
    start_git()
    with ThreadPoolExecutor() as pool:
        control_plane = pool.submit(kubernetes.start_control_plane)
        for name, address in (("harbor", HARBOR_ADDRESS), ("hub", HUB_ADDRESS), ("git", GIT_ADDRESS)):
            wait_for_program(name, f"{name} at {address}", is_listening(address), 30)
        pushes = [pool.submit(push_source), pool.submit(standin_charts.publish), pool.submit(push_images, programs)]
        control_plane.result()
        say("control plane")
        for push in pushes:
            push.result()
        push_charts()
        say("images and charts pushed, repositories made")
    api = Api()
    kubernetes.start_node()
    start_addons(api)
    wait_for("the node", lambda: is_current(api.get("nodes", "node-1")) if api.find("nodes", "node-1") else False, 60)
    say("node")
    folder = seed_gitops()
    start_python("tofu-controller", "standins/tofu_controller.py", ENDPOINT_FILE)
    start_python("external-secrets", "standins/external_secrets.py")
    start_python("notification-controller", "standins/notification_controller.py", NODE, str(HOOK_PORT))
    with ThreadPoolExecutor() as pool:
        aws = pool.submit(start_localaws, api)
        names = pool.submit(kubernetes.wait_for_deployment, api, "kube-system", "coredns")
        flux.bootstrap(
            api,
            RUN,
            url=GITOPS_REPOSITORY,
            branch="main",
            path="clusters/homelab",
            username=GIT_LOGIN[0],
            password=GIT_LOGIN[1],
        )
        make_receiver(api)
        say("Flux")
        secrets = pool.submit(make_secrets, api)
        names.result()
        aws.result()
        say("names, the AWS endpoint")
        secrets.result()
    say("Secrets")
    wait_for_tiers(api)
    say("four tiers")
    wait_for_answers()
    say("answers through the Gateway")
    run("git", "-C", folder, "pull", "--quiet", "origin", "main")
    assert KUBECONFIG.exists()


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        sys.exit(f"make cluster: {error}")
