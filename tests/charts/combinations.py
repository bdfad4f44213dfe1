"""The rendered cases: the matrix tier x routing x autoscaler x identity, and every single option.

Tests that hold for every release take a `Case` from `EVERYTHING`.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from engine import APPLICATION_CHART, KUBERNETES, TENANT_CHART, render
from manifests import Release, parse

Values = dict[str, Any]

APPS = ("producer", "consumer", "payments")
POOL = "pool-1"
LONG_TENANT = "tenant-of-exactly-32-characters9"
LONG_POOL = "pool-of-exactly-32-characters-42"
LONG_APP = "nineteencharacters1"


def merge(*layers: Values) -> Values:
    """Merges maps key by key and replaces other values, as Helm does."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merge(result[key], value) if both else deepcopy(value)
    return result


@dataclass(frozen=True)
class Case:
    """A chart with values, a release name and a namespace."""

    id: str
    chart: Path
    values_json: str
    name: str
    namespace: str

    @property
    def values(self) -> Values:
        return json.loads(self.values_json)

    @property
    def tenant(self) -> str:
        return self.values["tenantId"]

    def __str__(self) -> str:
        return self.id


def installed(case: Case, kubernetes: str = KUBERNETES[-1]) -> Release:
    """Renders a case for that version of Kubernetes."""
    if not depends_on_version(case.chart):
        kubernetes = KUBERNETES[-1]
    return rendered(case.chart, case.values_json, case.name, case.namespace, kubernetes)


@cache
def rendered(chart: Path, values_json: str, name: str, namespace: str, kubernetes: str) -> Release:
    stream = render(chart, json.loads(values_json), name, namespace, kubernetes)
    return Release(name, namespace, tuple(parse(stream)))


@cache
def depends_on_version(chart: Path) -> bool:
    """Whether a template reads `KubeVersion`, the only way in which it can depend on the version."""
    return any("KubeVersion" in path.read_text() for path in (chart / "templates").rglob("*.*"))


# Tiers, as the GitOps templates install them


def silo() -> Values:
    return {"enabled": True, "ingress": {"enabled": True}}


def pooled(pool: str) -> Values:
    return {"enabled": False, "envId": pool, "ingress": {"enabled": True}}


def tier_apps(tier: str, pool: str, apps: tuple[str, ...]) -> Values:
    if tier == "premium":
        return dict.fromkeys(apps, silo())
    if tier == "pool":
        return dict.fromkeys(apps, {"enabled": True, "ingress": {"enabled": False}})
    return {app: silo() if (tier, app) == ("advanced", "consumer") else pooled(pool) for app in apps}


def tier_case(case_id: str, tier: str, tenant: str, pool: str, *options: Values) -> Case:
    if tier == "pool":
        tenant = name = namespace = pool
    else:
        name = f"{tenant}-{tier}"
        namespace = pool if tier == "basic" else tenant
    values = merge({"tenantId": tenant, "apps": tier_apps(tier, pool, APPS)}, *options)
    return Case(case_id, TENANT_CHART, json.dumps(values), name, namespace)


TIERS = {"premium": "tenant-1", "basic": "tenant-2", "advanced": "tenant-3", "pool": POOL}

ROUTING: dict[str, Values] = {
    "alb": {"routing": {"type": "alb"}},
    "gateway": {
        "routing": {"type": "gateway", "gateway": {"parentRefs": [{"name": "public", "namespace": "gateway-system"}]}}
    },
    "traefik": {"routing": {"type": "traefik"}},
    "none": {"routing": {"type": "none"}},
}

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/consumer-tenant-1-x11"
KEDA: Values = {"apps": {"consumer": {"keda": {"enabled": True, "queueUrl": QUEUE_URL}}}}
AUTOSCALERS: dict[str, Values] = {
    "none": {},
    "hpa": {"appDefaults": {"autoscaling": {"enabled": True}}},
    "keda": KEDA,
}

ACCOUNT = "123456789012"
IDENTITIES: dict[str, Values] = {
    "podidentity": {"identity": {"type": "podIdentity"}},
    "irsa": {"identity": {"type": "irsa"}, "awsAccountId": ACCOUNT},
    "secret": {
        "identity": {"type": "secret", "secret": {"name": "aws-credentials"}},
        "aws": {"region": "us-east-1", "endpointUrl": "http://localaws.tenantry.svc:4566"},
    },
}


def matrix_case(tier: str, routing: str, autoscaler: str, identity: str) -> Case:
    options = ROUTING[routing], AUTOSCALERS[autoscaler], IDENTITIES[identity]
    return tier_case(f"{tier}-{routing}-{autoscaler}-{identity}", tier, TIERS[tier], POOL, *options)


MATRIX = [matrix_case(*combination) for combination in product(TIERS, ROUTING, AUTOSCALERS, IDENTITIES)]


# Every single option


def app(**values: Any) -> Values:
    return {"appDefaults": values}


MONITORING: Values = {
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "alertLabels": {"team": "saas"}},
        "dashboard": {"enabled": True},
    }
}
GUARDS: Values = {"resourceQuota": {"enabled": True}, "limitRange": {"enabled": True}}

SUSPENDED: Values = {"suspended": True}

PREMIUM_OPTIONS: dict[str, Values] = {
    "defaults": {},
    "monitoring": MONITORING,
    "pod-monitor": {"metrics": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "dashboard-elsewhere": {"metrics": {"dashboard": {"enabled": True, "namespace": "grafana"}}},
    "guards": GUARDS,
    "infra": {"infra": {"enabled": True}},
    "infra-data-lifted": {"infra": {"enabled": True, "deleteData": True}},
    "infra-tombstone": {
        "suspended": True,
        "infra": {"enabled": True, "retain": ["consumer", "payments"]},
        "apps": {app: {"enabled": False, "ingress": {"enabled": False}} for app in APPS},
    },
    "suspended": SUSPENDED,
    "infra-tuned": {
        "infra": {
            "enabled": True,
            "sourceKind": "OCIRepository",
            "namespace": "infrastructure",
            "approvePlan": "disable",
            "destroyResourcesOnDeletion": True,
            "serviceAccountName": "runner",
            "runnerEnv": [{"name": "AWS_ENDPOINT_URL", "value": "http://localaws.aws.svc:4566"}],
            "vars": {"read_capacity": 5, "alarms": True},
        }
    },
    "no-network-policy": {"networkPolicy": {"enabled": False}},
    "network-policy-ipv6": {"networkPolicy": {"ipv6": True, "egressCidrs": ["0.0.0.0/0", "::/0"]}},
    "network-policy-tuned": {
        "networkPolicy": {
            "clients": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
            "metricsClients": [],
            "egressCidrs": ["10.0.0.0/8", "52.94.0.0/22"],
            "extraIngress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]}],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [{"port": 5432}]}],
        }
    },
    "image-digest": app(image={"digest": f"sha256:{'0123456789abcdef' * 4}"}),
    "image-registry": {
        "global": {"imageRegistry": "harbor.example.com/tenantry", "imagePullSecrets": [{"name": "harbor"}]},
        "appDefaults": {"imagePullSecrets": [{"name": "another"}], "image": {"tag": "0.1", "pullPolicy": "Always"}},
    },
    "image-repository-with-host": {
        "global": {"imageRegistry": "harbor.example.com"},
        "apps": {"producer": {"image": {"repository": f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/producer"}}},
    },
    "identity-auto-irsa": {"awsAccountId": ACCOUNT},
    "identity-irsa-partition": {
        "awsAccountId": ACCOUNT,
        "identity": {"irsa": {"partition": "aws-cn"}},
        "apps": {"payments": {"serviceAccount": {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/other"}}},
    },
    "identity-none": {"identity": {"type": "none"}, "aws": {"region": "eu-west-1"}},
    "endpoints": {
        "identity": {"type": "secret", "secret": {"name": "keys"}},
        "aws": {
            "region": "eu-west-1",
            "endpointUrls": {"sqs": "http://elasticmq:9324", "dynamodb": "https://scylla.db.svc:8043/"},
        },
    },
    "service-account-existing": app(serviceAccount={"create": False, "name": "existing"}),
    "service-account-default": app(serviceAccount={"create": False}),
    "one-replica": app(replicaCount=1),
    "no-replica": app(replicaCount=0),
    "hpa-memory": app(
        autoscaling={
            "enabled": True,
            "targetCPUUtilizationPercentage": None,
            "targetMemoryUtilizationPercentage": 70,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        }
    ),
    "hpa-from-one": app(autoscaling={"enabled": True, "minReplicas": 1}),
    "keda-to-zero": {"apps": {"consumer": {"keda": {"enabled": True, "queueUrl": QUEUE_URL, "minReplicas": 0}}}},
    "keda-workload-identity": {
        "awsAccountId": ACCOUNT,
        "apps": {"consumer": {"keda": {"enabled": True, "queueUrl": QUEUE_URL, "identityOwner": "workload"}}},
    },
    "keda-url-from-env": {
        "aws": {"region": "eu-west-1"},
        "apps": {
            "consumer": {
                "keda": {"enabled": True, "queueUrlFromEnv": "QUEUE_URL"},
                "extraEnv": [{"name": "QUEUE_URL", "value": QUEUE_URL}],
            }
        },
    },
    "hpa-and-keda-side-by-side": {
        "apps": {
            "producer": {"autoscaling": {"enabled": True}},
            "consumer": {"keda": {"enabled": True, "queueUrl": QUEUE_URL}},
        }
    },
    "disruption-share": app(podDisruptionBudget={"maxUnavailable": "25%"}),
    "no-disruption-budget": app(podDisruptionBudget={"enabled": False}),
    "scheduling": {
        "global": {
            "nodeSelector": {"node-type": "applications"},
            "tolerations": [{"key": "applications", "operator": "Exists", "effect": "NoSchedule"}],
        },
        "appDefaults": {
            "nodeSelector": {"kubernetes.io/arch": "arm64"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "topologySpread": {"zone": "DoNotSchedule", "node": ""},
            "priorityClassName": "tenants",
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"a": "b"}},
                            },
                        }
                    ]
                }
            },
        },
    },
    "no-topology-spread": app(topologySpread={"zone": "", "node": ""}),
    "drain": app(drain={"preStopSleepSeconds": 30, "shutdownGraceSeconds": 60, "terminationGracePeriodSeconds": 120}),
    "drain-short": {
        "appDefaults": {"drain": {"preStopSleepSeconds": 0, "shutdownGraceSeconds": 10}},
        "apps": {"consumer": {"receiveWaitSeconds": 2}},
    },
    "settings": app(
        logLevel="info,producer=debug",
        logFormat="pretty",
        tenantRatePerSecond=50,
        otlpEndpoint="http://collector.observability.svc:4318",
        extraEnv=[{"name": "MAX_CONNECTIONS", "value": "512"}],
    ),
    "auth": {
        "auth": {
            "type": "jwt",
            "issuer": "https://issuer.example.com",
            "audiences": ["tenantry", "other"],
            "claim": "custom:tenant_id",
            "jwks": "https://issuer.example.com:8443/jwks.json",
            "leewaySeconds": 10,
        },
        "apps": {"consumer": {"tenantRoleArn": "arn:aws:iam::123456789012:role/reader-role-pool-1"}},
    },
    "auth-alb": {
        "auth": {
            "type": "jwt",
            "issuer": "https://issuer.example.com",
            "audiences": ["client"],
            "source": "alb",
            "albArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/tenants/0123456789abcdef",
        },
    },
    "labels-and-annotations": {
        "commonLabels": {"cost-center": "saas"},
        "appDefaults": {
            "podLabels": {"sidecar": "none"},
            "podAnnotations": {"example.com/note": "yes"},
            "service": {"annotations": {"example.com/note": "1"}},
            "serviceAccount": {"annotations": {"example.com/note": "on"}},
            "ingress": {"annotations": {"alb.ingress.kubernetes.io/healthcheck-interval-seconds": "30"}},
        },
    },
    "security-contexts": app(podSecurityContext={"fsGroup": 2000}, securityContext={"runAsUser": 10001}),
    "another-app": {
        "apps": {"invoices": {"enabled": True, "image": {"repository": "invoices"}, "ingress": {"enabled": True}}}
    },
    "alb-tuned": {
        "routing": {
            "hostnames": ["api.example.com", "*.example.com"],
            "alb": {
                "groupName": "",
                "scheme": "internal",
                "listenPorts": '[{"HTTPS": 443}]',
                "certificateArn": f"arn:aws:acm:eu-west-1:{ACCOUNT}:certificate/0",
                "annotations": {"alb.ingress.kubernetes.io/tags": "a=b"},
            },
        },
        "appDefaults": {"ingress": {"tls": [{"hosts": ["api.example.com"]}]}},
    },
    "gateway-tuned": {
        "routing": {
            "type": "gateway",
            "hostnames": ["api.example.com"],
            "gateway": {
                "parentRefs": [{"name": "public", "sectionName": "https"}, {"name": "internal", "port": 8443}],
                "timeouts": {"request": "", "backendRequest": ""},
                "annotations": {"example.com/note": "1"},
            },
        }
    },
    "traefik-tuned": {
        "routing": {
            "type": "traefik",
            "hostnames": ["api.example.com", "www.example.com"],
            "traefik": {
                "entryPoints": [],
                "tls": {"certResolver": "letsencrypt"},
                "middlewares": [{"name": "limits", "namespace": "traefik"}],
                "annotations": {"example.com/note": "1"},
            },
        }
    },
    "traefik-plain": {"routing": {"type": "traefik", "traefik": {"entryPoints": ["web"], "tls": {"enabled": False}}}},
    "no-tests": {"tests": {"enabled": False}},
    "tests-mirrored": {"global": {"imageRegistry": "harbor.example.com"}, "tests": {"image": {"registry": ""}}},
}

OPTIONS = [
    tier_case(f"premium-{name}", "premium", "tenant-1", POOL, options) for name, options in PREMIUM_OPTIONS.items()
]

CATCH_ALL: Values = {"routing": {"pool": {"catchAll": True}}}
NO_TENANT_ROUTES: Values = {"routing": {"pool": {"tenantRoutes": False}}}
OPTIONS += [
    tier_case(f"{tier}-{routing}-catch-all", tier, TIERS[tier], POOL, ROUTING[routing], options)
    for routing in ("alb", "gateway", "traefik")
    for tier, options in (("pool", CATCH_ALL), ("basic", NO_TENANT_ROUTES), ("advanced", NO_TENANT_ROUTES))
]
OPTIONS += [
    tier_case(f"{tier}-{name}", tier, TIERS[tier], POOL, options)
    for tier, (name, options) in product(
        ("advanced", "basic", "pool"),
        {"monitoring": MONITORING, "guards": GUARDS, "infra": {"infra": {"enabled": True}}}.items(),
    )
]

OPTIONS += [
    tier_case(f"{tier}-{routing}-suspended", tier, TIERS[tier], POOL, ROUTING[routing], SUSPENDED)
    for routing in ("alb", "gateway", "traefik")
    for tier in ("advanced", "basic")
]

LONG_NAMES = [
    tier_case(
        f"long-names-{tier}-{routing}",
        tier,
        LONG_TENANT,
        LONG_POOL,
        ROUTING[routing],
        {
            "metrics": MONITORING["metrics"],
            "infra": {"enabled": True},
            "apps": merge(
                tier_apps(tier, LONG_POOL, (LONG_APP,)), {LONG_APP: {"image": {"repository": "a"}}}, KEDA["apps"]
            ),
            **GUARDS,
        },
    )
    for tier, routing in product(TIERS, ROUTING)
]


# Values in HelmReleases of aws-samples/eks-saas-gitops, key by key: they must keep working

ORIGINAL_APP: Values = {
    "enabled": True,
    "imagePullSecrets": [],
    "replicaCount": 3,
    "image": {"repository": f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/app", "pullPolicy": "Always", "tag": "0.1"},
    "serviceAccount": {"create": True},
    "podAnnotations": {},
    "podSecurityContext": {},
    "securityContext": {},
    "service": {"type": "ClusterIP", "port": 80},
    "resources": {"limits": {"cpu": "100m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
    "autoscaling": {"enabled": False, "minReplicas": 1, "maxReplicas": 100, "targetCPUUtilizationPercentage": 80},
    "affinity": {},
    "envId": POOL,
    "ingress": {"enabled": True, "className": "alb", "pathType": "Prefix", "tls": []},
}
ORIGINAL_VALUES: Values = {
    "awsAccountId": ACCOUNT,
    "tenantId": "example-tenant",
    "global": {
        "nodeSelector": {"node-type": "applications"},
        "tolerations": [{"key": "applications", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "infra": {"tfVersion": "terraform-v0-0-1"},
    "apps": {"producer": ORIGINAL_APP, "consumer": ORIGINAL_APP},
}
"""Every key of that chart's values; there, a script writes them into the chart itself."""


def original_case(case_id: str, tenant: str, tier: str, namespace: str, apps: Values, *values: Values) -> Case:
    name = f"{tenant}-{tier}" if tier else tenant
    merged = merge(*values, {"tenantId": tenant, "apps": apps})
    return Case(f"original-{case_id}", TENANT_CHART, json.dumps(merged), name, namespace)


SILO: Values = {"enabled": True, "ingress": {"enabled": True}, "image": {"tag": "0.1"}}
POOLED: Values = {"envId": POOL, "enabled": False, "ingress": {"enabled": True}}
RUN_ONLY: Values = {"enabled": True, "ingress": {"enabled": False}, "image": {"tag": "0.1"}}
ORIGINALS = {
    f"{tier or 'pool'}{suffix}": original_case(f"{tier or 'pool'}{suffix}", tenant, tier, namespace, apps, *values)
    for suffix, values in {"": (), "-whole": (ORIGINAL_VALUES,)}.items()
    for tier, tenant, namespace, apps in (
        ("premium", "tenant-1", "tenant-1", {"producer": SILO, "consumer": SILO}),
        ("basic", "tenant-2", POOL, {"producer": POOLED, "consumer": POOLED}),
        ("advanced", "tenant-3", "tenant-3", {"producer": POOLED, "consumer": SILO}),
        ("", POOL, POOL, {"producer": RUN_ONLY, "consumer": RUN_ONLY}),
    )
}


# The chart's own examples


def ci_cases(chart: Path) -> list[Case]:
    cases = []
    for path in sorted((chart / "ci").glob("*-values.yaml")):
        values = yaml.safe_load(path.read_text())
        name = values.get("tenantId", "example")
        cases.append(Case(f"{chart.name}-{path.name}", chart, json.dumps(values), name, name))
    return cases


EXAMPLES = ci_cases(TENANT_CHART)
TENANT_CASES = [*MATRIX, *OPTIONS, *LONG_NAMES, *ORIGINALS.values(), *EXAMPLES]
APPLICATION_CASES = ci_cases(APPLICATION_CHART)
EVERYTHING = [*TENANT_CASES, *APPLICATION_CASES]
