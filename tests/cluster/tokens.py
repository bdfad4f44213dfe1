"""Stands in for an OIDC issuer: a key pair, the page with its public half, and signed tokens.

It does not do: logins, discovery, rotation of keys.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from layout import ISSUER, RUN

ISSUER_URL = f"https://{ISSUER}"
AUDIENCE = "tenantry"
KEY = RUN / "issuer.pem"
KEY_ID = "cluster"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def publish_keys(page: Path) -> None:
    """Makes a key pair and writes the key set of the issuer."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    KEY.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    numbers = key.public_key().public_numbers()
    parts = {"n": numbers.n.to_bytes(256, "big"), "e": numbers.e.to_bytes(3, "big")}
    described = {"kty": "RSA", "kid": KEY_ID, "alg": "RS256", "use": "sig"}
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps({"keys": [described | {name: encoded(part) for name, part in parts.items()}]}))


def token(subject: str, *roles: str) -> str:
    """A token for ten minutes."""
    now = int(time.time())
    claims: dict[str, Any] = {"iss": ISSUER_URL, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600}
    parts = [{"alg": "RS256", "typ": "JWT", "kid": KEY_ID}, claims | {"roles": list(roles)}]
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    key = serialization.load_pem_private_key(KEY.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return f"{signed}.{encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
