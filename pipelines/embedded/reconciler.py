"""Make the servers what Git says. It looks at the origin's branch and at nothing else.

    python -m pipelines.embedded.reconciler        (started by the supervisor; settings from the environment)

What is wanted is read from the release.yaml files at the branch's head, what runs from the supervisor and the state
files, never from memory: killed at any point, the next one goes on from there. Every target is rolled out on its own,
so that one bad model never holds up the others.
"""

import signal
import sys
import threading
import time
from types import FrameType

from pipelines.embedded.records import (
    RECONCILER_FILE,
    Failure,
    ReconcilerState,
    RolloutRecord,
    RunFiles,
    Target,
    append_rollout,
)
from pipelines.embedded.rollout import Rollout
from pipelines.embedded.supervisor import RECONCILER, Supervisor, SupervisorDown, run_folder
from pipelines.errors import MlopsError
from pipelines.release.release import Release, release_path
from pipelines.release.releases import Releases, open_releases
from pipelines.settings import Settings

POLL_SECONDS = 0.2
SERVED = ("staging", "production")
FIRST_RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 300.0


class Reconciler:
    """The loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.releases: Releases = open_releases(settings)
        self.supervisor = Supervisor(settings.home)
        self.files = RunFiles(run_folder(settings.home))
        self.wanted: dict[Target, tuple[Release, str]] = {}
        self.failures: dict[Target, Failure] = {}
        self.state = ReconcilerState()
        self.ended = threading.Event()
        self._working: dict[Target, threading.Thread] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Until stopped; whatever goes wrong in one round is told and tried again in the next."""
        while not self.ended.is_set():
            try:
                self._look()
                self._act()
            except SupervisorDown:
                return
            except MlopsError as error:
                self._tell(problems=[error.message])
            self.ended.wait(POLL_SECONDS)
        for thread in list(self._working.values()):
            thread.join(timeout=5)

    def _look(self) -> None:
        """Read what is wanted, if the branch has moved."""
        head = self.releases.repository.remote_head()
        if head is None or head == self.state.commit:
            return
        head = self.releases.repository.fetch()
        found, problems = self.releases.all(head)
        wanted = {}
        for (usecase, environment), release in found.items():
            if environment in SERVED:
                commits = self.releases.repository.log(release_path(usecase, environment), head, limit=1)
                wanted[Target(usecase=usecase, environment=environment)] = (
                    release,
                    commits[0].sha if commits else head,
                )
        # A file that cannot be read says nothing about its model: what runs stays.
        for path in problems:
            _, usecase, environment, _ = path.split("/")
            target = Target(usecase=usecase, environment=environment)
            if target in self.wanted:
                wanted[target] = self.wanted[target]
        self.wanted = wanted
        self._tell(commit=head, problems=sorted(problems.values()))
        log(f"commit {head[:9]}: {len(wanted)} releases")

    def _act(self) -> None:
        if self.state.commit is None:
            return
        names = [name for name in self.supervisor.names() if name != RECONCILER]
        served = {target: self.files.active(target) for target in {*self.wanted, *self._targets(names)}}
        for target, active in served.items():
            if self._is_working(target):
                continue
            wanted = self.wanted.get(target)
            if wanted is None:
                self._stop(target, names)
            elif not self._is_served(target, wanted[0], active, names) and self._may_try(target, wanted[0]):
                self._begin(target, *wanted)
            else:
                self._tidy(target, active, names)

    def _is_served(self, target: Target, release: Release, active: str | None, names: list[str]) -> bool:
        if active is None or active not in names:
            return False
        deployed = self.files.deployed(active)
        return deployed is not None and deployed.release.image == release.image

    def _may_try(self, target: Target, release: Release) -> bool:
        failure = self.failures.get(target)
        return failure is None or failure.digest != release.digest or time.time() >= failure.retry_at

    def _begin(self, target: Target, release: Release, commit: str) -> None:
        thread = threading.Thread(target=self._roll_out, args=(target, release, commit), name=str(target))
        self._working[target] = thread
        self._tell()
        thread.start()

    def _roll_out(self, target: Target, release: Release, commit: str) -> None:
        began = time.monotonic()
        rollout = Rollout(self.settings, target, release, commit)
        log(f"{target}: {release.bento} of commit {commit[:9]}")
        try:
            rollout.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this target's alone
            reason = error.message if isinstance(error, MlopsError) else f"{type(error).__name__}: {error}"
            self._failed(target, release, commit, reason)
            self._record(target, release, commit, "failed", time.monotonic() - began, reason, rollout.parts)
            return
        with self._lock:
            self.failures.pop(target, None)
        self._record(target, release, commit, "live", time.monotonic() - began, "", rollout.parts)

    def _failed(self, target: Target, release: Release, commit: str, reason: str) -> None:
        with self._lock:
            before = self.failures.get(target)
            attempts = before.attempts + 1 if before and before.digest == release.digest else 1
            pause = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LONGEST_RETRY_SECONDS)
            self.failures[target] = Failure(
                target=target,
                commit=commit,
                bento=release.bento,
                digest=release.digest,
                reason=reason,
                attempts=attempts,
                retry_at=time.time() + pause,
            )

    def _record(
        self,
        target: Target,
        release: Release,
        commit: str,
        outcome: str,
        seconds: float,
        reason: str,
        parts: dict[str, float],
    ) -> None:
        log(f"{target}: {release.bento} {outcome} after {seconds:.2f} s {reason}")
        record = RolloutRecord(
            time=time.time(),
            usecase=target.usecase,
            environment=target.environment,
            commit=commit,
            bento=release.bento,
            outcome=outcome,  # type: ignore[arg-type]
            seconds=round(seconds, 3),
            reason=reason,
            parts=parts,
        )
        append_rollout(self.settings.home, record)
        self._working.pop(target, None)
        self._tell()

    def _stop(self, target: Target, names: list[str]) -> None:
        """Git has no release of it any more."""
        for name in names:
            if name.startswith(f"{target}."):
                deployed = self.files.deployed(name)
                self.files.active_file(target).unlink(missing_ok=True)
                self.supervisor.retire(name)
                self.files.forget(name)
                if deployed:
                    self._record(
                        target,
                        deployed.release,
                        self.state.commit or "",
                        "stopped",
                        0.0,
                        "its release.yaml is gone",
                        {},
                    )
        with self._lock:
            self.failures.pop(target, None)

    def _tidy(self, target: Target, active: str | None, names: list[str]) -> None:
        """A server that was left between two versions by a reconciler that was killed."""
        for name in names:
            if name.startswith(f"{target}.") and name != active:
                self.supervisor.retire(name)
                self.files.forget(name)

    def _targets(self, names: list[str]) -> set[Target]:
        return {deployed.target for name in names if (deployed := self.files.deployed(name))}

    def _is_working(self, target: Target) -> bool:
        thread = self._working.get(target)
        return thread is not None and thread.is_alive()

    def _tell(self, commit: str | None = None, problems: list[str] | None = None) -> None:
        with self._lock:
            told = ReconcilerState(
                commit=commit or self.state.commit,
                seen_at=time.time(),
                failures=list(self.failures.values()),
                problems=self.state.problems if problems is None else problems,
                rolling_out=[str(target) for target in self._working],
            )
            if told.model_dump(exclude={"seen_at"}) != self.state.model_dump(exclude={"seen_at"}):
                self.state = told
                told.write(self.settings.home / RECONCILER_FILE)


def log(text: str) -> None:
    """To the log that the supervisor keeps."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", flush=True)


def main() -> int:
    """Reconcile until SIGTERM."""
    reconciler = Reconciler(Settings.load())

    def stop(_: int, __: FrameType | None) -> None:
        reconciler.ended.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    reconciler.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
