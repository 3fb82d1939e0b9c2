"""Git servers on loopback, as real as they get without a network: git's own http-backend, and OpenSSH's sshd."""

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SSHD = "/usr/sbin/sshd"


@dataclass
class GitOverHttp:
    """Smart HTTP with basic auth over the repositories in a folder, and the ways in which a host can say no."""

    folder: Path
    token: str
    readers: tuple[str, ...] = ()  # tokens that may read and not write
    answers: list[int] = field(default_factory=list)  # HTTP statuses to give before anything is served
    lose_answers: int = 0  # so many pushes land without the client hearing of it
    elsewhere: str | None = None  # redirect to this host
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, authorization
    url: str = ""

    def serve(self) -> "contextlib.AbstractContextManager[GitOverHttp]":
        return _serving(self)


@contextlib.contextmanager
def _serving(git: GitOverHttp) -> Iterator[GitOverHttp]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(body)

        def _answer(self, body: bytes) -> None:
            git.seen.append((self.command, self.path, self.headers.get("Authorization")))
            if git.elsewhere:
                self._say(302, b"", Location=git.elsewhere + self.path)
                return
            if git.answers:
                self._say(git.answers.pop(0), b"")
                return
            token = _token(self.headers.get("Authorization"))
            if token not in (git.token, *git.readers):
                self._say(401, b"", **{"WWW-Authenticate": 'Basic realm="git"'})
            elif token in git.readers and "git-receive-pack" in self.path:
                self._say(403, b"this token may only read")
            else:
                self._run(body)

        def _run(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(git.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "tester",
            }
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=60, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            if self.command == "POST" and path.endswith("git-receive-pack") and git.lose_answers:
                git.lose_answers -= 1
                self.close_connection = True
                return
            self._say(int(headers.pop("Status", "200").split()[0]), content, **headers)

        def _say(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    git.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield git
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _token(authorization: str | None) -> str | None:
    if not authorization or not authorization.startswith("Basic "):
        return None
    return base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[2]


@dataclass(frozen=True)
class GitOverSsh:
    """An sshd of our own, a key that it lets in, and a known_hosts that names it."""

    url: str
    key: Path
    known_hosts: Path
    port: int
    log: Path


def why_no_sshd() -> str | None:
    if not Path(SSHD).exists():
        return "OpenSSH's server is not installed: apt-get install openssh-server"
    if os.geteuid() != 0:
        return "an sshd that is not started by root lets nobody in on most systems"
    return None


@contextlib.contextmanager
def git_over_ssh(repository: Path, scratch: Path) -> Iterator[GitOverSsh]:
    """Serve one repository to one key on a free loopback port; the process ends with the test."""
    for name in ("host", "client", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(scratch / name)]
        subprocess.run(command, check=True)
    shutil.copy(scratch / "client.pub", scratch / "authorized_keys")
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd wants to shut its unprivileged half in
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = scratch / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {scratch}/host\nPidFile none\n"
        f"AuthorizedKeysFile {scratch}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    log = scratch / "sshd.log"
    process = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(log)])
    try:
        _await_port(port, process)
        known_hosts = scratch / "known hosts"  # a path with a space, as some homes have
        key = " ".join((scratch / "host.pub").read_text().split()[:2])
        known_hosts.write_text(f"[127.0.0.1]:{port} {key}\n")
        yield GitOverSsh(f"ssh://root@127.0.0.1:{port}{repository}", scratch / "client", known_hosts, port, log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_port(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("sshd did not start")
