"""What circus is taught here; imported by the supervisor's own process only.

circus holds one lock for every command that waits, so a server that drains for half a minute inside circus' own
`rm` would keep all others from being started or restarted. Here draining only sends the signal; the watcher is
removed when the process has gone. What is overridden and used of circus is listed in tests/unit/test_private_parts.py.
"""

import contextlib
import errno
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

from circus import logger
from circus.arbiter import Arbiter
from circus.commands.base import Command
from circus.exc import ConflictError, MessageError
from circus.sockets import CircusSocket
from circus.stream.file_stream import FileStream
from circus.util import synchronized
from circus.watcher import Watcher
from tornado import gen

from bento.backoff import Backoff
from pipelines.embedded.processes import ProcessBook

LOG_BYTES, LOG_BACKUPS = 2_000_000, 1
RESTARTS = Backoff(first=1.0, longest=30.0)
CALM_SECONDS = 60.0
STOP_SECONDS = 5.0
BACKLOG = 2048


class PatientWatcher(Watcher):  # type: ignore[misc]
    """Restarts a process that crashed at once, and one that keeps crashing after ever longer pauses."""

    def __init__(self, name: str, command: list[str], book: ProcessBook, log: Path, **options: Any) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = FileStream(str(log), max_bytes=LOG_BYTES, backup_count=LOG_BACKUPS)
        super().__init__(
            name,
            shlex.quote(command[0]),
            args=command[1:],
            stdout_stream={"stream": stream},
            stderr_stream={"stream": stream},
            **options,
        )
        self.book = book
        self.crashes = 0
        self.exit_code: int | None = None
        self._started = 0.0
        self._not_before = 0.0

    def spawn_process(self, recovery_wid: int | None = None) -> Any:
        self._started = time.monotonic()
        spawned = super().spawn_process(recovery_wid)
        for pid in self.processes:
            self.book.add(pid, self.name)
        return spawned

    def reap_process(self, pid: int, status: int | None = None) -> None:
        known = pid in self.processes
        super().reap_process(pid, status)
        self.book.remove(pid)
        if known and not self.is_stopping():
            self._crashed(pid, status)

    @gen.coroutine  # type: ignore[untyped-decorator]
    def manage_processes(self) -> Any:
        if self.respawn and not self.processes and time.monotonic() < self._not_before:
            return
        yield super().manage_processes()

    def _crashed(self, pid: int, status: int | None) -> None:
        if status is not None:
            self.exit_code = os.waitstatus_to_exitcode(status)
        if self.respawn:
            lived = time.monotonic() - self._started
            self.crashes = 1 if lived > CALM_SECONDS else self.crashes + 1
            pause = RESTARTS.pause(self.crashes - 1)  # the first one at once
            self._not_before = time.monotonic() + pause
            logger.warning("%s (pid %d) ended with %s; again in %.0f s", self.name, pid, self.exit_code, pause)
        else:
            logger.info("%s (pid %d) ended with %s", self.name, pid, self.exit_code)


class PlatformArbiter(Arbiter):  # type: ignore[misc]
    """circus' arbiter, with listening sockets and watchers that come and go while it runs."""

    def __init__(self, endpoint: str, book: ProcessBook, logs: Path) -> None:
        super().__init__([], endpoint, "inproc://events", check_delay=0.5, proc_name="mlops-supervisor")
        self.book = book
        self.logs = logs

    def make_watcher(self, name: str, command: list[str], **options: Any) -> PatientWatcher:
        """One process; `stdin_socket` names the listening socket it gets as file descriptor 0."""
        return PatientWatcher(name, command, self.book, self.logs / f"{name}.log", singleton=True, **options)

    @synchronized("launch")  # type: ignore[untyped-decorator]
    @gen.coroutine  # type: ignore[untyped-decorator]
    def launch(self, name: str, command: list[str], options: dict[str, Any]) -> Any:
        watcher = self.make_watcher(name, command, **options)
        watcher.initialize(self.evpub_socket, self.sockets, self)
        self.watchers.append(watcher)
        self._watchers_names[name.lower()] = watcher
        yield watcher._start()
        return {"pids": list(watcher.processes)}

    @synchronized("manage_watchers")  # type: ignore[untyped-decorator]
    @gen.coroutine  # type: ignore[untyped-decorator]
    def manage_watchers(self) -> Any:
        """One round of reaping and restarting.

        BentoML's build of circus (kantoku) ends the arbiter as soon as a watcher has no process; here that is a
        server that has drained, or one that waits before its next start.
        """
        if not self._stopping:
            self.reap_processes()
            yield [watcher.manage_processes() for watcher in self.iter_watchers()]

    def bind(self, name: str, host: str, port: int) -> int:
        """Listen for as long as the supervisor lives, or until `unbind`; servers come and go behind it."""
        if name not in self.sockets:
            with contextlib.ExitStack() as otherwise:
                made = CircusSocket(name=name, host=host, port=port, backlog=BACKLOG)
                otherwise.callback(made.close)
                made.bind_and_listen()
                otherwise.pop_all()
            made.set_inheritable(False)  # only the server it belongs to gets it
            self.sockets[name] = made
        return int(self.sockets[name].getsockname()[1])

    def unbind(self, name: str) -> None:
        if name in self.sockets:
            self.sockets.pop(name).close()

    @gen.coroutine  # type: ignore[untyped-decorator]
    def stop_when_free(self) -> Any:
        """circus refuses to stop while it is busy with another command; this tries until it is not."""
        for watcher in self.watchers:
            watcher.graceful_timeout = min(watcher.graceful_timeout, STOP_SECONDS)
        stopped = False
        while not stopped:
            try:
                yield self.stop()
                stopped = True
            except ConflictError:
                yield gen.sleep(0.05)


def _watcher(arbiter: PlatformArbiter, name: str) -> PatientWatcher | None:
    with contextlib.suppress(KeyError):
        found: PatientWatcher = arbiter.get_watcher(name)
        return found
    return None


def _known_watcher(arbiter: PlatformArbiter, name: str) -> PatientWatcher:
    if watcher := _watcher(arbiter, name):
        return watcher
    raise MessageError(f"program {name} not found")


class Bind(Command):  # type: ignore[misc]
    """Open a listening socket"""

    name = "bind"
    properties = ["name", "host", "port"]

    def execute(self, arbiter: PlatformArbiter, props: dict[str, Any]) -> dict[str, Any]:
        try:
            port = arbiter.bind(props["name"], props["host"], props["port"])
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL}:
                raise
            return {"taken": True}
        return {"taken": False, "port": port}


class Unbind(Command):  # type: ignore[misc]
    """Close a listening socket"""

    name = "unbind"
    properties = ["name"]

    def execute(self, arbiter: PlatformArbiter, props: dict[str, Any]) -> None:
        arbiter.unbind(props["name"])


class Launch(Command):  # type: ignore[misc]
    """Start a process and watch it"""

    name = "launch"
    properties = ["name", "command", "options"]

    def execute(self, arbiter: PlatformArbiter, props: dict[str, Any]) -> Any:
        if _watcher(arbiter, props["name"]):
            raise MessageError(f"{props['name']} runs already")
        return arbiter.launch(props["name"], props["command"], props["options"])


class Keep(Command):  # type: ignore[misc]
    """Restart a process from now on when it crashes"""

    name = "keep"
    properties = ["name"]

    def execute(self, arbiter: PlatformArbiter, props: dict[str, Any]) -> None:
        watcher = _known_watcher(arbiter, props["name"])
        if not watcher.get_active_pids():
            raise MessageError(f"{props['name']} has ended")
        watcher.respawn = True


class Drain(Command):  # type: ignore[misc]
    """Ask a process to finish and go, and do not restart it"""

    name = "drain"
    properties = ["name", "signal"]

    def execute(self, arbiter: PlatformArbiter, props: dict[str, Any]) -> None:
        watcher = _known_watcher(arbiter, props["name"])
        watcher.respawn = False
        for pid in watcher.get_active_pids():
            watcher.send_signal(pid, signal.Signals(props["signal"]))


class Describe(Command):  # type: ignore[misc]
    """Every watched process: status, pid, crashes, exit code"""

    name = "describe"

    def execute(self, arbiter: PlatformArbiter, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "watched": {
                watcher.name: {
                    "pid": next(iter(watcher.get_active_pids()), None),
                    "stopped": watcher.is_stopped(),
                    "kept": watcher.respawn,
                    "crashes": watcher.crashes,
                    "exit_code": watcher.exit_code,
                }
                for watcher in arbiter.watchers
            },
            "sockets": {name: made.getsockname()[1] for name, made in arbiter.sockets.items()},
        }
