"""The embedded platform's own origin: a bare repository that starts as a copy of the checkout.

Releases are committed there, never to the user's branch. When the checkout has new commits, one merge commit brings
them in and keeps every release.yaml of the origin.
"""

import shutil
import tempfile
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.git.process import run_git
from pipelines.git.repository import GitTree, Repository
from pipelines.release.release import RELEASE_PATH

CODE_PATHS = ("apps", "pipelines", "bento", "requirements.lock")


class NotACheckout(MlopsError):
    """The folder is not a Git checkout, so its versions have no names."""


def ensure_origin(path: Path, checkout: Path, branch: str = "main") -> str:
    """Create the origin from the checkout's last commit, or bring newer commits into it; gives the origin's head."""
    head = _head(checkout)
    if not (path / "HEAD").is_file():
        _create(path, checkout, head, branch)
        return head
    return _bring_in(path, checkout, head, branch)


def code_version(checkout: Path) -> str:
    """The checkout's commit; `+dirty` is added when code, use cases or the lock differ from it."""
    try:
        head = _head(checkout)
    except NotACheckout:
        return "unknown"
    changed = run_git(["status", "--porcelain", "--", *CODE_PATHS], cwd=checkout).stdout.strip()
    return f"{head}+dirty" if changed else head


def _head(checkout: Path) -> str:
    done = run_git(["rev-parse", "--verify", "HEAD^{commit}"], cwd=checkout, check=False)
    if done.returncode != 0:
        raise NotACheckout(
            f"{checkout} is not a Git checkout with a commit; a release must name the code it came from",
            hint="clone the repository, or: git init && git add -A && git commit -m start",
        )
    return done.stdout.strip()


def _create(path: Path, checkout: Path, head: str, branch: str) -> None:
    """Made beside and moved into place, so that an interrupted creation leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".origin-") as scratch:
        made = Path(scratch) / "origin.git"
        run_git(["init", "--quiet", "--bare", f"--initial-branch={branch}", str(made)])
        _copy_objects(checkout, made, head)
        run_git(["update-ref", f"refs/heads/{branch}", head], cwd=made)
        if path.exists():
            shutil.rmtree(path)
        made.rename(path)


def _copy_objects(checkout: Path, origin: Path, head: str) -> None:
    """Objects are fetched, not shared: the origin survives the checkout."""
    shallow = run_git(["rev-parse", "--is-shallow-repository"], cwd=checkout).stdout.strip() == "true"
    arguments = ["fetch", "--quiet", "--no-tags", *(["--update-shallow"] if shallow else []), str(checkout), "HEAD"]
    run_git(arguments, cwd=origin)
    run_git(["cat-file", "-e", head], cwd=origin)


def _bring_in(path: Path, checkout: Path, head: str, branch: str) -> str:
    repository = Repository(str(path), branch, path.with_name("cache") / "origin-sync.git")
    origin_head = repository.fetch()
    known = run_git(["merge-base", "--is-ancestor", head, origin_head], cwd=path, check=False)
    if known.returncode == 0:
        return origin_head
    _copy_objects(checkout, path, head)
    run_git(["fetch", "--quiet", "--no-tags", "--update-shallow", str(path), head], cwd=repository.cache, check=False)
    run_git(["fetch", "--quiet", "--no-tags", str(checkout), "HEAD"], cwd=repository.cache, check=False)
    for _ in range(5):
        merged = _merge_commit(repository, repository.fetch(), head)
        if repository.push_ref(merged, branch):
            return merged
    return repository.fetch()


def _merge_commit(repository: Repository, origin_head: str, head: str) -> str:
    """The checkout's tree with the origin's releases, on top of both."""
    origin = GitTree(repository, origin_head)
    releases = [path_ for path_ in origin.paths("apps") if RELEASE_PATH.match(path_)]
    with tempfile.TemporaryDirectory() as scratch:
        env = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        run_git(["read-tree", head], cwd=repository.cache, env=env)
        lines = ""
        for release in releases:
            blob = run_git(["rev-parse", f"{origin_head}:{release}"], cwd=repository.cache).stdout.strip()
            lines += f"100644 {blob}\t{release}\n"
        run_git(["update-index", "--add", "--index-info"], cwd=repository.cache, stdin=lines, env=env)
        tree = run_git(["write-tree"], cwd=repository.cache, env=env).stdout.strip()
    return repository.make_commit_of_tree(tree, [origin_head, head], f"Bring in the checkout's commit {head[:12]}\n")
