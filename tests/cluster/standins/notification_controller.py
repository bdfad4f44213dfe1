"""Stands in for Flux's notification-controller: a webhook that asks for the resources its Receivers name.

    notification_controller.py ADDRESS PORT

Any POST counts, for every Receiver. It does not do: tokens and signatures, the path of a Receiver, alerts, events.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from api import Api, ApiError

PLURALS = {
    "GitRepository": "gitrepositories.source.toolkit.fluxcd.io",
    "OCIRepository": "ocirepositories.source.toolkit.fluxcd.io",
    "HelmRepository": "helmrepositories.source.toolkit.fluxcd.io",
}
API = Api("standins")


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 200
        try:
            for receiver in API.list("receivers.notification.toolkit.fluxcd.io"):
                for resource in receiver["spec"].get("resources", []):
                    annotations = {"reconcile.fluxcd.io/requestedAt": str(time.time())}
                    namespace = resource.get("namespace") or receiver["metadata"]["namespace"]
                    API.patch(
                        PLURALS[resource["kind"]],
                        resource["name"],
                        namespace,
                        {"metadata": {"annotations": annotations}},
                    )
        except (ApiError, OSError) as error:
            print(error, flush=True)
            status = 503
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Hook).serve_forever()


if __name__ == "__main__":
    main()
