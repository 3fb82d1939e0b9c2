"""Where things are: the checkout, the state folder, the tracking store, the Git remote.

Everything has an embedded default under the state folder and can be set by an environment variable:

    MLOPS_ROOT          the checkout with apps/            (default: the nearest folder upwards that has apps/)
    MLOPS_HOME          the state folder                   (default: <root>/.mlops)
    MLOPS_ENVIRONMENT   where a run releases to            (default: staging)
    MLOPS_TRACKING_URI  MLflow                             (default: SQLite in the state folder)
    MLOPS_SNAPSHOTS     data snapshots, any fsspec URL     (default: the state folder)
    MLOPS_BENTOS        packed Bentos                      (default: the state folder)
    MLOPS_REMOTE        the Git repository with release.yaml (default: the bare origin in the state folder)
    MLOPS_BRANCH        its branch                         (default: main)
    MLOPS_IMAGES        where images go, one repository a use case below it, as in registry.example.com/models
                        (default: nowhere; a release names a Bento of the store)
    MLOPS_BASE_IMAGE    the serving base that they stand on, by digest or tag; bento/Dockerfile makes it
    MLOPS_STORE         the prediction store, an SQLAlchemy URL of SQLite or PostgreSQL (default: SQLite in the state
                        folder)
    MLOPS_PRIVACY_KEY   what columns are hashed with where a use case asks for it (default: one made in the state
                        folder)
    MLOPS_MONITOR_URL   the monitor, where predictions and labels go (default: none)
    MLOPS_MONITOR_TOKEN what it lets in with
    MLOPS_PUBLISH_LATER 1: steps leave it to the runner to publish their records to MLflow
    MLOPS_STEPS_APART   1: each step is a container of its own, whose disk goes with it
    MLOPS_CODE          the commit that this code was built from, where there is no checkout to ask (default: none)

    MLOPS_GITHUB_REPOSITORY  owner/name, where production is released by pull request (default: that of MLOPS_REMOTE)
    MLOPS_GITHUB_API    of a GitHub Enterprise server (default: github.com's)

Logins to Git and to GitHub: see pipelines.git.credentials and pipelines.git.github.
Logins to registries, and registries without TLS: see pipelines.packaging.oci.credentials.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.packaging.oci.reference import Reference

ENVIRONMENTS = ("local", "staging", "production")


class NoCheckout(MlopsError):
    """No folder with apps/ was found."""


class SettingMissing(MlopsError):
    """A setting that another one needs."""


class UnknownEnvironment(MlopsError):
    """An environment that the repository does not have."""


@dataclass(frozen=True)
class Settings:
    """Read once at the edge (CLI, KFP component) and passed down."""

    root: Path
    home: Path
    environment: str
    tracking_uri: str
    snapshots: str
    bentos: Path
    remote: str
    branch: str
    publish_later: bool = False
    steps_apart: bool = False
    code: str = ""
    images: str = ""
    base_image: str = ""
    github_repository: str = ""
    github_api: str = ""
    store: str = field(default="", repr=False)  # its URL may hold a password
    monitor: str = ""
    monitor_token: str = field(default="", repr=False)
    privacy_key: str = field(default="", repr=False)

    @property
    def runs(self) -> Path:
        """One folder for each pipeline run."""
        return self.home / "runs"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def environ(self) -> dict[str, str]:
        """What makes a child process load the same places."""
        return {
            "MLOPS_ROOT": str(self.root),
            "MLOPS_HOME": str(self.home),
            "MLOPS_ENVIRONMENT": self.environment,
            "MLOPS_TRACKING_URI": self.tracking_uri,
            "MLOPS_SNAPSHOTS": self.snapshots,
            "MLOPS_BENTOS": str(self.bentos),
            "MLOPS_REMOTE": self.remote,
            "MLOPS_BRANCH": self.branch,
        }

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, *, root: Path | None = None, home: Path | None = None
    ) -> "Settings":
        """Read the environment; `root` and `home` given here win over it."""
        env = os.environ if environ is None else environ
        root = (root or _root(env)).resolve()
        home = Path(home or env.get("MLOPS_HOME") or root / ".mlops").expanduser().resolve()
        return cls(
            root=root,
            home=home,
            environment=known_environment(env.get("MLOPS_ENVIRONMENT", "staging")),
            tracking_uri=env.get("MLOPS_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
            snapshots=env.get("MLOPS_SNAPSHOTS", str(home / "snapshots")),
            bentos=Path(env.get("MLOPS_BENTOS", home / "bentos")),
            remote=env.get("MLOPS_REMOTE", str(home / "origin.git")),
            branch=env.get("MLOPS_BRANCH", "main"),
            publish_later=env.get("MLOPS_PUBLISH_LATER", "") == "1",
            steps_apart=env.get("MLOPS_STEPS_APART", "") == "1",
            code=env.get("MLOPS_CODE", ""),
            github_repository=env.get("MLOPS_GITHUB_REPOSITORY", ""),
            github_api=env.get("MLOPS_GITHUB_API", ""),
            store=env.get("MLOPS_STORE", f"sqlite:///{home / 'monitor.db'}"),
            monitor=env.get("MLOPS_MONITOR_URL", "").rstrip("/"),
            monitor_token=env.get("MLOPS_MONITOR_TOKEN", ""),
            privacy_key=env.get("MLOPS_PRIVACY_KEY", ""),
            **_images(env),
        )


def known_environment(name: str) -> str:
    """The name, or an error that lists the environments there are."""
    if name not in ENVIRONMENTS:
        raise UnknownEnvironment(f"{name!r} is no environment; allowed: {', '.join(ENVIRONMENTS)}")
    return name


def _images(env: Mapping[str, str]) -> dict[str, str]:
    """Where images go, refused here and now: a run would notice it only after it has trained."""
    images, base = env.get("MLOPS_IMAGES", "").rstrip("/"), env.get("MLOPS_BASE_IMAGE", "")
    if images:
        Reference.repository_of(images)
        if not base:
            raise SettingMissing(
                "MLOPS_IMAGES is set, but MLOPS_BASE_IMAGE is not",
                hint="name the serving base that images stand on; docs/images.md says how it is made",
            )
        Reference.parse(base)
    return {"images": images, "base_image": base}


def _root(env: Mapping[str, str]) -> Path:
    if env.get("MLOPS_ROOT"):
        return Path(env["MLOPS_ROOT"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "apps").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise NoCheckout(
        f"no apps/ folder in {here} or above it",
        hint="run this inside a clone of the repository, or set MLOPS_ROOT",
    )
