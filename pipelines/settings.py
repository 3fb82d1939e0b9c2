"""Where things are: the checkout, the state folder, the tracking store, the Git remote.

Everything has an embedded default under the state folder and can be set by an environment variable; docs/settings.md
lists them all. The ones behind this class are declared in `pipelines.places`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.environments import Environments, read_environments
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    from pydantic import SecretStr


class NoCheckout(MlopsError):
    """No folder with apps/ was found."""


class StateFolderNotWritable(MlopsError):
    """The state folder cannot be made or written to."""


class SettingMissing(MlopsError):
    """A setting that another one needs."""


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
    def environments(self) -> Environments:
        """Those of the checkout, as its file says now."""
        return read_environments(self.root)

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
        """Read the environment; `root` and `home` given here win over it.

        Raises:
            VariableWrong: a variable has a value that it cannot have.
            SettingMissing: a variable is set, and one that it needs is not.
            UnknownEnvironment: the repository has no such environment.
            NoCheckout: there is no checkout here.
        """
        from pipelines.places import Places  # costs 60 ms, which `mlops --help` need not pay

        given = Places.load(environ)
        root = (root or _root(given.root)).resolve()
        home = Path(home or given.home or root / ".mlops").expanduser().resolve()
        _require_base(given.images, given.base_image)
        return cls(
            root=root,
            home=home,
            environment=_environment(root, given.environment),
            tracking_uri=given.tracking_uri or f"sqlite:///{home / 'mlflow.db'}",
            snapshots=given.snapshots or str(home / "snapshots"),
            bentos=given.bentos or home / "bentos",
            remote=given.remote or str(home / "origin.git"),
            branch=given.branch,
            publish_later=given.publish_later,
            steps_apart=given.steps_apart,
            code=given.code,
            images=given.images.rstrip("/"),
            base_image=given.base_image,
            github_repository=given.github_repository,
            github_api=given.github_api,
            store=_shown(given.store) or f"sqlite:///{home / 'monitor.db'}",
            monitor=given.monitor.rstrip("/"),
            monitor_token=_shown(given.monitor_token),
            privacy_key=_shown(given.privacy_key),
        )


def _environment(root: Path, given: str | None) -> str:
    """The environment that was named, or the one that runs release to."""
    environments = read_environments(root)
    return environments.get(given).name if given else environments.default.name


def _require_base(images: str, base_image: str) -> None:
    """Refused here and now: a run would notice it only after it has trained. Names are checked by the run."""
    if images and not base_image:
        raise SettingMissing(
            "MLOPS_IMAGES is set, but MLOPS_BASE_IMAGE is not",
            hint="name the serving base that images build on; docs/images.md says how it is made",
        )


def _shown(secret: "SecretStr | None") -> str:
    return secret.get_secret_value() if secret else ""


def _root(given: Path | None) -> Path:
    if given:
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "apps").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise NoCheckout(
        f"no apps/ folder in {here} or above it",
        hint="run this inside a clone of the repository, or set MLOPS_ROOT",
    )


def require_writable(home: Path) -> None:
    """Make the state folder where it is missing, and see whether a file can be put into it.

    Raises:
        StateFolderNotWritable: it cannot be made, or nothing can be written to it.
    """
    probe = home / f".writable-{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StateFolderNotWritable(
            f"the state folder {home} cannot be written to: {error.strerror}",
            hint="choose another with --home or MLOPS_HOME",
        ) from error
