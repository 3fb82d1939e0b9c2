"""Prometheus and Alertmanager as processes on loopback, and somebody who is called by them."""

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.monitoring import tools
from tests.serving import free_port, wait_until

READY_SECONDS = 20


def alertmanager_config(*objects: dict[str, Any], url: str | None = None, quick: bool = False) -> dict[str, Any]:
    """What the operator makes of AlertmanagerConfigs with matcher strategy None; Secrets become the word `secret`.

    `url`: where webhooks go instead; `quick`: waits of a second at most.
    """
    routes, receivers, inhibit_rules = [], [], []
    for found in objects:
        prefix = f"{found['metadata']['namespace']}/{found['metadata']['name']}/"
        spec = _translated(found["spec"])
        routes.append({**_named(spec["route"], prefix, quick), "continue": True})
        for receiver in spec["receivers"]:
            for webhook in receiver.get("webhook_configs", []):
                webhook["url"] = url or webhook["url"]
            receivers.append({**receiver, "name": prefix + receiver["name"]})
        inhibit_rules += spec.get("inhibit_rules", [])
    waits = {"group_wait": "1s", "group_interval": "1s"} if quick else {}
    return {
        "route": {"receiver": "null", "routes": routes, **waits},
        "receivers": [{"name": "null"}, *receivers],
        "inhibit_rules": inhibit_rules,
    }


def _named(route: dict[str, Any], prefix: str, quick: bool) -> dict[str, Any]:
    waits = {"group_wait": "100ms", "group_interval": "1s"} if quick else {}
    made = {**route, **waits, "receiver": prefix + route["receiver"]}
    if "routes" in route:
        made["routes"] = [_named(part, prefix, quick) for part in route["routes"]]
    return made


def _translated(value: Any) -> Any:
    """Names as Alertmanager writes them: groupBy is group_by, a matcher is one text."""
    if isinstance(value, list):
        return [_translated(part) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"name", "key"}:
        return "secret"
    if set(value) == {"name", "matchType", "value"}:
        return f'{value["name"]}{value["matchType"]}"{value["value"]}"'
    names = {"sourceMatch": "source_matchers", "targetMatch": "target_matchers", "apiURL": "api_url"}
    return {names.get(key) or _snake(key): _translated(part) for key, part in value.items()}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f"_{found[0].lower()}", name)


@contextlib.contextmanager
def running(folder: Path, name: str, *options: str) -> Iterator[str]:
    """The program on a port of its own; gives its address once it is ready."""
    port = free_port()
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tools.program(name), f"--web.listen-address=127.0.0.1:{port}", *options],
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: _is_ready(process, log, port), f"{name} ready", READY_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(process: subprocess.Popen[bytes], log: Path, port: int) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/-/ready").status_code == 200
    return False


@contextlib.contextmanager
def alertmanager(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    options = ("--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address=")
    with running(folder, "alertmanager", *options) as address:
        yield address


@contextlib.contextmanager
def prometheus(
    folder: Path,
    rules: dict[str, Any],
    jobs: dict[str, str],
    alerts_to: str,
    every: tuple[str, str] = ("300ms", "250ms"),
) -> Iterator[str]:
    """Asks each job's address, as often as a test can wait for. `every`: the pause, and how long an answer may take."""
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    config = {
        "global": {"scrape_interval": every[0], "scrape_timeout": every[1], "evaluation_interval": every[0]},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts_to.removeprefix("http://")]}]}]},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address.removeprefix("http://")]}]}
            for job, address in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=metrics", "--storage.tsdb.retention.time=1h")
    with running(folder, "prometheus", *options) as address:
        yield address


class Called:
    """Takes calls on loopback and keeps their bodies."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.logins: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.logins.append(self.headers.get("Authorization"))
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alerts"

    def __enter__(self) -> "Called":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def told(self, alert: str, status: str) -> tuple[bytes, dict[str, Any]] | None:
        """The first call that has this alert in this state, and the alert."""
        for body in list(self.bodies):
            for one in json.loads(body)["alerts"]:
                if one["labels"]["alertname"] == alert and one["status"] == status:
                    return body, one
        return None
