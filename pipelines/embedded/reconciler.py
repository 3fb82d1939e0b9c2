"""Make the servers what Git says: `python -m pipelines.embedded.reconciler`, started by the supervisor.

It looks at the origin's branch and at nothing else. What is wanted is read from the release.yaml files at the branch's
head, what runs from the supervisor and the files in <home>/run, never from memory: killed at any point, the next one
goes on from there. Every target is rolled out on its own, so one bad model never holds up the others.
"""

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from bento.backoff import Backoff
from pipelines import logs
from pipelines.embedded.ports import Ports
from pipelines.embedded.rollout import DRAIN_SECONDS, Rollout, Superseded
from pipelines.embedded.state import (
    RECONCILER_FILE,
    Failure,
    ReconcilerState,
    RolloutOutcome,
    RolloutRecord,
    RunFiles,
    ServingTarget,
    append_rollout,
    run_folder,
)
from pipelines.embedded.supervisor_client import Supervisor, WatchedProcess
from pipelines.errors import MlopsError
from pipelines.git.errors import BranchMissing
from pipelines.git.head import Head
from pipelines.git.repository import Repository
from pipelines.logs import about
from pipelines.release.release import Release, release_path
from pipelines.release.releases import Releases
from pipelines.settings import Settings
from pipelines.tracing import RUN_TRAILER, Tracing, rollout_ids, run_ids, start_tracing

POLL_SECONDS = 0.2
TIDY_SECONDS = 1.0
RETRIES = Backoff(first=30.0, longest=300.0)
NAME = re.compile(r"^[a-z0-9][a-z0-9-]*$")
NAME_RULE = "a use case's folder is named by small letters, digits and dashes"
SERVER_NAME = re.compile(r"^(?P<usecase>[^.]+)\.(?P<environment>[^.]+)\.(?P<version>.+)\.[0-9a-f]{6}$")

WantedServer = tuple[Release, str]


log = logging.getLogger("pipelines.embedded.reconciler")


class Reconciler:
    """The loop."""

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        self.settings = settings
        repository = Repository(settings.remote, settings.branch, settings.home / "cache" / "reconciler.git")
        self.releases = Releases(repository)
        self.head = Head(repository)
        self.supervisor = Supervisor(settings.home)
        self.ports = Ports(settings.home)
        self.files = RunFiles(run_folder(settings.home))
        self.ended = threading.Event()
        self.tracing = tracing
        self.state = ReconcilerState.of(settings.home)
        self.commit: str | None = None
        self.wanted: dict[ServingTarget, WantedServer] | None = None
        self.problems: list[str] = []
        self.failures = {failure.target: failure for failure in self.state.failures}
        self._last_commit = self.state.commit
        self._working: dict[ServingTarget, threading.Thread] = {}
        self._leaving: dict[str, float] = {}
        self._tidied = 0.0
        self._lock = threading.RLock()

    def run(self) -> None:
        """Until stopped, or left alone by a supervisor that was killed. A fault is told, and tried again."""
        parent = os.getppid()
        while not self.ended.is_set() and os.getppid() == parent:
            try:
                self._look()
            except MlopsError as error:
                self.commit, self.problems = None, [error.message]
                self._tell()
            try:
                self._act()
            except MlopsError as error:
                log.warning("%s", error.message)
            self.ended.wait(POLL_SECONDS)

    def _look(self) -> None:
        """Read what is wanted, if the branch has moved or the last look failed."""
        head = self.head.read()
        if head is None:
            raise BranchMissing(f"{self.settings.remote} has no branch {self.settings.branch!r}")
        if head == self.commit:
            return
        head = self.releases.repository.fetch()
        found, problems = self.releases.all(head)
        wanted = {}
        for (usecase, environment), release in found.items():
            if not NAME.match(usecase):
                problems[release_path(usecase, environment)] = f"apps/{usecase}: {NAME_RULE}"
            elif environment in self.settings.environments.embedded:
                target = ServingTarget(usecase=usecase, environment=environment)
                wanted[target] = (release, self.releases.commit_of(head, release, environment).sha)
        # A file that cannot be read says nothing about its model: what runs stays.
        for path in problems:
            _, usecase, environment, _ = path.split("/")
            target = ServingTarget(usecase=usecase, environment=environment)
            serving = self.files.serving(target)
            if serving is not None:
                wanted[target] = (serving.release, serving.commit)
        with self._lock:
            self.commit, self.wanted, self.problems = head, wanted, sorted(problems.values())
            self.failures = {target: failure for target, failure in self.failures.items() if target in wanted}
            if head != self._last_commit:  # a new commit is a new chance for what failed before
                self._last_commit = head
                self.failures = {t: f.model_copy(update={"retry_at": 0.0}) for t, f in self.failures.items()}
        log.info("commit %s: %d releases", head[:9], len(wanted))

    def _act(self) -> None:
        """Begin what is missing, stop what is no longer released."""
        if self.wanted is None:
            return
        watched = self.supervisor.watched()
        servers = {name: server for name, server in watched.items() if SERVER_NAME.match(name)}
        for target, (release, commit) in self.wanted.items():
            if not self._is_working(target) and not self._is_served(target, release, servers):
                if self._may_try(target, release):
                    self._begin(target, release, commit)
            elif not self._is_working(target) and target in self.failures:
                self._forget_failure(target)
        for target in {_target_of(name) for name in servers} - self.wanted.keys():
            if not self._is_working(target):
                self._stop(target)
        self._tell()
        if time.monotonic() - self._tidied >= TIDY_SECONDS:
            self._tidied = time.monotonic()
            self._tidy(servers)

    def _is_served(self, target: ServingTarget, release: Release, servers: dict[str, WatchedProcess]) -> bool:
        serving = self.files.serving(target)
        if serving is None or not serving.serves(release):
            return False
        server = servers.get(serving.name)
        return server is not None and not server.stopped

    def _may_try(self, target: ServingTarget, release: Release) -> bool:
        failure = self.failures.get(target)
        return failure is None or failure.image != release.image or time.time() >= failure.retry_at

    def _begin(self, target: ServingTarget, release: Release, commit: str) -> None:
        thread = threading.Thread(target=self._roll_out, args=(target, release, commit), name=str(target), daemon=True)
        with self._lock:
            self._working[target] = thread
        self._tell()
        thread.start()

    def _roll_out(self, target: ServingTarget, release: Release, commit: str) -> None:
        with (
            about(usecase=target.usecase, environment=target.environment),
            self._tracing_rollout(target, release, commit) as span,
        ):
            outcome = self._roll_out_one(target, release, commit)
            if span is not None:
                span.set_attribute("mlops.outcome", outcome)

    @contextlib.contextmanager
    def _tracing_rollout(self, target: ServingTarget, release: Release, commit: str) -> Iterator[Any]:
        """A span that links to the run whose commit this is; None where there are no traces."""
        if self.tracing is None:
            yield None
            return
        run = self.releases.commit_of(commit, release, target.environment).trailers.get(RUN_TRAILER)
        about_it = {
            "mlops.usecase": target.usecase,
            "mlops.environment": target.environment,
            "mlops.bento": release.bento,
            "mlops.commit": commit,
            "mlops.run": run,
        }
        ids = rollout_ids(target.usecase, target.environment, commit)
        again = target in self.failures  # the first attempt has the ids that requests link to, later ones are below it
        which: dict[str, Any] = {"parent": ids} if again else {"ids": ids}
        links = [run_ids(run)] if run else []
        with self.tracing.span(f"rollout {target}", about_it, links=links, **which) as span:
            yield span

    def _roll_out_one(self, target: ServingTarget, release: Release, commit: str) -> RolloutOutcome:
        began = time.monotonic()

        def still_wanted() -> bool:
            now = (self.wanted or {}).get(target)
            return not self.ended.is_set() and now is not None and now[0].image == release.image

        rollout = Rollout(
            self.settings, self.supervisor, self.ports, target, release, commit, still_wanted=still_wanted
        )
        log.info("%s: rolling out %s of commit %s", target, release.bento, commit[:9])
        outcome: RolloutOutcome = "live"
        reason = ""
        try:
            rollout.run()
            reason = "; ".join(rollout.notes)
            self._forget_failure(target)
        except Superseded as error:
            outcome, reason = "superseded", error.message
        except MlopsError as error:
            outcome, reason = "failed", error.message
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this target's alone
            outcome, reason = "failed", f"{type(error).__name__}: {error}"
        if outcome == "failed":
            self._failed(target, release, commit, reason)
        self._record(target, release, commit, outcome, time.monotonic() - began, reason, rollout.parts)
        with self._lock:
            self._working.pop(target, None)
        self._tell()
        return outcome

    def _failed(self, target: ServingTarget, release: Release, commit: str, reason: str) -> None:
        before = self.failures.get(target)
        attempts = before.attempts + 1 if before and before.image == release.image else 1
        with self._lock:
            self.failures[target] = Failure(
                target=target,
                commit=commit,
                head=self._last_commit or commit,
                bento=release.bento,
                image=release.image,
                reason=reason,
                attempts=attempts,
                retry_at=time.time() + RETRIES.pause(attempts),
            )

    def _forget_failure(self, target: ServingTarget) -> None:
        with self._lock:
            self.failures.pop(target, None)
        self._tell()

    def _stop(self, target: ServingTarget) -> None:
        """Its release.yaml is gone: no server is the active one, so `_tidy` lets them all go."""
        serving = self.files.serving(target)
        if serving is not None:
            self.files.active_file(target).unlink(missing_ok=True)
            self._record(target, serving.release, self.commit or "", "stopped", 0.0, "its release.yaml is gone", {})

    def _tidy(self, servers: dict[str, WatchedProcess]) -> None:
        """Let go every server that is neither active nor on its way, and forget those that have gone.

        That is the end of every rollout, and also what makes good for a reconciler that was killed between two steps.
        """
        for name, server in servers.items():
            target = _target_of(name)
            if self._is_working(target) or self.files.active(target) == name:
                continue
            if server.stopped:
                self.supervisor.remove(name)
                self.files.forget(name)
                self._leaving.pop(name, None)
                continue
            if name not in self._leaving:
                self._leaving[name] = time.monotonic()
                if not self._is_draining(name):
                    self.supervisor.drain(name)
            elif time.monotonic() - self._leaving[name] > DRAIN_SECONDS + 10:
                self.supervisor.drain(name, signal.SIGKILL)
        self._close_unused(servers)

    def _is_draining(self, name: str) -> bool:
        state = self.files.state(name)
        return state is not None and state.state == "draining"

    def _close_unused(self, servers: dict[str, WatchedProcess]) -> None:
        """A port is closed when nothing is released behind it and its last server has gone."""
        for socket in filter(_is_target, self.supervisor.sockets()):
            target = _target_of(f"{socket}.x.000000")
            if target not in (self.wanted or {}) and not any(name.startswith(f"{socket}.") for name in servers):
                self.supervisor.close(socket)

    def _is_working(self, target: ServingTarget) -> bool:
        thread = self._working.get(target)
        return thread is not None and (thread.ident is None or thread.is_alive())

    def _record(
        self,
        target: ServingTarget,
        release: Release,
        commit: str,
        outcome: RolloutOutcome,
        seconds: float,
        reason: str,
        parts: dict[str, float],
    ) -> None:
        record = RolloutRecord(
            time=time.time(),
            usecase=target.usecase,
            environment=target.environment,
            commit=commit,
            bento=release.bento,
            outcome=outcome,
            seconds=round(seconds, 3),
            reason=reason,
            parts=parts,
        )
        with self._lock:
            append_rollout(self.settings.home, record)
        level = logging.WARNING if outcome == "failed" else logging.INFO
        why = f": {reason}" if reason else ""
        log.log(level, "%s: %s %s after %.1f s%s", target, release.bento, outcome, seconds, why)

    def _tell(self) -> None:
        """Write down what is known, when it has changed."""
        with self._lock:
            told = ReconcilerState(
                commit=self.commit or self._last_commit,
                seen_at=time.time(),
                failures=list(self.failures.values()),
                problems=self.problems,
                rolling_out=sorted(str(target) for target in self._working),
            )
            if told.model_dump(exclude={"seen_at"}) != self.state.model_dump(exclude={"seen_at"}):
                self.state = told
                told.write(self.settings.home / RECONCILER_FILE)


def _is_target(socket: str) -> bool:
    return SERVER_NAME.match(f"{socket}.x.000000") is not None


def _target_of(server: str) -> ServingTarget:
    match = SERVER_NAME.match(server)
    assert match is not None  # noqa: S101 - only names that match are asked about
    return ServingTarget(usecase=match["usecase"], environment=match["environment"])


def main() -> int:
    """Reconcile until SIGTERM."""
    logs.configure()
    import httpx  # noqa: F401 - half a second that the first rollout need not wait for

    tracing = start_tracing("mlops-reconciler")
    reconciler = Reconciler(Settings.load(), tracing)

    def stop(_: int, __: FrameType | None) -> None:
        reconciler.ended.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    reconciler.run()
    if tracing is not None:
        tracing.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
