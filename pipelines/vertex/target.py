"""What Git says that Vertex AI shall serve: a checkout's release.yaml and usecase.yaml, with the release's commit."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.git.process import run_git
from pipelines.release.release import Release, release_path
from pipelines.usecase import load_usecase
from pipelines.vertex.config import Canary, VertexConfig
from pipelines.vertex.errors import ImageElsewhere, ReleaseNotCommitted
from pipelines.vertex.machines import MachineSize, size_of

MANAGED = {"managed_by": "mlops-blueprint"}
LONGEST_LABEL = 63


@dataclass(frozen=True)
class VertexTarget:
    """What one use case's endpoint shall serve. `release` is None where nothing is released (any more)."""

    usecase: str
    environment: str
    release: Release | None
    commit: str
    is_rollback: bool
    size: MachineSize | None
    canary: Canary | None
    service_account: str | None = None
    key: str | None = None

    @property
    def resource(self) -> str:
        """The id of its endpoint and of its model, so that both are found without a list or a state file."""
        return f"{self.usecase}-{self.environment}"

    @property
    def alias(self) -> str:
        """Names a version of the model by its image: the same image is never uploaded twice."""
        assert self.release  # noqa: S101 - nothing is deployed without one
        return self.release.digest.replace(":", "-")

    @property
    def labels(self) -> dict[str, str]:
        """What people and the next run see on endpoints and versions."""
        labels = {**MANAGED, "usecase": self.usecase, "environment": self.environment}
        if self.release is None:
            return labels
        return {
            **labels,
            "bento": as_label(self.release.bento),
            "image_digest": as_label(self.release.digest.removeprefix("sha256:")),
            "release_commit": as_label(self.commit),
        }


def as_label(text: str) -> str:
    """A label's value may have small letters, digits, - and _, and 63 of them."""
    kept = (
        char if char.isascii() and (char.islower() or char.isdigit() or char == "-") else "_" for char in text.lower()
    )
    return "".join(kept)[:LONGEST_LABEL]


def read_target(root: Path, usecase: str, environment: str, config: VertexConfig) -> VertexTarget:
    """Raises what reading the two files raises, and ReleaseNotCommitted."""
    path = release_path(usecase, environment)
    found = load_usecase(root, usecase, environment)
    common = {"canary": config.endpoints.canary, "service_account": config.endpoints.service_account, "key": config.key}
    if not (root / path).is_file():
        return VertexTarget(usecase, environment, None, "", is_rollback=False, size=None, **common)  # type: ignore[arg-type]
    release = Release.from_yaml((root / path).read_text(encoding="utf-8", errors="replace"), path)
    if not release.image.partition("/")[0].endswith(("-docker.pkg.dev", "gcr.io")):
        raise ImageElsewhere(
            f"{path}: data.image: Vertex AI takes images of Artifact Registry alone (got {release.image})",
            hint="set MLOPS_IMAGES to a repository there, such as europe-west4-docker.pkg.dev/project/models",
        )
    commit, is_rollback = _commit_of(root, path)
    size = size_of(found.serving, config.endpoints.machine)
    return VertexTarget(usecase, environment, release, commit, is_rollback, size, **common)  # type: ignore[arg-type]


def _commit_of(root: Path, path: str) -> tuple[str, bool]:
    """The commit that wrote the file as it is, and whether that took an earlier release back."""
    if run_git(["rev-parse", "--is-shallow-repository"], cwd=root, check=False).stdout.strip() == "true":
        raise ReleaseNotCommitted(
            "the checkout is shallow, so it does not say which commit released what",
            hint="git fetch --unshallow; in GitHub Actions fetch-depth: 0",
        )
    form = "%H %(trailers:key=Withdrawn,valueonly,separator=%x20)"
    asked = run_git(["log", "-1", f"--format={form}", "--", path], cwd=root, check=False).stdout.split()
    changed = run_git(["status", "--porcelain", "--", path], cwd=root, check=False).stdout.strip()
    if changed or not asked:
        raise ReleaseNotCommitted(
            f"{path} is not as Git has it; only what is committed is deployed",
            hint=f"`git log -p {path}` shows what is, `git checkout {path}` takes the edit back",
        )
    return asked[0], len(asked) > 1
