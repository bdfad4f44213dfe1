"""The model of the Pod Security Standard refuses the fields that the standard refuses."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from pod_security import violations

SAFE: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "app", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
}

UNSAFE = {
    "hostNetwork": {"hostNetwork": True},
    "hostPID": {"hostPID": True},
    "hostIPC": {"hostIPC": True},
    "volume v: hostPath": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "sysctl kernel.msgmax": {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
    "pod: runAsUser 0": {"securityContext": {"runAsUser": 0}},
    "pod: seccompProfile": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "pod: appArmorProfile": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
    "pod: seLinuxOptions": {"securityContext": {"seLinuxOptions": {"type": "spc_t"}}},
    "pod: hostProcess": {"securityContext": {"windowsOptions": {"hostProcess": True}}},
}
UNSAFE_CONTAINER = {
    "privileged": {"securityContext": {"privileged": True}},
    "allowPrivilegeEscalation is not false": {"securityContext": {"allowPrivilegeEscalation": True}},
    "capabilities are not all dropped": {"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}},
    "capabilities are added": {"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}},
    "procMount": {"securityContext": {"procMount": "Unmasked"}},
    "runAsNonRoot is not true": {"securityContext": {"runAsNonRoot": False}},
    "runAsUser 0": {"securityContext": {"runAsUser": 0}},
    "seccompProfile is not RuntimeDefault": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "hostPort": {"ports": [{"containerPort": 80, "hostPort": 80}]},
    "a probe names a host": {"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}},
}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merges the maps of `change` into those of `base`."""
    result = deepcopy(base)
    for key, value in change.items():
        result[key] = merged(base.get(key, {}), value) if isinstance(value, dict) else value
    return result


def test_a_restricted_pod_passes() -> None:
    assert violations(SAFE) == []


def test_a_pod_without_a_security_context_is_refused() -> None:
    assert violations({"containers": [{"name": "app"}]})


@pytest.mark.parametrize("violation", UNSAFE)
def test_an_unsafe_pod_is_refused(violation: str) -> None:
    assert violation in violations(merged(SAFE, UNSAFE[violation]))


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize("violation", UNSAFE_CONTAINER)
def test_an_unsafe_container_is_refused(violation: str, field: str) -> None:
    pod = deepcopy(SAFE)
    pod[field] = [merged(SAFE["containers"][0], UNSAFE_CONTAINER[violation])]
    assert f"{field}[app]: {violation}" in violations(pod)
