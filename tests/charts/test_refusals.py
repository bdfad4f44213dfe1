"""Helm refuses invalid values, with a message that says what to do.

Each case is one mistake; the message must contain the given words.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from combinations import APPS, IDENTITIES, KEDA, POOL, QUEUE_URL, ROUTING, Case, Values, app, installed, merge, pooled
from engine import APPLICATION_CHART, ROOT, TENANT_CHART, RenderError

DNS_LABEL = "1 to 32 of a-z, 0-9 and -, beginning and ending with a letter or digit"


def producer(**values: Any) -> Values:
    return {"apps": {"producer": values}}


def consumer(**values: Any) -> Values:
    return {"apps": {"consumer": values}}


REFUSED: dict[str, tuple[Values, str]] = {
    # The tenant's name
    "no tenant": ({"tenantId": None}, "tenantId"),
    "empty tenant": ({"tenantId": ""}, DNS_LABEL),
    "upper case": ({"tenantId": "Tenant-1"}, DNS_LABEL),
    "33 characters": ({"tenantId": "a" * 33}, DNS_LABEL),
    "dash at the end": ({"tenantId": "tenant-"}, DNS_LABEL),
    "dash at the start": ({"tenantId": "-tenant"}, DNS_LABEL),
    "line feed at the end": ({"tenantId": "tenant-1\n"}, DNS_LABEL),
    "line feed inside": ({"tenantId": "tenant-1\nkind: Secret"}, DNS_LABEL),
    "wildcard of the load balancer": ({"tenantId": "tenant-*"}, DNS_LABEL),
    "dot": ({"tenantId": "tenant.1"}, DNS_LABEL),
    "other alphabet": ({"tenantId": "tenänt"}, DNS_LABEL),
    "number": ({"tenantId": 1234}, "a string; put it in quotes"),
    "reserved: default": ({"tenantId": "default"}, "this name is reserved"),
    "reserved: kube-system": ({"tenantId": "kube-system"}, "this name is reserved"),
    "reserved: flux-system": ({"tenantId": "flux-system"}, "this name is reserved"),
    "reserved: argo-": ({"tenantId": "argo-events"}, "this name is reserved"),
    "reserved: pool": ({"tenantId": "pool"}, "this name is reserved"),
    "a digit first": ({"tenantId": "1st"}, "its Service would be called 1st-"),
    "a digit first, of a pool's tenant": (
        {"tenantId": "1st", "apps": {a: pooled(POOL) for a in APPS}},
        "choose an id that begins with a letter",
    ),
    # Unknown keys and words
    "unknown key": ({"tenantID": "tenant-1"}, "additional properties 'tenantID' not allowed"),
    "unknown key of an app": (producer(replicas=2), "additional properties 'replicas' not allowed"),
    "unknown key of the defaults": (app(replicas=2), "additional properties 'replicas' not allowed"),
    "unknown key in a map": (producer(image={"name": "a"}), "additional properties 'name' not allowed"),
    "unknown key of routing": ({"routing": {"kind": "alb"}}, "additional properties 'kind' not allowed"),
    "unknown routing": ({"routing": {"type": "nginx"}}, "must be one of 'alb', 'gateway', 'traefik', 'none'"),
    "unknown identity": ({"identity": {"type": "iam"}}, "must be one of 'auto', 'podIdentity', 'irsa'"),
    "unknown tier": ({"tier": "gold"}, "must be one of '', 'basic', 'advanced', 'premium', 'pool'"),
    "name of an app": ({"apps": {"Invoices": {}}}, "1 to 19 lower-case letters and digits, beginning with a letter"),
    "long name of an app": ({"apps": {"a" * 20: {}}}, "1 to 19 lower-case letters and digits"),
    # Authentication
    "tokens without an issuer": ({"auth": {"type": "jwt"}}, "set auth.issuer"),
    "tokens without an audience": ({"auth": {"type": "jwt", "issuer": "i"}}, "set auth.audiences"),
    "tokens without keys": ({"auth": {"type": "jwt", "issuer": "i", "audiences": ["a"]}}, "set auth.jwks"),
    "tokens of an unnamed load balancer": (
        {"auth": {"type": "jwt", "issuer": "i", "audiences": ["a"], "source": "alb"}},
        "set auth.albArn",
    ),
    "tokens described but not required": ({"auth": {"issuer": "i"}}, "so services trust the TenantID header"),
    "keys over plain HTTP": ({"auth": {"jwks": "http://issuer.example.com/keys"}}, "an https URL"),
    "keys with a password": ({"auth": {"jwks": "https://u:p@issuer.example.com/keys"}}, "an https URL"),
    "a network load balancer": (
        {"auth": {"albArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/a/1"}},
        "the ARN of an application load balancer",
    ),
    "an audience with a comma": ({"auth": {"audiences": ["a,b"]}}, "without a comma"),
    "a leeway of an hour": ({"auth": {"leewaySeconds": 3600}}, "maximum: got 3,600, want 300"),
    "a tenant role that is no ARN": (consumer(tenantRoleArn="reader"), "the ARN of an IAM role"),
    # Types
    "replicas below zero": (producer(replicaCount=-1), "minimum: got -1, want 0"),
    "half a replica": (producer(replicaCount=1.5), "got number, want integer"),
    "replicas as text": (producer(replicaCount="3"), "got string, want integer"),
    "a tag that is a number": (producer(image={"tag": 0.1}), "a string; put it in quotes"),
    "a digest cut short": (producer(image={"digest": "sha256:0123"}), "sha256: and 64 hexadecimal digits"),
    "pull policy": (producer(image={"pullPolicy": "always"}), "must be one of 'Always', 'IfNotPresent', 'Never'"),
    "an account that YAML read as octal": ({"awsAccountId": 0o012345671234}, "a string; put it in quotes"),
    "an account of eleven digits": ({"awsAccountId": "12345678901"}, "the twelve digits of an AWS account, in quotes"),
    "a role that is no ARN": (producer(serviceAccount={"roleArn": "role/a"}), "the ARN of an IAM role"),
    "an endpoint without scheme": ({"aws": {"endpointUrl": "localaws:4566"}}, "a URL with scheme and host"),
    "a region with a space": ({"aws": {"region": "eu west 1"}}, "a region such as eu-west-1"),
    "a host name in upper case": ({"routing": {"hostnames": ["API.example.com"]}}, "a host name in lower case"),
    "a duration in words": (
        {"routing": {"gateway": {"timeouts": {"request": "10 seconds"}}}},
        "a duration of Gateway API such as 10s",
    ),
    "instance metadata": (
        {"networkPolicy": {"egressCidrs": ["169.254.169.254/32"]}},
        "pods must not reach instance metadata",
    ),
    "a budget of zero": (producer(podDisruptionBudget={"maxUnavailable": 0}), "with 0 no node could be drained"),
    # Rules across keys
    "served by no pool": (
        producer(enabled=False, ingress={"enabled": True}),
        "the pool that serves this app, for example pool-1",
    ),
    "served by no pool, route by default": (
        {**app(ingress={"enabled": True}), "apps": {"payments": {"enabled": False, "ingress": {"enabled": True}}}},
        "pool-1",
    ),
    "served by itself": (
        {"tenantId": POOL, **producer(**pooled(POOL))},
        "set apps.producer.enabled to true to run the app here",
    ),
    "served by another tenant": (producer(**pooled("tenant-2")), "only a pool serves other tenants"),
    "both autoscalers": (
        merge(KEDA, consumer(autoscaling={"enabled": True})),
        "false while autoscaling.enabled is true, because KEDA makes its own HorizontalPodAutoscaler",
    ),
    "both autoscalers, one by default": (
        merge(KEDA, app(autoscaling={"enabled": True})),
        "apps.consumer: autoscaling.enabled and keda.enabled are both true",
    ),
    "minimum above maximum": (
        producer(autoscaling={"enabled": True, "minReplicas": 5, "maxReplicas": 3}),
        "minReplicas (5) is above maxReplicas (3)",
    ),
    "autoscaling without a target": (
        producer(autoscaling={"enabled": True, "targetCPUUtilizationPercentage": None}),
        "apps.producer.autoscaling.enabled is true without a target",
    ),
    "KEDA without a queue": (consumer(keda={"enabled": True}), "set either queueUrl"),
    "KEDA with two queues": (
        consumer(keda={"enabled": True, "queueUrl": QUEUE_URL, "queueUrlFromEnv": "QUEUE_URL"}),
        "set either queueUrl",
    ),
    "KEDA without a region": (
        consumer(keda={"enabled": True, "queueUrl": "http://elasticmq:9324/000000000000/queue"}),
        "set aws.region",
    ),
    "KEDA as a workload without a role": (
        merge(KEDA, consumer(keda={"identityOwner": "workload"})),
        "set identity.type to irsa, or identityOwner to keda",
    ),
    "IRSA without an account": (
        {"identity": {"type": "irsa"}},
        "set awsAccountId, or apps.consumer.serviceAccount.roleArn",
    ),
    "a Secret without a name": (
        {"identity": {"type": "secret"}, "aws": {"region": "eu-west-1"}},
        "set identity.secret.name to a Secret",
    ),
    "a Secret without a region": (
        {"identity": {"type": "secret", "secret": {"name": "keys"}}},
        "set aws.region, for example us-east-1",
    ),
    "no identity, no region": ({"identity": {"type": "none"}}, "set aws.region, for example us-east-1"),
    "a gateway without a Gateway": ({"routing": {"type": "gateway"}}, "set routing.gateway.parentRefs"),
    "an attempt longer than its request": (
        merge(ROUTING["gateway"], {"routing": {"gateway": {"timeouts": {"request": "10s", "backendRequest": "1m"}}}}),
        "backendRequest (1m) is above request (10s)",
    ),
    "two certificates": (
        {"routing": {"type": "traefik", "traefik": {"tls": {"secretName": "a", "certResolver": "b"}}}},
        "secretName and certResolver are both set: leave one empty",
    ),
    "a catch-all route of a tenant": (
        {"routing": {"pool": {"catchAll": True}}},
        "only a pool (pool-…) may serve other tenants' requests",
    ),
    "killed before it has drained": (
        app(drain={"preStopSleepSeconds": 10, "shutdownGraceSeconds": 25, "terminationGracePeriodSeconds": 35}),
        "the kubelet would kill the pod before it has drained: set at least 36",
    ),
    "a drain shorter than a poll": (
        app(drain={"shutdownGraceSeconds": 20}),
        "may answer 5 seconds late: set at least 25",
    ),
    "a container variable that the chart sets": (
        producer(extraEnv=[{"name": "ENVIRONMENT", "value": "tenant-2"}]),
        "sets ENVIRONMENT, which the chart sets itself",
    ),
    "both monitors": (
        {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "every metric would count twice: set one to false",
    ),
    "a Terraform variable that the chart sets": (
        {"infra": {"enabled": True, "vars": {"tenant_id": "tenant-2"}}},
        "infra.vars.tenant_id is a variable that the chart sets",
    ),
    "a Terraform switch that the chart sets": (
        {"infra": {"enabled": True, "vars": {"enable_producer": False}}},
        "infra.vars.enable_producer is a variable that the chart sets",
    ),
    "a Terraform variable that follows from other values": (
        {"infra": {"enabled": True, "vars": {"delete_data": True}}},
        "infra.vars.delete_data is a variable that the chart sets",
    ),
    "a Terraform variable with a dot": (
        {"infra": {"enabled": True, "vars": {"a.b": "c"}}},
        "letters, digits, _ and -, beginning with a letter or _",
    ),
    "data of an unknown app": (
        {"infra": {"enabled": True, "retain": ["consumer", "invoices"]}},
        'infra.retain names "invoices", which is not an app of this release: choose from consumer, payments, producer',
    ),
    "a suspended pool": ({"tenantId": "pool-1", "suspended": True}, "suspend each of its tenants instead"),
}

APPLICATION: Values = {"image": {"repository": "onboarding-service", "tag": "0.1"}}
REFUSED_BY_THE_APPLICATION_CHART: dict[str, tuple[Values, str]] = {
    "unknown key": ({"replicas": 1}, "additional properties 'replicas' not allowed"),
    "replicas below zero": ({"replicaCount": -1}, "minimum: got -1, want 0"),
    "a tag that is a number": ({"image": {"tag": 0.1}}, "put it in quotes"),
    "no image": ({"image": {"repository": ""}}, "image"),
    "minimum above maximum": (
        {"autoscaling": {"enabled": True, "minReplicas": 11}},
        "minReplicas (11) is above maxReplicas (10)",
    ),
    "a route without a Gateway": ({"httpRoute": {"enabled": True}}, "set httpRoute.parentRefs"),
    "an Ingress without a host": ({"ingress": {"enabled": True, "hosts": []}}, "set ingress.hosts, for example"),
    "both monitors": (
        {"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "every metric would count twice: set one to false",
    ),
    "killed before SIGTERM": (
        {"drain": {"preStopSleepSeconds": 30, "terminationGracePeriodSeconds": 30}},
        "the kubelet would kill the app before it gets SIGTERM",
    ),
}


def refusal(case: Case) -> str:
    with pytest.raises(RenderError) as refused:
        installed(case)
    return re.sub(r"\s+", " ", str(refused.value))


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_tenant_chart_refuses(mistake: str) -> None:
    values, words = REFUSED[mistake]
    message = refusal(tenant(values))
    assert words in message
    assert len(message) < 600, "the message is too long to read"


@pytest.mark.parametrize("mistake", REFUSED_BY_THE_APPLICATION_CHART)
def test_the_application_chart_refuses(mistake: str) -> None:
    values, words = REFUSED_BY_THE_APPLICATION_CHART[mistake]
    case = Case("", APPLICATION_CHART, json.dumps(merge(APPLICATION, values)), "onboarding", "onboarding")
    assert words in refusal(case)


def tenant(values: Values) -> Case:
    return Case("", TENANT_CHART, json.dumps(merge({"tenantId": "tenant-1"}, values)), "tenant-1-premium", "tenant-1")


def test_without_the_mistake_the_values_are_accepted() -> None:
    """Otherwise Helm could refuse the cases above for another reason."""
    installed(tenant({}))
    installed(tenant(merge(KEDA, IDENTITIES["secret"], ROUTING["gateway"])))
    installed(tenant({"tenantId": "a" * 32}))
    installed(tenant({"tenantId": "pool-a"}))
    # An offboarded tenant has no Service, so an old id that begins with a digit can still be offboarded.
    off = {"enabled": False, "ingress": {"enabled": False}}
    installed(tenant({"tenantId": "1st", "apps": dict.fromkeys(APPS, off)}))
    installed(Case("", APPLICATION_CHART, json.dumps(APPLICATION), "onboarding", "onboarding"))


def test_the_rest_of_global_is_left_to_other_charts() -> None:
    installed(tenant({"global": {"anotherChart": {"key": 1}}}))


def reserved_by_the_services() -> list[str]:
    """The names that the services refuse as a tenant id; a reserved prefix becomes a name that begins with it."""
    (source,) = (text for path in (ROOT / "shared").rglob("*.rs") if "const RESERVED" in (text := path.read_text()))
    exact, prefixes = re.findall(r"const RESERVED\w*: [^=]*=\s*\[(.*?)\]", source, re.DOTALL)
    names = [*re.findall(r'"([^"]+)"', exact), *(f"{prefix}x" for prefix in re.findall(r'"([^"]+)"', prefixes))]
    assert len(names) > 10
    return [name for name in names if name != "pool-x"]  # this chart installs pools, too


@pytest.mark.parametrize("name", reserved_by_the_services())
def test_the_chart_refuses_a_name_that_the_services_refuse(name: str) -> None:
    assert "this name is reserved" in refusal(tenant({"tenantId": name}))
