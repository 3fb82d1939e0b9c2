"""Models in the MLflow registry: a version per accepted candidate, aliases for their roles.

    challenger    the newest version that passed its gate
    champion      the version released where runs release to
    production    the version released to production; so for each environment that takes another one's releases

Git is the truth about what is released; the aliases mirror it for people and tools that look at MLflow.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.formats.load import format_of
from bento.signature import SIGNATURE_FILE, Signature
from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.runs.tracking import mlflow_client

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# From a model folder and its mlflow.models.ModelSignature, write the folder's MLmodel.
AddFlavor = Callable[[Path, Any], None]
MODEL_ARTIFACT = "registered-model"
CONTENT_TAG = "content"


class RegistryUnavailable(MlopsError):
    """MLflow could not be reached, or refused."""


class ModelVersionMissing(MlopsError):
    """The registry has no such model version, or its files are gone."""


class VersionTaken(MlopsError):
    """The registry gave a number that Git knows as another model's."""


class ModelVersion(Document):
    """A registered model: `name/version`, and the MLflow run that made it."""

    KIND = "model-version"

    name: str
    version: str
    run: str

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def register(
    tracking_uri: str,
    run: str,
    name: str,
    model: Path,
    signature: Signature,
    tags: dict[str, str],
    *,
    add_flavor: AddFlavor | None = None,
) -> ModelVersion:
    """Register the exported model of an MLflow run. A run has one version at most: asking again gives the same.

    `add_flavor` writes MLflow's own description of the format; without it, MLflow loads the model with bento.runtime.

    Raises:
        RegistryUnavailable: MLflow could not be reached, or refused.
    """
    client = mlflow_client(tracking_uri)

    def make_loadable(folder: Path) -> None:
        if not (folder / "MLmodel").exists():
            (add_flavor or _add_pyfunc_flavor)(folder, _mlflow_signature(signature))

    try:
        existing = _version_of_run(client, name, run)
        version = existing or _create_version(client, run, name, model, make_loadable, tags)
        client.set_registered_model_alias(name, "challenger", version)
    except MlopsError:
        raise
    except Exception as error:
        raise RegistryUnavailable(f"MLflow at {tracking_uri} did not register {name}: {error}") from error
    return ModelVersion(name=name, version=version, run=run)


def set_alias(tracking_uri: str, name: str, alias: str, version: str) -> None:
    """Let the alias follow what Git has released."""
    client = mlflow_client(tracking_uri)
    try:
        client.set_registered_model_alias(name, alias, version)
    except Exception as error:
        raise RegistryUnavailable(
            f"MLflow at {tracking_uri} did not set {name}@{alias} to {version}: {error}"
        ) from error


def aliases(tracking_uri: str, name: str) -> dict[str, str]:
    """alias → version, empty for a model that was never registered."""
    client = mlflow_client(tracking_uri)
    try:
        return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except Exception as error:
        if _is_missing(error):
            return {}
        raise RegistryUnavailable(f"MLflow at {tracking_uri} did not answer about {name}: {error}") from error


def content_tag(tracking_uri: str, model: str) -> str | None:
    """What `name/version` answers requests with, as `content_of` gave it; None for one that is not known here."""
    name, version = model.rsplit("/", 1)
    client = mlflow_client(tracking_uri)
    try:
        tags: dict[str, str] = client.get_model_version(name, version).tags
        return tags.get(CONTENT_TAG)
    except Exception as error:
        if _is_missing(error):
            return None
        raise RegistryUnavailable(f"MLflow at {tracking_uri} did not answer about {model}: {error}") from error


def download_model(tracking_uri: str, model: str, folder: Path) -> Path:
    """Fetch the model folder of `name/version` (see bento.signature) into `folder`."""
    import mlflow.artifacts

    name, version = model.rsplit("/", 1)
    client = mlflow_client(tracking_uri)
    try:
        source = client.get_model_version_download_uri(name, version)
        fetched = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(folder), tracking_uri=tracking_uri))
    except Exception as error:
        if _is_missing(error) or isinstance(error, OSError):
            raise ModelVersionMissing(f"MLflow at {tracking_uri} has no model {model}: {error}") from error
        raise RegistryUnavailable(f"MLflow at {tracking_uri} did not give {model}: {error}") from error
    if missing := _missing_files(fetched):
        raise ModelVersionMissing(f"{model} has no {', '.join(missing)} in MLflow at {source}")
    return fetched


def _version_of_run(client: "MlflowClient", name: str, run: str) -> str | None:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    return str(versions[0].version) if versions else None


def _create_version(
    client: "MlflowClient",
    run: str,
    name: str,
    model: Path,
    make_loadable: Callable[[Path], None],
    tags: dict[str, str],
) -> str:
    """The files are whole in the run before the version exists, so a version never points at half a model."""
    with tempfile.TemporaryDirectory(prefix="registering-") as scratch:
        # A copy: what a step is given stays as it was, for it is what later steps are given too.
        loadable = Path(shutil.copytree(model, Path(scratch) / "model"))
        make_loadable(loadable)
        client.log_artifacts(run, str(loadable), MODEL_ARTIFACT)
    if not any(known.name == name for known in client.search_registered_models(f"name = '{name}'")):
        client.create_registered_model(name, description=f"Released by commits to apps/{name}/*/release.yaml")
    source = f"{client.get_run(run).info.artifact_uri}/{MODEL_ARTIFACT}"
    return str(client.create_model_version(name, source, run_id=run, tags=tags).version)


def _missing_files(model: Path) -> list[str]:
    """What a model folder lacks of what its signature asks for."""
    if not (model / SIGNATURE_FILE).is_file():
        return [SIGNATURE_FILE]
    files = format_of(Signature.read(model / SIGNATURE_FILE).format).files
    return [name for name in files if not (model / name).is_file()]


def _add_pyfunc_flavor(folder: Path, signature: Any) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    described = Model(signature=signature)
    mlflow.pyfunc.add_to_model(described, loader_module="bento.pyfunc")
    described.save(str(folder / "MLmodel"))


def _mlflow_signature(signature: Signature) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    outputs = Schema([TensorSpec(np.dtype("float32"), (-1, len(signature.classes or (1,))))])
    if signature.tensor:
        name, field = signature.tensor
        return ModelSignature(Schema([TensorSpec(np.dtype(field.dtype), (-1, *field.shape), name)]), outputs)
    kinds = {"number": "float", "category": "string"}
    columns = [
        ColSpec(kinds[field.type], name, required=not getattr(field, "nullable", False))
        for name, field in signature.fields.items()
    ]
    return ModelSignature(Schema(columns), outputs)


def _is_missing(error: Exception) -> bool:
    return getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
