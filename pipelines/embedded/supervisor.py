"""The one daemon of a state folder: `python -m pipelines.embedded.supervisor`, settings from the environment.

It keeps the reconciler and the model servers running, writes their logs, and owns the public listening sockets, as
systemd's socket activation does: a port stays open while servers come, go and crash behind it, and a connection made
meanwhile waits instead of failing. It decides nothing: the reconciler tells it what to start.
"""

import logging
import os
import shutil
import signal
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pipelines import logs
from pipelines.embedded.processes import ProcessBook, ProcessMark
from pipelines.embedded.state import RECONCILER_FILE, run_folder
from pipelines.embedded.supervisor_client import RECONCILER, SupervisorInfo, info_file, make_endpoint
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.embedded.circus import PlatformArbiter

ALREADY_RUNNING = 4
LOG_BYTES = 1_000_000


def main() -> int:
    """Run until SIGTERM; exit status 4 when the state folder has a supervisor already."""
    from filelock import FileLock, Timeout

    logs.configure()
    home = Settings.load().home
    lock = FileLock(home / "supervisor.lock")  # the system frees it, however this process ends
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.getLogger("pipelines.embedded.supervisor").error("%s has a supervisor already", home)  # noqa: TRY400
        return ALREADY_RUNNING
    with lock:
        _supervise(home)
    return 0


def _supervise(home: Path) -> None:
    from pipelines.embedded.circus import PlatformArbiter

    log = _log(home)
    book = ProcessBook(home / "processes")
    left = book.end_all()
    if left:
        log.warning("ended what a killed supervisor left behind: %s", ", ".join(left))
    _begin_anew(home)
    endpoint = make_endpoint(home)
    arbiter = PlatformArbiter(endpoint, book, home / "logs")
    _stop_on_signals(arbiter)
    command = [sys.executable, "-m", "pipelines.embedded.reconciler"]
    arbiter.watchers.append(arbiter.make_watcher(RECONCILER, command, env=dict(os.environ), working_dir=str(home)))
    SupervisorInfo(process=ProcessMark.of(), endpoint=endpoint).write(info_file(home))
    try:
        arbiter.start()
    finally:
        info_file(home).unlink(missing_ok=True)
        shutil.rmtree(Path(endpoint.removeprefix("ipc://")).parent, ignore_errors=True)
        log.info("stopped")


def _begin_anew(home: Path) -> None:
    """No server runs, whatever the files of the last supervisor say."""
    shutil.rmtree(run_folder(home), ignore_errors=True)
    run_folder(home).mkdir(parents=True)
    (home / RECONCILER_FILE).unlink(missing_ok=True)


def _stop_on_signals(arbiter: "PlatformArbiter") -> None:
    def stop(_: int, __: FrameType | None) -> None:
        arbiter.loop.add_callback_from_signal(arbiter.stop_when_free)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _log(home: Path) -> logging.Logger:
    from circus import logger

    handler = RotatingFileHandler(home / "logs" / "supervisor.log", maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logs.formatter(logs.log_variables()))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
