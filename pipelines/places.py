"""The variables behind `pipelines.settings.Settings`, as they are set; Settings fills in what follows from them."""

from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from pipelines.variables import Variables, variable


class Places(Variables):
    """Read by every command, by each step of a pipeline and by the monitor. Each has a default that works on one
    machine; a cluster sets them in the ConfigMap `mlops-settings`."""

    title: ClassVar[str] = "Where things are"

    root: Path | None = variable(
        "MLOPS_ROOT", None, "The checkout with `apps/`.", shown="the nearest folder upwards that has `apps/`"
    )
    home: Path | None = variable("MLOPS_HOME", None, "The state folder.", shown="`.mlops` in the checkout")
    environment: str | None = variable(
        "MLOPS_ENVIRONMENT",
        None,
        "The environment that a run releases to, one of [environments.yaml](environments.md).",
        shown="the first that takes runs",
    )
    tracking_uri: str | None = variable(
        "MLOPS_TRACKING_URI", None, "MLflow's tracking and registry.", shown="SQLite in the state folder"
    )
    snapshots: str | None = variable(
        "MLOPS_SNAPSHOTS", None, "Data snapshots: any fsspec URL.", shown="`snapshots` in the state folder"
    )
    bentos: Path | None = variable("MLOPS_BENTOS", None, "Packed Bentos.", shown="`bentos` in the state folder")
    remote: str | None = variable(
        "MLOPS_REMOTE",
        None,
        "The Git repository that holds each `release.yaml`.",
        shown="the bare `origin.git` in the state folder",
    )
    branch: str = variable("MLOPS_BRANCH", "main", "Its branch.")
    images: str = variable(
        "MLOPS_IMAGES",
        "",
        "Where images go, one repository a use case below it, as in `registry.example.com/models`. It needs "
        "`MLOPS_BASE_IMAGE`.",
        shown="no image; a release names a Bento of the store",
    )
    base_image: str = variable(
        "MLOPS_BASE_IMAGE", "", "The serving base that images build on, by digest or tag; see [images](images.md)."
    )
    github_repository: str = variable(
        "MLOPS_GITHUB_REPOSITORY",
        "",
        "`owner/name`, where production is released by pull request.",
        shown="that of `MLOPS_REMOTE`",
    )
    github_api: str = variable(
        "MLOPS_GITHUB_API",
        "",
        "The API of a GitHub Enterprise server, as in `https://github.example.com/api/v3`.",
        shown="github.com's",
    )
    store: SecretStr | None = variable(
        "MLOPS_STORE",
        None,
        "The prediction store: an SQLAlchemy URL of SQLite or PostgreSQL.",
        shown="SQLite in the state folder",
    )
    privacy_key: SecretStr | None = variable(
        "MLOPS_PRIVACY_KEY",
        None,
        "The key that hashes columns where a use case asks for it.",
        shown="one made in the state folder",
    )
    monitor: str = variable("MLOPS_MONITOR_URL", "", "The monitor, where predictions and labels go.")
    monitor_token: SecretStr | None = variable("MLOPS_MONITOR_TOKEN", None, "Bearer token for the monitor.")
    code: str = variable(
        "MLOPS_CODE",
        "",
        "The commit that an image was built from, where there is no checkout to ask. The pipeline image sets it.",
    )
    publish_later: bool = variable(
        "MLOPS_PUBLISH_LATER", False, "Steps leave it to the runner to publish their records to MLflow.", internal=True
    )
    steps_apart: bool = variable(
        "MLOPS_STEPS_APART", False, "Each step is a container of its own, whose disk goes with it.", internal=True
    )
