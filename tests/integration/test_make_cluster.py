"""What `make cluster` does before there is a cluster: push the working tree, and say what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.git.process import run_git

SCRIPT = Path(__file__).parents[2] / ".ci" / "cluster"
RELEASE = "apps/flights/local/release.yaml"
AUTHOR = {
    f"GIT_{role}_{part}": "somebody@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
}


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The cluster's Git server: a bare repository without a commit."""
    path = tmp_path / "server.git"
    run_git(["init", "--quiet", "--bare", "--initial-branch=main", str(path)])
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with the script in it."""
    path = tmp_path / "checkout"
    (path / ".ci").mkdir(parents=True)
    shutil.copy2(SCRIPT, path / ".ci" / "cluster")
    (path / "apps" / "flights" / "local").mkdir(parents=True)
    (path / "apps" / "flights" / "usecase.yaml").write_text("name: flights\n")
    (path / ".gitignore").write_text("secret\n")
    run_git(["init", "--quiet", "--initial-branch=work", "."], cwd=path)
    commit(path, "start")
    return path


def commit(folder: Path, message: str) -> None:
    run_git(["add", "-A"], cwd=folder)
    run_git(["commit", "--quiet", "-m", message], cwd=folder, env=AUTHOR)


def cluster(checkout: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [shutil.which("bash") or "bash", ".ci/cluster", *words],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_server(server: Path, path: str) -> str:
    return run_git(["show", f"main:{path}"], cwd=server).stdout


def release_by_pipeline(server: Path, scratch: Path, text: str) -> None:
    run_git(["clone", "--quiet", str(server), str(scratch)])
    (scratch / RELEASE).parent.mkdir(parents=True, exist_ok=True)
    (scratch / RELEASE).write_text(text)
    commit(scratch, "release(flights)")
    run_git(["push", "--quiet", "origin", "HEAD:main"], cwd=scratch)


def test_the_working_tree_arrives_as_it_is_also_what_is_not_committed(checkout, server):
    (checkout / "apps" / "flights" / "usecase.yaml").write_text("name: flights # changed\n")
    (checkout / "new.yaml").write_text("new: true\n")
    (checkout / "secret").write_text("ignored\n")
    run_git(["add", "new.yaml"], cwd=checkout)
    before = run_git(["status", "--porcelain"], cwd=checkout).stdout
    done = cluster(checkout, "push", str(server))
    assert done.returncode == 0, done.stderr
    assert "changed" in on_server(server, "apps/flights/usecase.yaml")
    assert "new: true" in on_server(server, "new.yaml")
    assert "secret" not in run_git(["ls-tree", "-r", "--name-only", "main"], cwd=server).stdout.splitlines()
    assert run_git(["status", "--porcelain"], cwd=checkout).stdout == before
    assert run_git(["log", "--format=%s"], cwd=checkout).stdout == "start\n"
    assert "has this working tree already" in cluster(checkout, "push", str(server)).stdout


def test_releases_made_in_the_cluster_outlive_the_next_push(checkout, server, tmp_path):
    (checkout / RELEASE).write_text("bento: old\n")
    cluster(checkout, "push", str(server))
    release_by_pipeline(server, tmp_path / "pipeline", "bento: flights:7\n")
    (checkout / "new.yaml").write_text("new: true\n")
    assert cluster(checkout, "push", str(server)).returncode == 0
    assert on_server(server, RELEASE) == "bento: flights:7\n"
    assert on_server(server, "new.yaml") == "new: true\n"
    assert "release(flights)" in run_git(["log", "--format=%s", "main"], cwd=server).stdout
    assert (checkout / RELEASE).read_text() == "bento: old\n"


def test_a_shallow_clone_can_be_pushed_too(checkout, server, tmp_path):
    (checkout / "more").write_text("more\n")
    commit(checkout, "more")
    run_git(["clone", "--quiet", "--depth=1", f"file://{checkout}", str(tmp_path / "shallow")])
    done = cluster(tmp_path / "shallow", "push", str(server))
    assert done.returncode == 0, done.stderr
    assert on_server(server, "more") == "more\n"


def test_a_server_that_is_away_is_an_error_with_a_hint(checkout):
    done = cluster(checkout, "push", "http://127.0.0.1:9/nobody.git")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "hint:" in done.stderr


def test_a_missing_tool_is_named_with_where_to_get_it(checkout, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("git", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    done = cluster(checkout, "up", path=str(tools))
    assert done.returncode == 1
    assert "docker is not installed" in done.stderr
    assert "https://docs.docker.com" in done.stderr
