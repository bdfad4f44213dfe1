"""The rules of the tree. Each rule takes a repository and yields one message per violation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from manifests import Manifest, ManifestError, StrictLoader, walk
from repository import (
    CLUSTERS,
    KUSTOMIZATION,
    POOLS,
    SUBSTITUTION,
    TEMPLATES,
    TENANTS,
    TIERS,
    Applied,
    BuildError,
    Repository,
    full_id,
)

Rule = Callable[[Repository], Iterator[str]]
RULES: dict[str, Rule] = {}

TEMPLATE_ID = "tenant-template"
LIST_KEYS = {"apiVersion", "kind", "patches", "resources"}
EXACT = re.compile(r"v?\d+\.\d+\.\d+")
RELEASE = re.compile(r"\d+\.\d+\.(x|\d+)")
"""Version of a tenant's chart: exact, or all patch levels of a minor version, as `tenantctl deploy` writes it."""
BOOTSTRAPPED = {("ServiceAccount", "flux-system", f"{name}-controller") for name in ("kustomize", "helm")}
"""Accounts that `flux bootstrap` makes."""
DURATIONS = {"interval", "retryInterval", "timeout"}
DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+")
MARKER = re.compile(r'"\$imagepolicy": "([^":]+):([^":]+)(?::(tag|name))?"')


def rule(check: Rule) -> Rule:
    RULES[check.__name__] = check
    return check


@rule
def every_file_parses(repository: Repository) -> Iterator[str]:
    for path in repository.files():
        try:
            if path.name == KUSTOMIZATION:
                repository.kustomization(path.parent)
                continue
            for document in repository.documents(path):
                for key, text in document.get("data", {}).items():
                    if key.endswith(".yaml"):
                        empty = [at for at, value in walk(yaml.load(text, StrictLoader)) if value is None]
                        yield from (f"{path}: {at} of {key} is null" for at in empty)
        except (ManifestError, yaml.YAMLError, UnicodeDecodeError) as error:
            yield f"{path}: {error}"


@rule
def every_list_is_complete(repository: Repository) -> Iterator[str]:
    """A kustomization lists every file of its folder once, and no other. Templates are in no list."""
    for folder in repository.kustomizations():
        kustomization = repository.kustomization(folder)
        entries = kustomization.get("resources", [])
        yield from (f"{folder}: unknown key {key}" for key in kustomization.keys() - LIST_KEYS)
        yield from (f"{folder}: {entry} is listed twice" for entry, n in Counter(entries).items() if n > 1)
        for entry in entries:
            target = repository.root / folder / entry
            if not (target.is_file() or (target / KUSTOMIZATION).is_file()):
                yield f"{folder}: {entry} is listed but does not exist"
        here = {p.name for p in (repository.root / folder).glob("*.y*ml")} - {KUSTOMIZATION}
        yield from (f"{folder}: {name} is not listed" for name in sorted(here - set(entries)))
        if folder.is_relative_to(TENANTS) and entries != sorted(entries):
            yield f"{folder}: the list is not sorted"
    homes = {*repository.kustomizations(), TEMPLATES}
    yield from (f"{path}: its folder has no kustomization" for path in repository.files() if path.parent not in homes)


@rule
def every_kustomization_builds(repository: Repository) -> Iterator[str]:
    for folder in repository.kustomizations():
        try:
            repository.build(folder)
        except BuildError as error:
            yield f"{folder}: {error}"


@rule
def everything_is_used(repository: Repository) -> Iterator[str]:
    """A cluster, or a one-line choice (a component, an overlay), uses each kustomization."""
    reached = {Path("clusters") / cluster for cluster in CLUSTERS}
    paths = {Path(a.spec["path"]) for cluster in CLUSTERS for a in repository.applied(cluster)}
    todo = [*reached, *paths, *(f for f in repository.kustomizations() if "overlays" in f.parts)]
    reached = set()
    while todo:
        folder = todo.pop()
        if folder in reached:
            continue
        reached.add(folder)
        for entry in repository.kustomization(folder).get("resources", []):
            target = (repository.root / folder / entry).resolve()
            if target.is_dir():
                todo.append(target.relative_to(repository.root.resolve()))
    unused = sorted(set(repository.kustomizations()) - reached)
    yield from (f"{folder}: no cluster and no overlay uses this folder" for folder in unused)


@rule
def every_setting_is_defined_and_used(repository: Repository) -> Iterator[str]:
    for cluster in CLUSTERS:
        settings, used = repository.settings(cluster), set()
        for applied in repository.applied(cluster):
            names = set(SUBSTITUTION.findall(repository.build(Path(applied.spec["path"]))))
            if "postBuild" not in applied.spec:
                yield from (f"{cluster}: ${{{name}}} in {applied.name} is not replaced" for name in sorted(names))
            used |= names
        yield from (f"{cluster}: setting {name} is missing" for name in sorted(used - settings.keys()))
        yield from (f"{cluster}: setting {name} is not used" for name in sorted(settings.keys() - used))


@rule
def every_reference_resolves(repository: Repository) -> Iterator[str]:
    for cluster in CLUSTERS:
        applied = repository.applied(cluster)
        objects = [o for a in applied for o in a.objects]
        there = {full_id(o) for o in objects} | BOOTSTRAPPED
        repeated = [i for i, n in Counter(map(full_id, objects)).items() if n > 1]
        yield from (f"{cluster}: {'/'.join(i)} is applied twice" for i in repeated)
        namespaces = {name for kind, _, name in there if kind == "Namespace"} | {"flux-system", "kube-system"}
        for o in objects:
            namespace = o["metadata"].get("namespace", "")
            if namespace and namespace not in namespaces:
                yield f"{cluster}: {'/'.join(full_id(o))}: Namespace {namespace} does not exist"
            for target in references(o):
                if target not in there:
                    yield f"{cluster}: {'/'.join(full_id(o))} refers to {'/'.join(target)}, which does not exist"


def references(o: Manifest) -> Iterator[tuple[str, str, str]]:
    """Yields the objects that an object needs in the cluster: kind, namespace, name."""
    spec, home = o.get("spec", {}), o["metadata"].get("namespace", "")
    group = o["apiVersion"].partition("/")[0]
    if group.endswith("toolkit.fluxcd.io"):
        for dependency in spec.get("dependsOn", []):
            yield o["kind"], dependency.get("namespace", home), dependency["name"]
        chart = spec.get("chart", {}).get("spec", {})
        for source in (spec.get("sourceRef"), chart.get("sourceRef")):
            if source:
                yield source["kind"], source.get("namespace", home), source["name"]
        if "serviceAccountName" in spec:
            yield "ServiceAccount", home, spec["serviceAccountName"]
        for source in [*spec.get("valuesFrom", []), *spec.get("postBuild", {}).get("substituteFrom", [])]:
            yield source["kind"], home, source["name"]
        if "imageRepositoryRef" in spec:
            yield "ImageRepository", home, spec["imageRepositoryRef"]["name"]
    if "roleRef" in o:
        yield o["roleRef"]["kind"], home if o["roleRef"]["kind"] == "Role" else "", o["roleRef"]["name"]
        yield from ((s["kind"], s["namespace"], s["name"]) for s in o["subjects"])
    if o["kind"] == "ValidatingAdmissionPolicyBinding":
        yield "ValidatingAdmissionPolicy", "", spec["policyName"]
    for path, value in walk(o):
        key = path.rpartition(".")[2]
        if key == "workflowTemplateRef":
            yield "WorkflowTemplate", home, value["name"]
        elif key == "configMapRef":
            yield "ConfigMap", home, value["name"]
        elif key == "eventSourceName":
            yield "EventSource", home, value
        elif key == "nodeClassRef" or key == "secretStoreRef":
            yield value["kind"], "", value["name"]
        elif key == "serviceAccountName" and group in ("apps", "argoproj.io"):
            yield "ServiceAccount", home, value


@rule
def everything_holds_with_flux_locked_down(repository: Repository) -> Iterator[str]:
    """With Flux's lock-down, an object has an account of its own and uses objects of its own namespace."""
    for cluster in CLUSTERS:
        root = Path("clusters") / cluster / "flux-system"
        yield from (f"{root}: {message}" for message in unlocked(repository.kustomization(root).get("patches", [])))
        for o in repository.objects(cluster):
            if not o["apiVersion"].partition("/")[0].endswith("toolkit.fluxcd.io"):
                continue
            name, home = "/".join(full_id(o)), o["metadata"]["namespace"]
            if o["kind"] in ("HelmRelease", "Kustomization") and "serviceAccountName" not in o["spec"]:
                yield f"{cluster}: {name} has no serviceAccountName, so Flux gives it the rights of the account default"
            for path, value in walk({k: v for k, v in o["spec"].items() if k != "values"}):
                if re.search(r"(Ref|dependsOn\[\d+\])\.namespace$", path) and value != home:
                    yield f"{cluster}: {name}: {path} is {value}, and Flux refuses other namespaces than {home}"


@rule
def nothing_is_loaded_from_outside(repository: Repository) -> Iterator[str]:
    for folder in repository.kustomizations():
        for entry in repository.kustomization(folder).get("resources", []):
            if "://" in entry or entry.startswith(("git@", "github.com/")):
                yield f"{folder}: {entry} is remote, and Flux refuses that"


LOCKS = {
    "--no-cross-namespace-refs=true": ("kustomize", "helm", "notification", "image-reflector", "image-automation"),
    "--default-service-account=default": ("kustomize", "helm"),
    "--no-remote-bases=true": ("kustomize",),
}
"""Flux's lock-down flags for several tenants, and the controllers that have them."""


def unlocked(patches: list[Manifest]) -> Iterator[str]:
    """The flags that a cluster's patches of Flux's controllers lack."""
    for flag, controllers in LOCKS.items():
        for controller in controllers:
            targets = [p["target"] for p in patches if f"value: {flag}\n" in p["patch"]]
            name = f"{controller}-controller"
            if not any(t["kind"] == "Deployment" and re.fullmatch(t["name"], name) for t in targets):
                yield f"{name} lacks {flag}"


@rule
def kustomizations_are_ordered(repository: Repository) -> Iterator[str]:
    """sources → infrastructure → pooled-envs → tenants, without a cycle."""
    for cluster in CLUSTERS:
        after = {a.name: {d["name"] for d in a.spec.get("dependsOn", [])} for a in repository.applied(cluster)}
        chain = ("sources", "infrastructure", "pooled-envs", "tenants")
        for first, then in zip(chain, chain[1:], strict=False):
            if then not in after or first not in after[then]:
                yield f"{cluster}: {then} does not wait for {first}"
        todo = dict(after)
        while ready := [name for name, needs in todo.items() if not needs & todo.keys()]:
            for name in ready:
                del todo[name]
        yield from (f"{cluster}: {name} waits for itself" for name in todo)


@rule
def a_new_cluster_can_begin(repository: Repository) -> Iterator[str]:
    """Flux applies a cluster's own folder at once: no namespace in it may come from a child Kustomization."""
    for cluster in CLUSTERS:
        root = repository.applied(cluster)[0].objects
        there = {o["metadata"]["name"] for o in root if o["kind"] == "Namespace"} | {"flux-system"}
        for o in root:
            if (namespace := o["metadata"].get("namespace", "flux-system")) not in there:
                yield f"{cluster}: {'/'.join(full_id(o))}: Namespace {namespace} is made too late"


@rule
def a_component_delays_no_tenant(repository: Repository) -> Iterator[str]:
    """Tenants and pools wait for their dependencies on a new cluster, not for their health afterwards."""
    for cluster in CLUSTERS:
        for applied in repository.applied(cluster)[1:]:
            if applied.name in ("pooled-envs", "tenants"):
                for dependency in applied.spec.get("dependsOn", []):
                    if dependency.get("readyExpr") != "has(dep.status.lastAppliedRevision)":
                        yield f"{cluster}: {applied.name} waits for the health of {dependency['name']}"


@rule
def flux_waits_prunes_and_times_out(repository: Repository) -> Iterator[str]:
    for cluster in CLUSTERS:
        for applied in repository.applied(cluster)[1:]:
            spec = applied.spec
            if missing := {"interval", "retryInterval", "timeout", "prune", "wait"} - spec.keys():
                yield f"{cluster}: {applied.name} lacks {', '.join(sorted(missing))}"
            if spec.get("prune") is not True:
                yield f"{cluster}: {applied.name} does not remove objects that are no longer listed: set prune"
            if spec.get("wait") is not (applied.name != "tenants"):
                yield f"{cluster}: {applied.name}: wait must be true, and false for tenants"
        for release in releases(repository, cluster):
            if {"install", "interval", "timeout", "upgrade"} - release["spec"].keys():
                yield f"{cluster}: {release['metadata']['name']} lacks install, upgrade, interval or timeout"


@rule
def what_waits_for_a_charts_kinds_retries_soon(repository: Repository) -> Iterator[str]:
    """No event tells Flux that a kind is there: on a new cluster every tier waits for the next attempt."""
    for cluster in CLUSTERS:
        for applied in repository.applied(cluster)[1:]:
            if (
                applied.spec["path"].startswith("./infrastructure/components/")
                and applied.spec["retryInterval"] != "5s"
            ):
                yield f"{cluster}: {applied.name} retries after {applied.spec['retryInterval']}: set 5s"


@rule
def every_version_is_pinned(repository: Repository) -> Iterator[str]:
    """A version is exact. Our own chart may follow a minor version, as `tenantctl deploy` writes it."""
    for cluster in CLUSTERS:
        for o in repository.objects(cluster):
            name = "/".join(full_id(o))
            spec = o.get("spec", {})
            if o["kind"] == "HelmRelease":
                chart = spec["chart"]["spec"]
                allowed = RELEASE if chart["chart"] == "helm-tenant-chart" else EXACT
                if not allowed.fullmatch(str(chart.get("version", ""))):
                    yield f"{name}: chart version {chart.get('version')} is not exact"
            elif o["kind"] in ("GitRepository", "OCIRepository") and full_id(o)[1:] != ("flux-system", "flux-system"):
                ref = spec.get("ref", {})
                if not ref.keys() & {"commit", "digest", "tag"} or ref.get("tag") == "latest":
                    yield f"{name}: follows {ref or 'the default branch'}"
            elif o["kind"] == "EC2NodeClass":
                aliases = [term.get("alias", "") for term in spec["amiSelectorTerms"]]
                yield from (f"{name}: machine image {a} is not pinned" for a in aliases if a.endswith("@latest"))
            for path, value in walk(o):
                if path.rpartition(".")[2] == "image" and isinstance(value, str) and o["kind"] != "ImageRepository":
                    tag = value.rpartition("/")[2].partition(":")[2]
                    if not tag or tag == "latest":
                        yield f"{name}: image {value} names no version"


@rule
def durations_are_valid(repository: Repository) -> Iterator[str]:
    """Applies the duration patterns of Flux's kinds, which its Go types, and so the schemas, lack."""
    for cluster in CLUSTERS:
        for o in repository.objects(cluster):
            if not o["apiVersion"].partition("/")[0].endswith("toolkit.fluxcd.io"):
                continue
            for path, value in walk({k: v for k, v in o["spec"].items() if k != "values"}):
                if path.rpartition(".")[2] in DURATIONS and not DURATION.fullmatch(str(value)):
                    yield f"{'/'.join(full_id(o))}: {path} is {value}, which is not a duration such as 1m30s"


@rule
def current_apis_only(repository: Repository) -> Iterator[str]:
    for cluster in CLUSTERS:
        for o in repository.objects(cluster):
            group, _, version = o["apiVersion"].partition("/")
            expected = {"helm.toolkit.fluxcd.io": "v2"}.get(group, "v1")
            if group.endswith(".toolkit.fluxcd.io") and version != expected:
                yield f"{'/'.join(full_id(o))}: apiVersion is {o['apiVersion']}, not {expected}"


@rule
def one_writer_of_image_tags(repository: Repository) -> Iterator[str]:
    for cluster in CLUSTERS:
        objects = repository.objects(cluster)
        writers = [o for o in objects if o["kind"] == "ImageUpdateAutomation"]
        if [w["spec"]["update"]["path"] for w in writers] != ["./application-plane"]:
            yield f"{cluster}: {len(writers)} writers of image tags; one must write to ./application-plane alone"
        policies = {
            f"{o['metadata']['namespace']}:{o['metadata']['name']}" for o in objects if o["kind"] == "ImagePolicy"
        }
        for path in repository.files():
            for line in repository.text(path).splitlines():
                if not (match := MARKER.search(line)):
                    continue
                if f"{match[1]}:{match[2]}" not in policies or not path.is_relative_to("application-plane"):
                    yield f"{path}: {match[0]} names no policy, or is outside application-plane"
                elif match[3] != "tag" or not line.strip().startswith("tag: "):
                    yield f"{path}: {match[0]} is not beside a tag"


@rule
def tenants_agree_with_their_files(repository: Repository) -> Iterator[str]:
    """Id, file, labels and values agree; the release never moves; the tier is the folder's."""
    pools = {p.stem for p in (repository.root / POOLS).glob("pool-*.yaml")}
    for path, tier in tenant_files(repository):
        documents = repository.documents(path)
        found = [d for d in documents if d["kind"] == "HelmRelease"]
        if len(found) != 1:
            yield f"{path}: {len(found)} HelmReleases"
            continue
        release = found[0]
        spec, values = release["spec"], release["spec"]["values"]
        ids = {
            "metadata.name": release["metadata"]["name"],
            "releaseName": spec.get("releaseName"),
            "values.tenantId": values.get("tenantId"),
            "label tenantry.dev/tenant": release["metadata"]["labels"].get("tenantry.dev/tenant"),
        }
        wanted = TEMPLATE_ID if path.is_relative_to(TEMPLATES) else path.stem
        yield from (f"{path}: {key} is {value}, not {wanted}" for key, value in ids.items() if value != wanted)
        homes = {release["metadata"]["namespace"], spec.get("targetNamespace"), spec.get("storageNamespace")}
        if homes != {"flux-tenants"}:
            yield f"{path}: namespace, targetNamespace and storageNamespace are {homes}, not flux-tenants"
        if spec.get("serviceAccountName") != "tenant-reconciler":
            yield f"{path}: serviceAccountName is {spec.get('serviceAccountName')}, not tenant-reconciler"
        if tier and {release["metadata"]["labels"].get("tenantry.dev/tier"), values.get("tier")} != {tier}:
            yield f"{path}: the tier is not {tier}"
        served = {a["envId"] for a in values["apps"].values() if "envId" in a}
        waits = {d["name"] for d in spec.get("dependsOn", [])}
        if served != waits or not served <= pools:
            yield f"{path}: envId names {served}, dependsOn names {waits}; the pools are {pools}"
        here = any(a["enabled"] for a in values["apps"].values())
        own = [d["metadata"]["name"] for d in documents if d["kind"] == "Namespace"]
        if own != ([wanted] if here else []):
            yield f"{path}: makes the namespaces {own}"
    tenants = Counter(path.stem for path, _ in tenant_files(repository) if not path.is_relative_to(TEMPLATES))
    yield from (f"{tenant} is in two tiers" for tenant, n in tenants.items() if n > 1)


def tenant_files(repository: Repository) -> Iterator[tuple[Path, str]]:
    """Yields pools, templates and tenants with their folder's tier; empty if the folder has no tier."""
    for path in repository.files():
        if path.name == KUSTOMIZATION:
            continue
        if path.parent == POOLS:
            yield path, "pool"
        elif path.parent == TEMPLATES:
            yield path, path.stem.partition("_")[0]
        elif path.parent.parent == TENANTS:
            yield path, path.parent.name if path.parent.name in TIERS else ""


@rule
def no_secret_has_content(repository: Repository) -> Iterator[str]:
    for path in repository.files():
        if path.name == KUSTOMIZATION:
            continue
        for o in repository.documents(path):
            if o["kind"] == "Secret" and o.keys() & {"data", "stringData"}:
                yield f"{path}: Secret {o['metadata']['name']} has content; remove it from the repository"


def releases(repository: Repository, cluster: str) -> list[Manifest]:
    return [o for o in repository.objects(cluster) if o["kind"] == "HelmRelease"]


def tenant_releases(repository: Repository, cluster: str) -> list[Manifest]:
    return [r for r in releases(repository, cluster) if r["metadata"]["namespace"] == "flux-tenants"]


def applied_named(repository: Repository, cluster: str, name: str) -> Applied:
    (found,) = (a for a in repository.applied(cluster) if a.name == name)
    return found


def cluster_values(repository: Repository, cluster: str) -> dict[str, Any]:
    found = [o for o in applied_named(repository, cluster, "tenancy").objects if full_id(o)[2] == "cluster-values"]
    return yaml.load(found[0]["data"]["values.yaml"], StrictLoader)
