"""Steps as containers of their own: nothing on a step's disk outlives it.

What a step hands on is an artifact of the pipeline, or lies in a store that all of them reach: snapshots in a bucket,
records in MLflow, images in a registry, releases in Git. This is refused before anything is trained, not at the end.
"""

from pipelines.errors import MlopsError
from pipelines.settings import Settings


class NotShared(MlopsError):
    """A store lies on the step's own disk, where no other step would find it."""


def require_shared_stores(settings: Settings) -> None:
    """Raises NotShared."""
    if not settings.tracking_uri.startswith(("http://", "https://")):
        raise _refused("MLOPS_TRACKING_URI", settings.tracking_uri, "the address of an MLflow server, http(s)://…")
    if "://" not in settings.snapshots or settings.snapshots.startswith("file://"):
        raise _refused("MLOPS_SNAPSHOTS", settings.snapshots, "a bucket, as in s3://mlops/snapshots")
    if settings.remote.startswith(("/", "file://")):
        raise _refused("MLOPS_REMOTE", settings.remote, "the Git repository that Flux reads, https:// or ssh")
    if not settings.images:
        raise NotShared(
            "MLOPS_IMAGES is not set, so the Bento would stay on the disk of the step that packs it",
            hint="name the registry that images go to, and MLOPS_BASE_IMAGE; docs/images.md says how",
        )


def _refused(name: str, value: str, right: str) -> NotShared:
    return NotShared(
        f"each step runs in a container of its own, but {name} is {value!r}, on that container's disk",
        hint=f"set it to {right}; in a cluster that is the ConfigMap mlops-settings",
    )
