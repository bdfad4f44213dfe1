"""Attacks that admission refuses: each is one change of an object that admission accepts.

tests/gitops evaluates the policies on them; tests/cluster sends them to a real API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from admission import ADMINISTRATOR, APPLIER, HOME, KUSTOMIZE, OWNER, RECONCILER, TENANT, Request
from combinations import installed, merge
from manifests import Manifest, Release
from released import SEED, as_helm_writes, case_of, template

NEW = "tenant-77"
"""A tenant that does not exist yet."""
GONE = object()
"""Value of a change that removes the field."""


@dataclass(frozen=True)
class Attack:
    name: str
    request: Request
    policy: str
    """The policy that refuses the request."""

    def __str__(self) -> str:
        return f"{self.policy}: {self.name}, by {self.request.account.rpartition(':')[2]}"


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy with some fields set; a path's parts are separated by `|`, because keys have dots."""
    copy = deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("|")]
        at: Any = copy
        for part in parents:
            at = at[part] if isinstance(part, int) else at.setdefault(part, {})
        if value is GONE:
            del at[last]
        elif isinstance(last, int) and last == len(at):
            at.append(deepcopy(value))
        else:
            at[last] = deepcopy(value)
    return copy


# What admission accepts


def tenants_release(tier: str = "premium", tenant: str = NEW, **values: Any) -> Manifest:
    """The HelmRelease of a tenant, as `tenantctl` makes it of a template."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: renamed(v) for k, v in value.items()}
        return tenant if value == "tenant-template" else value

    release = renamed(template(tier))
    release["spec"]["values"] = merge(release["spec"]["values"], values)
    return release


@cache
def installed_release(cluster: str, tier: str) -> Release:
    return installed(case_of(SEED, cluster, tenants_release(tier)))


def of_release(release: Release, kind: str, name: str | None = None) -> Manifest:
    found = [o for o in release.of(kind) if name in (None, o["metadata"]["name"])]
    return as_helm_writes(release, found[0])


@cache
def traefik_release() -> Release:
    routing = {"type": "traefik", "hostnames": ["api.example.com"]}
    return installed(case_of(SEED, "production", tenants_release("premium", routing=routing)))


def record(name: str = f"sh.helm.release.v1.{NEW}.v1") -> Manifest:
    labels = {"owner": "helm", "name": NEW, "version": "1", "status": "deployed"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": HOME, "labels": labels},
        "type": "helm.sh/release.v1",
    }


# Attacks by committing a tenant's file, or with any right on HelmReleases

EVIL_SOURCE = {"kind": "GitRepository", "name": "flux-system", "namespace": "flux-system"}
RENDERER = [
    {"kustomize": {"patches": [{"target": {"kind": "Terraform"}, "patch": "- op: remove\n  path: /spec/vars\n"}]}}
]

RELEASES: dict[str, dict[str, Any]] = {
    "no account": {"spec|serviceAccountName": GONE},
    "an empty account": {"spec|serviceAccountName": ""},
    "the Terraform runner's account": {"spec|serviceAccountName": "tf-runner"},
    "the namespace's default account": {"spec|serviceAccountName": "default"},
    "a chart of the GitOps repository": {"spec|chart|spec|chart": "./evil", "spec|chart|spec|sourceRef": EVIL_SOURCE},
    "another chart of the same source": {"spec|chart|spec|chart": "application-chart"},
    "the chart of another repository": {"spec|chart|spec|sourceRef|name": "other"},
    "a source of another namespace": {"spec|chart|spec|sourceRef|namespace": "flux-system"},
    "a bucket as the source": {"spec|chart|spec|sourceRef|kind": "Bucket"},
    "a chartRef beside the chart": {"spec|chartRef": {"kind": "OCIRepository", "name": "evil"}},
    "a chartRef in place of the chart": {"spec|chartRef": {"kind": "HelmChart", "name": "evil"}, "spec|chart": GONE},
    "metadata of the HelmChart": {"spec|chart|metadata": {"labels": {"a": "b"}}},
    "another file of values in the chart": {"spec|chart|spec|valuesFiles": ["ci/pool-values.yaml"]},
    "a target in kube-system": {"spec|targetNamespace": "kube-system"},
    "a target in another tenant's namespace": {"spec|targetNamespace": "tenant-1"},
    "records in flux-system": {"spec|storageNamespace": "flux-system"},
    "another tenant's release name": {"spec|releaseName": "tenant-1"},
    "a release name that Flux makes up": {"spec|releaseName": GONE},
    "another tenant's label": {f"metadata|labels|{TENANT}": "tenant-1"},
    "no label": {f"metadata|labels|{TENANT}": GONE},
    "another tenant's id in the values": {"spec|values|tenantId": "tenant-1"},
    "no id in the values": {"spec|values|tenantId": GONE},
    "no values": {"spec|values": GONE},
    "postRenderers": {"spec|postRenderers": RENDERER},
    "another cluster, by a Secret": {"spec|kubeConfig": {"secretRef": {"name": "kubeconfig"}}},
    "another cluster, by a ConfigMap": {"spec|kubeConfig": {"configMapRef": {"name": "kubeconfig"}}},
    "annotations on every object": {"spec|commonMetadata": {"annotations": {"a": "b"}}},
    "values from a Secret": {"spec|valuesFrom|1": {"kind": "Secret", "name": "aws-credentials"}},
    "values from a Secret alone": {"spec|valuesFrom": [{"kind": "Secret", "name": "tfstate-default-tenant-1"}]},
    "values from another ConfigMap": {"spec|valuesFrom|1": {"kind": "ConfigMap", "name": "kube-root-ca.crt"}},
    "one value from a Secret": {
        "spec|valuesFrom|1": {
            **{"kind": "Secret", "name": "terraform-git", "valuesKey": "password"},
            "targetPath": "appDefaults.podAnnotations.a",
        }
    },
    "the cluster's values at another place": {"spec|valuesFrom|0|targetPath": "appDefaults.podAnnotations.a"},
    "a release of another namespace to wait for": {
        "spec|dependsOn": [{"name": "external-secrets", "namespace": "flux-system"}]
    },
    "a namespace made by helm-controller": {"spec|install|createNamespace": True},
    "kinds installed by the chart": {"spec|install|crds": "CreateReplace"},
    "kinds replaced by the chart": {"spec|upgrade|crds": "CreateReplace"},
    "no schema of values": {"spec|install|disableSchemaValidation": True},
    "no schema of values on upgrade": {"spec|upgrade|disableSchemaValidation": True},
    "no schema of objects": {"spec|install|disableOpenAPIValidation": True},
    "the name of a release in use": {"spec|install|replace": True},
    "recreated objects": {"spec|upgrade|force": True},
    "another AWS endpoint": {"spec|values|aws": {"endpointUrl": "http://198.51.100.66"}},
    "another identity": {"spec|values|identity": {"type": "secret", "secret": {"name": "other"}}},
    "another load balancer": {"spec|values|routing": {"alb": {"groupName": "other"}}},
    "another Gateway": {"spec|values|routing": {"gateway": {"parentRefs": [{"name": "other"}]}}},
    "variables of the runner": {"spec|values|infra|runnerEnv": [{"name": "TF_LOG", "value": "trace"}]},
    "an account of the runner": {"spec|values|infra|serviceAccountName": "tenant-reconciler"},
    "a Terraform object elsewhere": {"spec|values|infra|namespace": "flux-system"},
    "another module": {"spec|values|infra|path": "./evil"},
    "another kind of module's source": {"spec|values|infra|sourceKind": "Bucket"},
    "no tokens": {"spec|values|auth": {"type": "none"}},
    "no isolation of the network": {"spec|values|networkPolicy": {"enabled": False}},
    "a way to instance metadata": {"spec|values|networkPolicy": {"egressCidrs": ["169.254.169.254/32"]}},
    "roles without the boundary": {"spec|values|infra|vars": {"permissions_boundary": ""}},
    "roles at another path": {"spec|values|infra|vars": {"role_path": "/"}},
    "roles of another cluster": {"spec|values|infra|vars": {"cluster_name": "other"}},
    "roles for another's account": {"spec|values|infra|vars": {"namespaces": {"producer": "kube-system"}}},
    "another account's role that reads": {
        "spec|values|infra|vars": {"pooled_reader_principal_arns": ["arn:aws:iam::210987654321:role/evil"]}
    },
}

RENAMED = {
    "an id that begins with a digit": "9tenant",
    "an id of 33 characters": "t" * 33,
    "an id with a dot": "tenant.77",
}


def renamed(manifest: Manifest, name: str) -> Manifest:
    changes = {"metadata|name": name, f"metadata|labels|{TENANT}": name}
    return changed(manifest, {**changes, "spec|releaseName": name, "spec|values|tenantId": name})


def labelled(manifest: Manifest, kustomization: str) -> Manifest:
    """An object as kustomize-controller applies it."""
    return changed(manifest, {f"metadata|labels|{OWNER}": kustomization})


def release_attacks(account: str) -> Iterator[Attack]:
    base = tenants_release()
    for name, changes in RELEASES.items():
        yield Attack(name, Request(account, "CREATE", changed(base, changes)), "tenant-releases")
        there = tenants_release(tenant="tenant-1")
        if name not in ("another tenant's release name", "another tenant's label", "another tenant's id in the values"):
            request = Request(account, "UPDATE", changed(there, changes), old=there)
            yield Attack(f"{name}, later", request, "tenant-releases")
    for name, tenant in RENAMED.items():
        yield Attack(name, Request(account, "CREATE", renamed(base, tenant)), "tenant-releases")
    if account == APPLIER:
        pool = labelled(renamed(base, "pool-9"), "tenants")
        yield Attack("a pool in a tenant's file", Request(account, "CREATE", pool), "tenant-releases")
        pool = labelled(changed(tenants_release(tenant="pool-1"), {"spec|values|suspended": True}), "tenants")
        yield Attack("the pool in a tenant's file", Request(account, "CREATE", pool), "tenant-releases")
    else:
        for where in ("tenant-1", "pool-1"):
            elsewhere = changed(base, {"metadata|namespace": where})
            request = Request(account, "CREATE", elsewhere, labels={TENANT: where})
            yield Attack(f"a HelmRelease in {where}", request, "tenant-namespaces")


# Attacks with other Flux objects


def flux(kind: str, group: str, version: str, where: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": f"{group}/{version}",
        "kind": kind,
        "metadata": {"name": "evil", "namespace": where},
        "spec": {k: v for k, v in {"interval": "10m", **spec}.items() if v is not GONE},
    }


GIT = {"url": "https://git.example.com/evil"}
FLUX: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "a Kustomization": (
        *("Kustomization", "kustomize.toolkit.fluxcd.io", "v1"),
        {"path": "./evil", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "terraform-v0-0-1"}},
    ),
    "a Kustomization with the reconciler's account": (
        *("Kustomization", "kustomize.toolkit.fluxcd.io", "v1"),
        {
            **{"path": "./", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "terraform-v0-0-1"}},
            "serviceAccountName": "tenant-reconciler",
            "postBuild": {"substituteFrom": [{"kind": "Secret", "name": "aws-credentials"}]},
        },
    ),
    "a GitRepository": ("GitRepository", "source.toolkit.fluxcd.io", "v1", GIT),
    "an OCIRepository": ("OCIRepository", "source.toolkit.fluxcd.io", "v1", {"url": "oci://evil.example.com/a"}),
    "a HelmRepository": ("HelmRepository", "source.toolkit.fluxcd.io", "v1", GIT),
    "a Bucket": (
        *("Bucket", "source.toolkit.fluxcd.io", "v1"),
        {"bucketName": "evil", "endpoint": "evil.example.com"},
    ),
    "a HelmChart": (
        *("HelmChart", "source.toolkit.fluxcd.io", "v1"),
        {"chart": "./evil", "sourceRef": {"kind": "GitRepository", "name": "terraform-v0-0-1"}},
    ),
    "an ExternalArtifact": (
        *("ExternalArtifact", "source.toolkit.fluxcd.io", "v1"),
        {"interval": GONE, "sourceRef": {"kind": "ArtifactGenerator", "name": "evil"}},
    ),
    "an ArtifactGenerator": ("ArtifactGenerator", "source.extensions.fluxcd.io", "v1beta1", {}),
    "a Receiver": ("Receiver", "notification.toolkit.fluxcd.io", "v1", {}),
    "an Alert": ("Alert", "notification.toolkit.fluxcd.io", "v1beta3", {}),
    "a Provider": ("Provider", "notification.toolkit.fluxcd.io", "v1beta3", {}),
    "an ImageRepository": ("ImageRepository", "image.toolkit.fluxcd.io", "v1", {}),
    "an ImageUpdateAutomation": ("ImageUpdateAutomation", "image.toolkit.fluxcd.io", "v1", {}),
    "a ResourceSet": ("ResourceSet", "fluxcd.controlplane.io", "v1", {}),
}
BY_BOOTSTRAP = ("a GitRepository", "an OCIRepository", "a HelmRepository", "a Bucket", "an ExternalArtifact")
"""Sources, which the account that applies the cluster's own folder may make in flux-tenants."""


def flux_attacks(account: str) -> Iterator[Attack]:
    for name, (kind, group, version, spec) in FLUX.items():
        if account != KUSTOMIZE or name not in BY_BOOTSTRAP:
            found = flux(kind, group, version, HOME, **spec)
            yield Attack(f"{name} in {HOME}", Request(account, "CREATE", found), "tenant-sources")
        found = flux(kind, group, version, "tenant-1", **spec)
        request = Request(account, "CREATE", found, labels={TENANT: "tenant-1"})
        yield Attack(f"{name} in a tenant's namespace", request, "tenant-namespaces")
    if account == KUSTOMIZE:
        return
    there = next(o for o in SEED.objects("production") if o["metadata"]["name"] == "terraform-v0-0-1")
    request = Request(account, "UPDATE", changed(there, {"spec|url": "https://evil.example.com"}), old=there)
    yield Attack("another URL of the module's source", request, "tenant-sources")
    there = tenants_release(tenant="tenant-1")
    written = changed(there, {"status": {"storageNamespace": "kube-system"}})
    request = Request(account, "UPDATE", written, old=there, subresource="status")
    yield Attack("a status that names another release", request, "tenant-status")


# Attacks with the values of a release: what its reconciler would write


def terraform_changes() -> dict[str, dict[str, Any]]:
    env = "spec|runnerPodTemplate|spec|env"
    state = {"secretKeyRef": {"name": "tfstate-default-tenant-1", "key": "tfstate"}}
    pod = "spec|runnerPodTemplate|spec"
    return {
        "another source": {"spec|sourceRef|name": "flux-system"},
        "a source of another namespace": {"spec|sourceRef|namespace": "flux-system"},
        "another kind of source": {"spec|sourceRef|kind": "Bucket"},
        "another path": {"spec|path": "./evil"},
        "a path that climbs": {"spec|path": "./terraform/modules/tenant-apps/../../evil"},
        "no path": {"spec|path": GONE},
        "another account": {"spec|serviceAccountName": "tenant-reconciler"},
        "another image of the runner": {f"{pod}|image": "evil.example.com/runner"},
        "another account of the runner's pod": {f"{pod}|serviceAccountName": "tenant-reconciler"},
        "volumes of the runner": {f"{pod}|volumes": [{"name": "a", "secret": {"secretName": "aws-credentials"}}]},
        "metadata of the runner's pod": {"spec|runnerPodTemplate|metadata": {"annotations": {"a": "b"}}},
        "another tenant's state as a variable": {env: [{"name": "TF_VAR_a", "valueFrom": state}]},
        "another endpoint of AWS": {env: [{"name": "AWS_ENDPOINT_URL", "value": "http://198.51.100.66"}]},
        "other keys of AWS": {env: [{"name": "AWS_ACCESS_KEY_ID", "value": "evil"}]},
        "another backend": {"spec|backendConfig": {"customConfiguration": 'backend "http" {}'}},
        "another tenant's state as the backend": {"spec|backendConfig": {"secretSuffix": "tenant-1"}},
        "another workspace": {"spec|workspace": "tenant-1"},
        "variables from a Secret": {"spec|varsFrom": [{"kind": "Secret", "name": "aws-credentials"}]},
        "one variable from a Secret": {
            "spec|vars|0|value": GONE,
            "spec|vars|0|valueFrom": {"secretKeyRef": {"name": "tfstate-default-tenant-1", "key": "tfstate"}},
        },
        "another tenant's id": {"spec|vars|0|value": "tenant-1"},
        "two ids": {"spec|vars|1": {"name": "tenant_id", "value": "tenant-1"}},
        "no id": {"spec|vars": []},
        "outputs into another Secret": {"spec|writeOutputsToSecret|name": "aws-credentials"},
        "outputs with labels": {"spec|writeOutputsToSecret|labels": {"owner": "helm"}},
        "another state's name": {"metadata|name": "tenant-1"},
        "no release": {"metadata|annotations|meta.helm.sh/release-name": GONE},
        "credentials of the CLI": {"spec|cliConfigSecretRef": {"name": "evil"}},
        "files of a Secret": {
            "spec|fileMappings": [
                {"secretRef": {"name": "aws-credentials", "key": "a"}, "location": "home", "path": "a"}
            ]
        },
        "values from Secrets": {"spec|readInputsFromSecrets": [{"name": "aws-credentials", "as": "a"}]},
        "outputs of another's object": {"spec|dependsOn": [{"name": "tenant-1"}]},
        "a webhook": {"spec|webhooks": [{"stage": "post-planning", "url": "https://evil.example.com"}]},
        "an end of everything": {"spec|destroy": True},
        "another cluster": {"spec|cloud": {"organization": "evil"}},
        "guards lifted": {"spec|breakTheGlass": True},
    }


ALB = "metadata|annotations|alb.ingress.kubernetes.io"


def header(name: str, *values: str) -> str:
    listed = ",".join(f'"{value}"' for value in values)
    return f'[{{"field":"http-header","httpHeaderConfig":{{"httpHeaderName":"{name}","values":[{listed}]}}}}]'


INGRESSES: dict[str, dict[str, Any]] = {
    "another tenant's header": {f"{ALB}/conditions.{NEW}-producer": header("TenantID", "tenant-1")},
    "two tenants' header": {f"{ALB}/conditions.{NEW}-producer": header("TenantID", NEW, "tenant-1")},
    "every tenant's header": {f"{ALB}/conditions.{NEW}-producer": header("TenantID", "?*")},
    "another header": {f"{ALB}/conditions.{NEW}-producer": header("Accept", NEW)},
    "no header": {f"{ALB}/conditions.{NEW}-producer": GONE},
    "an action of its own": {f"{ALB}/actions.{NEW}-producer": '{"type":"redirect"}'},
    "the first place": {f"{ALB}/group.order": "-1000"},
    "another login": {f"{ALB}/auth-type": "oidc"},
    "open security groups": {f"{ALB}/inbound-cidrs": "0.0.0.0/0"},
    "another load balancer's attributes": {f"{ALB}/load-balancer-attributes": "deletion_protection.enabled=false"},
    "another controller": {"spec|ingressClassName": "nginx"},
    "no controller": {"spec|ingressClassName": GONE},
    "the whole path": {"spec|rules|0|http|paths|0|path": "/"},
    "another app's path": {"spec|rules|0|http|paths|0|path": "/consumer"},
    "one more path": {
        "spec|rules|0|http|paths|1": {
            "path": "/payments",
            "pathType": "Prefix",
            "backend": {"service": {"name": f"{NEW}-producer", "port": {"number": 80}}},
        }
    },
    "another tenant's Service": {"spec|rules|0|http|paths|0|backend|service|name": "tenant-1-producer"},
    "a default for everything": {
        "spec|defaultBackend": {"service": {"name": f"{NEW}-producer", "port": {"number": 80}}}
    },
}

MATCH = "spec|rules|0|matches|0"
HTTP_ROUTES: dict[str, dict[str, Any]] = {
    "another tenant's header": {f"{MATCH}|headers|0|value": "tenant-1"},
    "a pattern of headers": {f"{MATCH}|headers|0": {"type": "RegularExpression", "name": "TenantID", "value": ".*"}},
    "a pattern with its own id": {f"{MATCH}|headers|0|type": "RegularExpression"},
    "another header": {f"{MATCH}|headers|0|name": "Accept"},
    "no header": {f"{MATCH}|headers": GONE},
    "no headers in the list": {f"{MATCH}|headers": []},
    "a second match": {"spec|rules|0|matches|1": {"path": {"type": "PathPrefix", "value": "/producer"}}},
    "no match": {"spec|rules|0|matches": GONE},
    "the whole path": {f"{MATCH}|path|value": "/"},
    "another app's path": {f"{MATCH}|path|value": "/consumer"},
    "a pattern of paths": {f"{MATCH}|path|type": "RegularExpression"},
    "another tenant's header set": {
        "spec|rules|0|filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "TenantID", "value": "tenant-1"}]},
            }
        ]
    },
    "another tenant's header set at the Service": {
        "spec|rules|0|backendRefs|0|filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "TenantID", "value": "tenant-1"}]},
            }
        ]
    },
    "another tenant's Service": {"spec|rules|0|backendRefs|0|name": "tenant-1-producer"},
    "another namespace's Service": {"spec|rules|0|backendRefs|0|namespace": "tenant-1"},
    "a Service in place of the Gateway": {"spec|parentRefs": [{"group": "", "kind": "Service", "name": "a"}]},
}

PREFIX = "(Host(`api.example.com`)) && (Path(`/producer`) || PathPrefix(`/producer/`))"
INGRESS_ROUTES: dict[str, dict[str, Any]] = {
    "another tenant's header": {"spec|routes|0|match": f"{PREFIX} && Header(`TenantID`, `tenant-1`)"},
    "every tenant's header": {"spec|routes|0|match": f"{PREFIX} && HeaderRegexp(`TenantID`, `.+`)"},
    "no header": {"spec|routes|0|match": PREFIX},
    "a wider rule": {"spec|routes|0|match": f"PathPrefix(`/`) || {PREFIX} && Header(`TenantID`, `{NEW}`)"},
    "a wider rule behind": {"spec|routes|0|match": f"{PREFIX} && Header(`TenantID`, `{NEW}`) || PathPrefix(`/`)"},
    "a second rule": {
        "spec|routes|1": {
            "kind": "Rule",
            "match": "PathPrefix(`/`)",
            "services": [{"name": f"{NEW}-producer", "port": 80}],
        }
    },
    "another tenant's Service": {"spec|routes|0|services|0|name": "tenant-1-producer"},
    "another namespace's Service": {"spec|routes|0|services|0|namespace": "tenant-1"},
    "a Service of Traefik's": {"spec|routes|0|services|0|kind": "TraefikService"},
    "another syntax": {"spec|routes|0|syntax": "v2"},
    "a route of another tenant as its parent": {"spec|parentRefs": [{"name": "tenant-1-producer"}]},
}

SERVICES: dict[str, dict[str, Any]] = {
    "others' addresses": {"spec|externalIPs": ["198.51.100.1"]},
    "a port of every node": {"spec|type": "NodePort"},
    "a load balancer of its own": {"spec|type": "LoadBalancer"},
    "an address of the load balancer": {"spec|loadBalancerIP": "198.51.100.10"},
    "another name": {"spec|type": "ExternalName", "spec|externalName": "evil.example.com"},
    "every pod": {"spec|selector": GONE},
    "another app's pods": {"spec|selector": {"app": f"{NEW}-consumer"}},
    "pods by another label": {"spec|selector": {"tenantry/tenant": NEW}},
    "another tenant's name": {"metadata|name": "tenant-1-producer"},
    "a name with a dash more": {"metadata|name": f"{NEW}-a-producer", "metadata|labels|tenantry/app": "a-producer"},
}

RECORDS: dict[str, dict[str, Any]] = {
    "a token of an account": {
        "type": "kubernetes.io/service-account-token",
        "metadata|annotations|kubernetes.io/service-account.name": "tf-runner",
    },
    "any Secret": {"type": "Opaque"},
    "a record with the state's name": {"metadata|name": "tfstate-default-tenant-1"},
    "a record with the keys' name": {"metadata|name": "aws-credentials"},
    "another tenant's record": {"metadata|name": "sh.helm.release.v1.tenant-1.v1"},
    "a record without labels": {"metadata|labels": GONE},
    "a record of another owner": {"metadata|labels|owner": "other"},
}

ROLE = "arn:aws:iam::123456789012:role"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "another tenant's role": {"metadata|annotations|eks.amazonaws.com/role-arn": f"{ROLE}/producer-role-tenant-1"},
    "the platform's role": {"metadata|annotations|eks.amazonaws.com/role-arn": f"{ROLE}/tenantry-runner"},
    "a role that ends like its own": {"metadata|annotations|eks.amazonaws.com/role-arn": f"{ROLE}/a-{NEW}"},
}

POD = "spec|template|spec"
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "a token of the API server": {f"{POD}|automountServiceAccountToken": True},
    "a system's priority": {f"{POD}|priorityClassName": "system-node-critical"},
    "a node of its choice": {f"{POD}|nodeName": "node-1"},
}


VALUES: dict[str, dict[str, Any]] = {
    "a load balancer of its own": {"appDefaults": {"service": {"type": "LoadBalancer"}}},
    "a port of every node": {"apps": {"consumer": {"service": {"type": "NodePort"}}}},
    "the platform's role": {"appDefaults": {"serviceAccount": {"roleArn": f"{ROLE}/tenantry-runner"}}},
    "another tenant's role": {"apps": {"producer": {"serviceAccount": {"roleArn": f"{ROLE}/producer-role-tenant-1"}}}},
    "a role by an annotation": {
        "appDefaults": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": f"{ROLE}/admin"}}}
    },
    "a system's priority": {"appDefaults": {"priorityClassName": "system-node-critical"}},
    "the first place": {"appDefaults": {"ingress": {"annotations": {"alb.ingress.kubernetes.io/group.order": "-1"}}}},
    "another login": {
        "apps": {"producer": {"ingress": {"annotations": {"alb.ingress.kubernetes.io/auth-type": "oidc"}}}}
    },
    "another tenant's header": {
        "apps": {
            "producer": {
                "ingress": {
                    "annotations": {f"alb.ingress.kubernetes.io/conditions.{NEW}-producer": header("TenantID", "x")}
                }
            }
        }
    },
    "another controller": {"appDefaults": {"ingress": {"className": "nginx"}}},
    "another source of the module": {"infra": {"tfVersion": "flux-system"}},
}
"""Values of a release of which the chart makes an object that admission refuses."""


def reconciler_attacks(cluster: str) -> Iterator[Attack]:
    own, pooled = {TENANT: NEW}, {TENANT: "pool-1"}

    def attacks(
        policy: str, base: Manifest, changes: dict[str, dict[str, Any]], labels: dict[str, str]
    ) -> Iterator[Attack]:
        for name, change in changes.items():
            yield Attack(name, Request(RECONCILER, "CREATE", changed(base, change), labels=labels), policy)

    premium, basic = installed_release(cluster, "premium"), installed_release(cluster, "basic")
    alb, gateway = installed_release("production", "premium"), installed_release("homelab", "premium")
    service = of_release(premium, "Service", f"{NEW}-producer")
    terraform = of_release(premium, "Terraform")
    ingress = of_release(alb, "Ingress", f"{NEW}-ingress-producer")
    http_route = of_release(gateway, "HTTPRoute", f"{NEW}-producer")
    ingress_route = of_release(traefik_release(), "IngressRoute", f"{NEW}-producer")
    yield from attacks("tenant-terraform", terraform, terraform_changes(), {})
    yield from attacks("tenant-services", service, SERVICES, own)
    yield from attacks("tenant-records", record(), RECORDS, {})
    yield from attacks("tenant-accounts", of_release(premium, "ServiceAccount"), ACCOUNTS, own)
    yield from attacks("tenant-workloads", of_release(premium, "Deployment"), DEPLOYMENTS, own)
    yield from attacks("tenant-ingresses", ingress, INGRESSES, own)
    yield from attacks("tenant-httproutes", http_route, HTTP_ROUTES, own)
    yield from attacks("tenant-ingressroutes", ingress_route, INGRESS_ROUTES, own)
    in_pool = of_release(basic, "Service", f"{NEW}-producer")
    yield from attacks(
        "tenant-services",
        in_pool,
        {
            "another tenant's name in the pool": {"metadata|name": "tenant-2-producer"},
            "the pool's own name": {"metadata|name": "pool-1-producer"},
            "its own pods in the pool": {"spec|selector": {"app": f"{NEW}-producer"}},
        },
        pooled,
    )
    everyone = {f"{ALB}/conditions.{NEW}-producer": header("TenantID", "?*")}
    pools_ingress = of_release(installed_release("production", "basic"), "Ingress", f"{NEW}-ingress-producer")
    yield from attacks("tenant-ingresses", pools_ingress, {"every tenant's header, in the pool": everyone}, pooled)
    deployment = of_release(premium, "Deployment")
    for where in ("tenant-1", "pool-1"):
        moved = changed(deployment, {"metadata|namespace": where})
        request = Request(RECONCILER, "CREATE", moved, labels={TENANT: where})
        yield Attack(f"a Deployment in {where}", request, "tenant-reconciler")
    account = of_release(premium, "ServiceAccount")
    for where in ("tenant-1", "pool-1", "kube-system"):
        labels = {} if where == "kube-system" else {TENANT: where}
        moved = changed(account, {"metadata|namespace": where})
        request = Request(RECONCILER, "CREATE", moved, labels=labels)
        yield Attack(f"a ServiceAccount in {where}", request, "tenant-reconciler")
    request = Request(RECONCILER, "CREATE", changed(deployment, {"metadata|namespace": HOME}))
    yield Attack("a pod beside the runner", request, "tenant-reconciler")


@cache
def attacks(cluster: str) -> tuple[Attack, ...]:
    found: list[Attack] = []
    for account in (APPLIER, KUSTOMIZE, ADMINISTRATOR):
        found += release_attacks(account)
    for account in (KUSTOMIZE, ADMINISTRATOR):
        found += flux_attacks(account)
    return (*found, *reconciler_attacks(cluster))
