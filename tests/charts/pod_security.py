"""The `restricted` profile of the Pod Security Standards, from the standard's page.

`restricted` includes `baseline`, so both are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(pod: dict[str, Any]) -> list[str]:
    """Lists the fields of this pod spec that the `restricted` profile refuses."""
    return [*pod_violations(pod), *(v for name, c in containers(pod) for v in container_violations(pod, name, c))]


def containers(pod: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(field, []):
            yield f"{field}[{container['name']}]", container


def pod_violations(pod: dict[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - VOLUMES - {"name"}:
            yield f"volume {volume['name']}: {kind}"
    context = pod.get("securityContext", {})
    yield from context_violations("pod", context)
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"


def container_violations(pod: dict[str, Any], name: str, container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    yield from context_violations(name, context)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities are not all dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities are added"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    inherited = pod.get("securityContext", {})
    if context.get("runAsNonRoot", inherited.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    seccomp = context.get("seccompProfile", inherited.get("seccompProfile", {}))
    if seccomp.get("type") not in SECCOMP:
        yield f"{name}: seccompProfile is not RuntimeDefault"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name}: hostPort"
    for handler in handlers(container):
        if handler.get("httpGet", {}).get("host") or handler.get("tcpSocket", {}).get("host"):
            yield f"{name}: a probe names a host"


def handlers(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (container[field] for field in ("startupProbe", "livenessProbe", "readinessProbe") if field in container)
    yield from container.get("lifecycle", {}).values()


def context_violations(name: str, context: dict[str, Any]) -> Iterator[str]:
    """Checks the fields that pod and container security contexts share."""
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser 0"
    if context.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot is false"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name}: seccompProfile"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{name}: appArmorProfile"
    options = context.get("seLinuxOptions", {})
    if options.get("type", "") not in SELINUX_TYPES or options.get("user") or options.get("role"):
        yield f"{name}: seLinuxOptions"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{name}: hostProcess"
