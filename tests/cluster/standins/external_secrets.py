"""Stands in for External Secrets Operator: copies Secrets as its ClusterExternalSecrets say.

    external_secrets.py

For each namespace a ClusterExternalSecret selects, it makes an ExternalSecret and the Secret it asks for, from the
store's namespace, within a second of the namespace. It does not do: other providers than `kubernetes`, the store's
account (it reads as administrator), templates beyond the type, `data` (only `dataFrom.extract`), webhooks, metrics.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from api import Api, ApiError, Object

GROUP = "external-secrets.io"
POLL_SECONDS = 0.5


def selects(selector: Object, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        is_there = rule["key"] in labels
        holds = {
            "Exists": is_there,
            "DoesNotExist": not is_there,
            "In": is_there and labels.get(rule["key"]) in rule.get("values", []),
            "NotIn": labels.get(rule["key"]) not in rule.get("values", []),
        }[rule["operator"]]
        if not holds:
            return False
    return True


def ready(manifest: Object, message: str) -> Object:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "StandIn", "message": message, "lastTransitionTime": now},
            ]
        }
    }


def is_ready(manifest: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in manifest.get("status", {}).get("conditions", []))


def reconcile(api: Api) -> None:
    stores = {s["metadata"]["name"]: s for s in api.list(f"clustersecretstores.{GROUP}")}
    for store in stores.values():
        if not is_ready(store):
            api.patch(
                f"clustersecretstores.{GROUP}",
                store["metadata"]["name"],
                None,
                ready(store, "store validated"),
                "status",
            )
    namespaces = [n for n in api.list("namespaces") if not n["metadata"].get("deletionTimestamp")]
    for wanted in api.list(f"clusterexternalsecrets.{GROUP}"):
        spec = wanted["spec"]
        store = stores.get(spec["externalSecretSpec"]["secretStoreRef"]["name"])
        if not store:
            continue
        conditions = [c["namespaceSelector"] for c in store["spec"].get("conditions", []) if "namespaceSelector" in c]
        source = store["spec"]["provider"]["kubernetes"]["remoteNamespace"]
        for namespace in namespaces:
            labels = namespace["metadata"].get("labels", {})
            if not any(selects(s, labels) for s in spec["namespaceSelectors"]):
                continue
            if conditions and not any(selects(s, labels) for s in conditions):
                continue
            copy(api, wanted, source, namespace["metadata"]["name"])
        if not is_ready(wanted):
            api.patch(
                f"clusterexternalsecrets.{GROUP}", wanted["metadata"]["name"], None, ready(wanted, "copied"), "status"
            )


def copy(api: Api, wanted: Object, source: str, namespace: str) -> None:
    spec = wanted["spec"]["externalSecretSpec"]
    name = spec["target"]["name"]
    data: dict[str, str] = {}
    for entry in spec["dataFrom"]:
        found = api.find("secrets", entry["extract"]["key"], source)
        if not found:
            return
        data |= found["data"]
    kind = spec["target"].get("template", {}).get("type", "Opaque")
    there = api.find("secrets", name, namespace)
    if there and there["data"] == data:
        return
    api.apply(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": wanted["spec"].get("externalSecretName", name), "namespace": namespace},
            "spec": spec,
        },
        "external-secrets",
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "data": data,
    }
    api.apply(secret, "external-secrets")
    print(f"{namespace}/{name} copied", flush=True)


def main() -> None:
    api = Api("standins")
    while True:
        try:
            reconcile(api)
        except ApiError as error:
            # The chart's kinds may be missing yet, or a namespace be deleted: the next round retries.
            if error.status not in (403, 404, 409):
                print(error, flush=True)
        except OSError as error:
            print(error, flush=True)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
