"""A stand-in for Google's Secret Manager: one call, `versions.access`, for whoever has the token."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "ya29.good"


@contextlib.contextmanager
def secret_manager(known: Mapping[str, str]) -> Iterator[str]:
    """Its address. `known`: the text of each version by its name, projects/…/secrets/…/versions/…"""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.removeprefix("/v1/").removesuffix(":access")
            granted = name in known and self.headers["Authorization"] == f"Bearer {TOKEN}"
            answer: dict[str, object] = {"error": {"code": 403, "status": "PERMISSION_DENIED"}}
            if granted:
                answer = {"name": name, "payload": {"data": base64.b64encode(known[name].encode()).decode()}}
            body = json.dumps(answer).encode()
            self.send_response(200 if granted else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
