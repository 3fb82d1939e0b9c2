"""A private PostgreSQL for tests: Debian's, in a temporary folder, on a loopback port, ended with the tests."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import free_port

USER = "postgres"


def postgres_programs() -> Path | None:
    """Where initdb and pg_ctl lie; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    return found[-1].resolve().parent if found[-1].is_file() else None


class Postgres:
    """A server of its own. `stop` and `start` are what an outage looks like."""

    def __init__(self, programs: Path, folder: Path, host: str = "127.0.0.1") -> None:
        self.programs, self.folder, self.port, self.host = programs, folder, free_port(), host
        self._run("initdb", "-D", folder / "data", "-A", "trust", "-U", "monitor", "--no-sync", "-E", "UTF8")
        settings = [f"port = {self.port}", f"listen_addresses = '{host}'", f"unix_socket_directories = '{folder}'"]
        settings += ["fsync = off", "max_connections = 40", "shared_buffers = 32MB"]
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")
        if host != "127.0.0.1":  # pods of a test cluster, on a bridge of this machine
            with (folder / "data" / "pg_hba.conf").open("a") as file:
                file.write("host all all samenet trust\nhost all all 10.0.0.0/8 trust\n")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://monitor@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-t", 30, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "-t", 30, "stop")

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", self.host, "-p", self.port, "-U", "monitor", name)
        return f"postgresql://monitor@{self.host}:{self.port}/{name}"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        # PostgreSQL refuses to run as root; its package has made a user for it.
        as_root = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
        log = self.folder / "commands.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command, check=False, stdout=output, stderr=output, timeout=60, cwd=self.folder, **as_root
            )
        assert done.returncode == 0, f"{command}: {log.read_text()[-2000:]}"


@contextlib.contextmanager
def postgres(host: str = "127.0.0.1") -> Iterator[Postgres]:
    """Listens on one address of this machine. Skips the test, and says why, where there is none."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="mlops-postgres-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        if os.getuid() == 0:
            try:
                shutil.chown(folder, USER, USER)
            except LookupError:
                pytest.skip(f"PostgreSQL does not run as root, and there is no user {USER}")
        server = Postgres(programs, folder, host)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):
                server.stop()
