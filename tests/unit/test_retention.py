"""What `mlops clean` removes, what it keeps and why, and that a kill leaves nothing half there."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock

from pipelines.cli import main
from pipelines.data.snapshot import _keep
from pipelines.packaging.bentos import BENTO_DIGEST, BentoMissing, fetch_bento, keep
from pipelines.release.release import Release
from pipelines.release.releases import open_releases
from pipelines.retention.clean import CLEANED_FILE, LOCK_FILE, CleanInProgress, clean, is_due
from pipelines.retention.report import CleanReport, KindReport
from pipelines.retention.rules import RetentionRules
from pipelines.runs.index import close_run, list_runs, open_run, open_runs
from pipelines.runs.journal import JOURNAL_FILE, Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import PID_FILE, REQUEST_FILE
from pipelines.runs.tracking import PUBLISHED_FILE, Published
from pipelines.settings import Settings
from pipelines.variables import VariableWrong
from tests.pipeline_cases import NAME, Lab

NOW = datetime(2026, 12, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=400)
RULES = RetentionRules()
NO_PROCESS = 2**22 + 1


class World(Lab):
    """A checkout with an origin, and a state folder that things of any age are put into."""

    def run(self, stamp: str, at: datetime = OLD, *, published: str | None = "0" * 32, snapshot: str = "") -> Path:
        request = RunRequest(usecase=NAME, run_id=f"{NAME}-{stamp}-000000-aaaa", environment="staging")
        folder = open_run(self.settings.runs, request)
        (folder / PID_FILE).write_text(str(NO_PROCESS))
        result = {"sha256": snapshot} if snapshot else None
        Journal(folder).append(Record(step="snapshot", event="finished", time=1.0, result=result))
        (folder / "artifacts" / "train").mkdir(parents=True)
        (folder / "artifacts" / "train" / "model").write_bytes(b"x" * 1000)
        if published:
            Published(mlflow_run=published, records=1).write(folder / PUBLISHED_FILE)
            close_run(open_runs(self.settings.runs)[folder.name])
        age(folder, at)
        return folder

    def bento(self, content: str, at: datetime = OLD) -> str:
        """Its image."""
        built = self.root / "built" / content
        built.mkdir(parents=True)
        (built / "bento.yaml").write_text(content)
        image = keep(built, NAME, f"{NAME}:1", self.settings.bentos).image
        age(self.settings.bentos / NAME, at)
        return image

    def snapshot(self, content: str, at: datetime = OLD) -> Path:
        import hashlib

        data = content.encode()
        uri = _keep(data, hashlib.sha256(data).hexdigest(), NAME, self.settings.snapshots)
        age(Path(uri), at)
        return Path(uri)

    def release(self, version: int, image: str, *, run: str = "f" * 32, data: str = "d" * 12) -> Release:
        release = Release(
            bento=f"{NAME}:{version}", image=image, model=f"{NAME}/{version}", run=run, data=data, code="c" * 40
        )
        open_releases(self.settings).bump(NAME, "staging", release, "a test")
        return release

    def clean(self, rules: RetentionRules = RULES, **how) -> CleanReport:
        return clean(self.settings, rules, now=how.pop("now", NOW), **how)

    def kinds(self, **how) -> dict[str, KindReport]:
        return {kind.kind: kind for kind in self.clean(**how).kinds}


def age(path: Path, at: datetime) -> None:
    for one in (*(path.rglob("*") if path.is_dir() else ()), path):
        os.utime(one, (at.timestamp(), at.timestamp()))


def exists(world: World, image: str) -> bool:
    return (world.settings.bentos / NAME / image.rsplit(":", 1)[1]).is_dir()


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "checkout")


class TestRuns:
    def test_an_old_run_goes_and_the_newest_of_its_use_case_stays(self, world):
        old, newest = world.run("20250101"), world.run("20250102")
        report = world.kinds()["runs"]
        assert (report.removed, report.kept_because) == (1, {"the newest of its use case": 1})
        assert report.removed_bytes > 1000
        assert not old.exists()
        assert [run.folder for run in list_runs(world.settings.runs)] == [newest]

    def test_a_run_that_a_release_came_from_stays_for_good(self, world):
        kept, gone = world.run("20250101", published="a" * 32), world.run("20250102")
        world.run("20250103")
        image = world.bento("one")
        world.release(1, image, run="a" * 32)
        world.release(2, world.bento("two"))
        assert world.kinds()["runs"].kept_because == {"the newest of its use case": 1, "a release came from it": 1}
        assert (kept.exists(), gone.exists()) == (True, False)

    def test_a_journal_that_mlflow_does_not_have_yet_is_kept_and_published_later(self, world):
        unpublished = world.run("20250101", published=None)
        world.run("20250102")
        close_run(open_runs(world.settings.runs)[unpublished.name])
        assert world.kinds()["runs"].kept_because["its journal is not published yet"] == 1
        assert list(open_runs(world.settings.runs)) == [unpublished.name], "its marker was lost; it has one again"

    def test_a_run_under_way_is_kept_however_old(self, world):
        working = world.run("20250101")
        (working / PID_FILE).write_text(str(os.getpid()))
        world.run("20250102")
        report = world.kinds()
        assert report["runs"].kept_because["under way"] == 1
        assert report["temporary"].kept_because["under way"] == 1
        assert (working / "artifacts").exists()

    @pytest.mark.parametrize("name", [REQUEST_FILE, JOURNAL_FILE, PUBLISHED_FILE])
    def test_a_run_that_cannot_be_read_is_kept_and_stops_nothing(self, world, name):
        bad, gone = world.run("20250101"), world.run("20250102")
        world.run("20250103")
        (bad / name).write_text("{\n")
        age(bad, OLD)
        report = world.clean()
        assert not gone.exists()
        assert bad.exists() == (name != REQUEST_FILE), "nothing but its request is lost with it"
        assert report.problems == []

    def test_temporary_models_go_before_the_run(self, world):
        week_old = world.run("20261120", NOW - timedelta(days=8))
        fresh = world.run("20261130", NOW - timedelta(days=1))
        report = world.kinds()
        assert (report["runs"].removed, report["temporary"].removed) == (0, 1)
        assert [(folder / "artifacts").exists() for folder in (week_old, fresh)] == [False, True]
        assert (week_old / JOURNAL_FILE).exists()


class TestBentos:
    def test_what_no_release_needs_goes_with_its_sums(self, world):
        unused, fresh = world.bento("unused"), ""
        world.release(1, world.bento("released"))
        fresh = world.bento("fresh")
        for path in (world.settings.bentos / NAME).glob(f"{fresh.rsplit(':', 1)[1]}*"):
            age(path, NOW)
        age(world.settings.bentos / NAME / unused.rsplit(":", 1)[1], OLD)
        assert world.kinds()["bentos"].removed == 1
        assert sorted(path.suffix for path in (world.settings.bentos / NAME).iterdir()) == ["", "", ".sums", ".sums"]
        with pytest.raises(BentoMissing):
            fetch_bento(world.settings.bentos, unused)

    def test_what_rollbacks_can_restore_is_kept_and_no_more(self, world):
        images = [world.bento(str(number)) for number in range(5)]
        for number, image in enumerate(images, start=1):
            world.release(number, image)
        open_releases(world.settings).rollback(NAME, "staging", "a test")  # 5 is withdrawn, 4 is released
        world.clean(RetentionRules(releases=2))
        assert [exists(world, image) for image in images] == [False, False, True, True, False]

    def test_the_bento_inside_a_released_image_is_kept_with_the_image_s_manifest(self, world):
        inside = world.bento("inside").rsplit(":", 1)[1]
        folder = world.settings.bentos / NAME
        for digest, bento in (("1" * 64, inside), ("2" * 64, "3" * 64)):
            manifest = folder / f"{digest}.manifest.json"
            manifest.write_text(json.dumps({"annotations": {BENTO_DIGEST: f"sha256:{bento}"}}))
            age(manifest, OLD)
        world.release(1, f"registry.example.com/models/{NAME}@sha256:{'1' * 64}")
        world.clean()
        assert {path.name for path in folder.iterdir()} == {inside, f"{inside}.sums", f"{'1' * 64}.manifest.json"}

    def test_a_release_whose_folder_was_deleted_from_git_is_in_history_still(self, world):
        image = world.bento("one")
        world.release(1, image)
        repository = open_releases(world.settings).repository
        repository.commit(lambda _: ({f"apps/{NAME}/staging/release.yaml": None}, "no longer served\n"))
        world.clean()
        assert exists(world, image)

    def test_packing_the_same_again_makes_it_young(self, world):
        image = world.bento("same")
        built = world.root / "built" / "same"
        keep(built, NAME, f"{NAME}:1", world.settings.bentos)
        world.clean(now=datetime.now(UTC))
        assert exists(world, image)

    def test_what_killed_packers_left_goes_after_a_day(self, world):
        for name, at in ((".packing-old", OLD), (".pulling-new", NOW)):
            (world.settings.bentos / name).mkdir(parents=True)
            age(world.settings.bentos / name, at)
        world.clean()
        assert [path.name for path in world.settings.bentos.iterdir()] == [".pulling-new"]


class TestSnapshots:
    def test_only_what_a_release_or_a_kept_run_used_stays(self, world):
        released, used, unused = (world.snapshot(name) for name in ("released", "used", "unused"))
        world.release(1, world.bento("one"), data=released.name[:12])
        world.run("20261130", NOW, snapshot=used.stem)
        report = world.kinds()["snapshots"]
        assert report.kept_because == {"a release was trained on it": 1, "a kept run used it": 1}
        assert [path.exists() for path in (released, used, unused)] == [True, True, False]

    def test_taking_the_same_again_makes_it_young(self, world):
        world.snapshot("same")
        uri = _keep(b"same", world.snapshot("same").stem, NAME, world.settings.snapshots)
        world.clean(now=datetime.now(UTC))
        assert Path(uri).exists()

    def test_what_is_no_snapshot_is_left_alone_and_what_writers_left_is_not(self, world):
        folder = world.snapshot("one").parent
        for name in ("notes.txt", ".0123-ab.tmp"):
            (folder / name).touch()
            age(folder / name, OLD)
        assert world.kinds()["snapshots"].kept_because == {"no snapshot": 1}
        assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_logs_and_reports_age_but_what_a_process_writes_stays(world):
    logs, reports = world.settings.logs, world.settings.home / "reports" / "staging" / NAME
    (logs / "triggers").mkdir(parents=True)
    reports.mkdir(parents=True)
    for path in (logs / "monitor.log", logs / "triggers" / "a-1.log", reports / "20250101-000000-alert.html"):
        path.write_text("x")
        age(path, OLD)
    (logs / "new.log").touch()
    os.utime(logs / "new.log", (NOW.timestamp(), NOW.timestamp()))
    report = world.kinds()
    assert report["logs"].kept_because == {"being written": 1, "used in the last 30 days": 1}
    assert (report["logs"].removed, report["reports"].removed) == (1, 1)


class TestSafety:
    def fill(self, world: World) -> None:
        world.run("20250101")
        world.run("20250102")
        world.bento("unused")
        world.snapshot("unused")

    def test_a_dry_run_says_the_same_and_removes_nothing(self, world):
        self.fill(world)
        before = sorted(world.settings.home.rglob("*"))
        planned = world.clean(dry_run=True)
        assert {*world.settings.home.rglob("*")} - {*before} <= {
            world.settings.home / LOCK_FILE,
            *(world.settings.home / "cache").rglob("*"),
            world.settings.home / "cache",
        }
        assert {*before} <= {*world.settings.home.rglob("*")}
        done = world.clean()
        assert [(kind.kind, kind.removed) for kind in planned.kinds] == [(k.kind, k.removed) for k in done.kinds]
        assert sum(kind.removed for kind in done.kinds) == 4
        assert sum(kind.removed for kind in world.clean().kinds) == 0

    def test_where_git_cannot_be_read_nothing_goes_that_a_release_may_need(self, world, tmp_path):
        self.fill(world)
        away = Settings.load({"MLOPS_REMOTE": str(tmp_path / "away.git")}, root=world.root, home=world.settings.home)
        report = clean(away, RULES, now=NOW)
        assert "what releases need is not known" in report.problems[0]
        removed = {kind.kind: kind.removed for kind in report.kinds if kind.removed}
        assert removed == {"temporary": 2}

    def test_one_clean_at_a_time(self, world):
        world.settings.home.mkdir(exist_ok=True)
        with FileLock(world.settings.home / LOCK_FILE), pytest.raises(CleanInProgress):
            world.clean()

    def test_killed_in_the_middle_it_leaves_nothing_half_there_and_ends_the_next_time(self, world):
        self.fill(world)
        image = world.bento("another")
        code = (
            "import os, shutil, signal, sys\n"
            "from datetime import datetime\nfrom pathlib import Path\n"
            "from pipelines.retention.clean import clean\nfrom pipelines.retention.rules import RetentionRules\n"
            "from pipelines.settings import Settings\n"
            "real, left = shutil.rmtree, [int(sys.argv[2])]\n"
            "def rmtree(path, *a, **k):\n"
            "    if '.removed-' in str(path):\n"
            "        left[0] -= 1\n"
            "        next(p for p in Path(path).rglob('*') if p.is_file()).unlink()\n"
            "        if left[0] < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(path, *a, **k)\n"
            "shutil.rmtree = rmtree\n"
            "clean(Settings.load({}, root=Path(sys.argv[1])), RetentionRules(),"
            " now=datetime.fromisoformat(sys.argv[3]))\n"
        )
        for removed_before in (0, 1, 2):
            command = [sys.executable, "-c", code, str(world.root), str(removed_before), NOW.isoformat()]
            assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
            assert all((run.folder / JOURNAL_FILE).exists() for run in list_runs(world.settings.runs))
            if not exists(world, image):
                with pytest.raises(BentoMissing):
                    fetch_bento(world.settings.bentos, image)
        world.clean()
        assert [path for path in world.settings.home.rglob("*") if ".removed-" in path.name] == []
        assert sum(kind.removed for kind in world.clean().kinds) == 0

    def test_what_cannot_be_removed_is_named_and_stops_nothing(self, world, monkeypatch):
        self.fill(world)
        remove = Path.rename
        monkeypatch.setattr(Path, "rename", lambda self, to: 1 / 0 if self.name.startswith(NAME) else remove(self, to))
        report = world.clean()
        assert any("could not be removed" in problem for problem in report.problems)
        kinds = {kind.kind: kind for kind in report.kinds}
        assert kinds["runs"].kept_because["it could not be removed"] == 1
        assert kinds["snapshots"].removed == 1

    def test_it_is_due_once_a_day(self, world):
        assert is_due(world.settings, NOW)
        world.clean()
        assert not is_due(world.settings, NOW + timedelta(hours=23))
        assert is_due(world.settings, NOW + timedelta(hours=25))
        (world.settings.home / CLEANED_FILE).write_text("broken")
        assert is_due(world.settings, NOW)


class TestRules:
    def test_they_come_from_the_environment(self):
        rules = RetentionRules.load({"MLOPS_KEEP_RUNS": "10d", "MLOPS_KEEP_RELEASES": "3"})
        assert rules == RetentionRules(runs=timedelta(days=10), releases=3)
        days = dict.fromkeys(("runs", "temporary", "reports", "bentos", "snapshots", "logs"), timedelta(days=5))
        assert rules.with_days(5) == RetentionRules(**days, releases=3)

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("MLOPS_KEEP_RUNS", "soon", "MLOPS_KEEP_RUNS.*soon"),
            ("MLOPS_KEEP_BENTOS", "1d", "MLOPS_KEEP_BENTOS.*2 days"),
            ("MLOPS_KEEP_RELEASES", "0", "MLOPS_KEEP_RELEASES.*1"),
        ],
    )
    def test_a_wrong_value_is_named(self, name, value, words):
        with pytest.raises(VariableWrong, match=words):
            RetentionRules.load({name: value})


class TestCommand:
    def test_it_shows_what_would_go_and_what_is_kept_and_why(self, world):
        world.run("20200101")
        world.run("20200102")
        said = CliRunner().invoke(main, ["--root", str(world.root), "clean", "--dry-run"])
        assert said.exit_code == 0, said.output
        row = next(line.split() for line in said.stdout.splitlines() if line.startswith("runs"))
        assert row[1] == "1"
        assert "the newest of its use case" in said.stdout

    def test_as_json(self, world):
        world.run("20200101")
        done = CliRunner().invoke(main, ["--root", str(world.root), "clean", "--keep-days", "2", "--json"])
        document = json.loads(done.stdout)
        assert (document["schema"], document["dry_run"]) == (1, False)
        assert [kind["kind"] for kind in document["kinds"]] == [
            "runs",
            "temporary",
            "reports",
            "bentos",
            "snapshots",
            "logs",
        ]


class TestTheMonitor:
    @pytest.mark.parametrize(("watch", "cleans"), [("git", True), ("cluster", False)])
    def test_it_cleans_by_itself_where_it_watches_git(self, world, monkeypatch, watch, cleans):
        from pipelines.monitor import monitor
        from pipelines.monitor.options import Options
        from tests.monitor_cases import Service

        looked = threading.Event()

        def due(settings: Settings, now: datetime) -> bool:
            looked.set()
            return is_due(settings, now)

        monkeypatch.setattr(monitor, "CLEAN_SECONDS", 0.01)
        monkeypatch.setattr(monitor, "is_due", due)
        old = world.run("20200101")
        world.run("20200102")
        with Service(world.settings.home, options=Options(watch=watch)):
            looked.wait(10 if cleans else 0.3)
            end = time.monotonic() + 10
            while cleans and not (world.settings.home / CLEANED_FILE).exists() and time.monotonic() < end:
                time.sleep(0.02)
        assert looked.is_set() == cleans
        assert old.exists() != cleans


class TestInACluster:
    FOLDER = Path(__file__).parents[2] / "infrastructure" / "platform" / "kubeflow-pipelines"

    def read(self, name: str) -> dict:
        return yaml.safe_load((self.FOLDER / name).read_text())

    def test_its_command_can_be_said_and_its_sources_of_settings_are_there(self):
        (container,) = self.read("clean.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        result = CliRunner().invoke(main, [*container["args"], "--help"])
        assert result.exit_code == 0
        settings, keys = container["envFrom"]
        assert settings["configMapRef"]["name"] == self.read("settings.yaml")["metadata"]["name"]
        assert keys["secretRef"]["optional"]
        token = Path(self.read("settings.yaml")["data"]["MLOPS_GIT_TOKEN_FILE"]).parent
        assert str(token) in {mount["mountPath"] for mount in container["volumeMounts"]}

    def test_nothing_reaches_it(self):
        policy, job = self.read("clean-networkpolicy.yaml")["spec"], self.read("clean.yaml")
        labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert policy["policyTypes"] == ["Ingress"]
        assert "ingress" not in policy
