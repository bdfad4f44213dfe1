"""Stands in for Gitea: Git over HTTPS with a login, by git's own `http-backend`; and for GitHub Pages: files, for
charts.

    git_server.py ADDRESS CERTIFICATE KEY REPOSITORIES PAGES LOGIN:PASSWORD HOOK

A push calls HOOK, an URL, if it is not empty: that is the webhook. Repositories named in REPOSITORIES/public may be
read without a login. It does not do: users and their rights, a web page, pull requests, LFS, limits.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import ssl
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS, CERTIFICATE, KEY, REPOSITORIES, PAGES, LOGIN, HOOK = sys.argv[1:8]
AUTHORIZATION = "Basic " + base64.b64encode(LOGIN.encode()).decode()


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments, directory=PAGES)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.headers.get("Host", "").startswith("git."):
            self.backend()
        else:
            # Each host has a folder.
            self.path = f"/{self.headers.get('Host', '')}{self.path}"
            super().do_GET()

    def do_POST(self) -> None:
        self.backend()

    def is_public(self, path: str) -> bool:
        names = Path(REPOSITORIES, "public")
        return (
            names.exists()
            and path.split(".git")[0].lstrip("/") in names.read_text().split()
            and "receive-pack" not in self.path
        )

    def backend(self) -> None:
        path, _, query = self.path.partition("?")
        if not self.is_public(path) and self.headers.get("Authorization") != AUTHORIZATION:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": REPOSITORIES,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": LOGIN.partition(":")[0],
            "REMOTE_ADDR": self.client_address[0],
        }
        body = self.read_body()
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        if path.endswith("git-receive-pack") and self.command == "POST" and HOOK:
            threading.Thread(target=call_hook, daemon=True).start()

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


def call_hook() -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(urllib.request.Request(HOOK, b"{}", method="POST"), timeout=10)


def main() -> None:
    server = ThreadingHTTPServer((ADDRESS, 443), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    # The handshake belongs to the connection's own thread: a client that does not speak holds up no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    assert issubclass(Handler, BaseHTTPRequestHandler)
    server.serve_forever()


if __name__ == "__main__":
    main()
