"""Where a registry with token login sends its clients: gives signed tokens for what a user may do.

The registry is a real one and checks signature, scopes and time; only this end of the login is ours.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "tests", "a registry"


class TokenServer:
    """`users` may do everything; `readers` and nobody in particular may pull from `public` repositories."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.users = {"pipeline": "right"}
        self.refresh_tokens = {"a-refresh-token": "pipeline"}
        self.public: set[str] = set()
        self.seconds = 300
        self.asked: list[list[str]] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _self_signed(self._key)
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self, parse_qs(urlsplit(self.path).query), _basic(self))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                form["scope"] = form.get("scope", [""])[0].split()
                who = outer.refresh_tokens.get(form.get("refresh_token", [""])[0])
                outer._answer(self, form, (who, outer.users[who]) if who else ("nobody", "wrong"))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"

    @property
    def auth(self) -> dict[str, Any]:
        """The `auth` section of the registry's configuration."""
        settings = {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)}
        return {"token": settings}

    def token(self, scopes: list[str], user: str | None) -> str:
        """A signed token for as much of the scopes as the user may have."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if user else ["pull"] if name in self.public else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        times = {"iat": now, "nbf": now - 5, "exp": now + self.seconds}
        claims = {"iss": ISSUER, "sub": user or "", "aud": SERVICE, "jti": str(now), "access": access, **times}
        chain = [base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()]
        signed = f"{_b64({'typ': 'JWT', 'alg': 'RS256', 'x5c': chain})}.{_b64(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_b64(signature)}"

    def _answer(self, handler: BaseHTTPRequestHandler, form: dict[str, list[str]], who: tuple[str, str] | None) -> None:
        scopes = form.get("scope", [])
        self.asked.append(scopes)
        right = who is None or self.users.get(who[0]) == who[1]
        body = json.dumps({"token": self.token(scopes, who[0] if who else None)} if right else {}).encode()
        handler.send_response(200 if right else 401)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    made = TokenServer(folder)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(5)


def _basic(handler: BaseHTTPRequestHandler) -> tuple[str, str] | None:
    header = handler.headers.get("Authorization", "")
    if not header.startswith("Basic "):
        return None
    username, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return username, password


def _b64(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    )
    return builder.sign(key, hashes.SHA256())
