"""Stands in for a cloud's instance metadata, which no tenant may reach: answers anything with a word.

metadata.py ADDRESS
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Metadata(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"a role")


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], 80), Metadata).serve_forever()
