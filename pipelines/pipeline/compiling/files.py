"""The files of a cluster's pipelines, as `mlops render` writes them.

A cluster runs pipelines if `clusters/<environment>/pipelines/images.yaml` names the images that their steps run in.

    apps/<use case>/<environment>/pipeline/            the Pipeline: a name, and which version is meant
    apps/<use case>/<environment>/pipeline-version/    the PipelineVersion, named by its content, and the CronJob
    clusters/<environment>/pipelines/<use case>*.yaml  how Flux applies them, the first before the second

Two folders, for Kubeflow's webhook refuses a version whose pipeline does not exist, and Flux tries all objects of a
folder before it applies the first.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

from pipelines.errors import MlopsError, did_you_mean
from pipelines.packaging.oci.reference import ImageReference
from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.pipeline.compiling.objects import pipeline, pipeline_version, schedule
from pipelines.pipeline.compiling.yaml_text import NOT_LINTED, to_yaml
from pipelines.usecase import load_usecase

IMAGES_FILE = "images.yaml"
DEFAULT_IMAGE = "default"
FOLDER, VERSION_FOLDER = "pipeline", "pipeline-version"


class ImagesInvalid(MlopsError):
    """A cluster's images.yaml does not name the images that its pipelines run in."""


def runs_pipelines(root: Path, environment: str) -> bool:
    return (_cluster_folder(root, environment) / IMAGES_FILE).is_file()


def read_images(root: Path, environment: str) -> dict[str, str]:
    """The images of a cluster's pipelines by name. Raises ImagesInvalid."""
    path = _cluster_folder(root, environment) / IMAGES_FILE
    shown = path.relative_to(root)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))["data"]
        images = {str(name): str(image) for name, image in data.items()}
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ImagesInvalid(f"{shown} is no ConfigMap with images under data: {error}") from None
    if DEFAULT_IMAGE not in images:
        raise ImagesInvalid(f"{shown}: data.{DEFAULT_IMAGE} is missing", hint="it is the pipelines' usual image")
    for name, image in images.items():
        try:
            ImageReference.parse(image)
        except MlopsError as error:
            raise ImagesInvalid(f"{shown}: data.{name}: {error.message}", hint=error.hint) from None
    return images


def pipeline_files(root: Path, environment: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """(path, text) of everything that is generated for these use cases on one cluster."""
    images = read_images(root, environment)
    listed = [IMAGES_FILE]
    for name in names:
        yield from _of_usecase(root, environment, name, images)
        for part, text in _flux(environment, name):
            listed.append(part)
            yield f"clusters/{environment}/pipelines/{part}", text
    comment = "# Written by `mlops render` for the lines `- models/…` in ../kustomization.yaml."
    yield f"clusters/{environment}/pipelines/kustomization.yaml", _listing(comment, listed)


def _of_usecase(root: Path, environment: str, name: str, images: dict[str, str]) -> Iterator[tuple[str, str]]:
    usecase = load_usecase(root, name, environment)
    wanted = usecase.pipeline.image or DEFAULT_IMAGE
    if wanted not in images:
        raise ImagesInvalid(
            f"apps/{name}/usecase.yaml: pipeline.image is {wanted!r}, which the cluster {environment} does not have"
            f"{did_you_mean(wanted, images)}; it has: {', '.join(images)}",
            hint=f"name it in clusters/{environment}/pipelines/{IMAGES_FILE}",
        )
    image = images[wanted]
    compiled = compile_pipeline(usecase, image)
    folder = f"apps/{name}/{environment}"
    source = f"apps/{name}/usecase.yaml, pipelines/pipeline/graph.py and clusters/{environment}/pipelines/{IMAGES_FILE}"
    written = f"# Written by `mlops render` from {source}."
    own = "# Written by `mlops render`."
    yield f"{folder}/{FOLDER}/pipeline.yaml", to_yaml(pipeline(usecase, compiled), written)
    yield f"{folder}/{FOLDER}/kustomization.yaml", _listing(own, ["pipeline.yaml"])
    parts = {"pipelineversion.yaml": to_yaml(pipeline_version(usecase, compiled), NOT_LINTED, written)}
    if cron := schedule(usecase, environment, image):
        parts["cronjob.yaml"] = to_yaml(cron, written)
    for part, text in parts.items():
        yield f"{folder}/{VERSION_FOLDER}/{part}", text
    yield f"{folder}/{VERSION_FOLDER}/kustomization.yaml", _listing(own, list(parts))


def _flux(environment: str, name: str) -> Iterator[tuple[str, str]]:
    """The Kustomizations of the two folders. They may write pipelines and schedules, and nothing else."""
    for part, folder, waits_for in (
        (f"{name}.yaml", FOLDER, "platform"),
        (f"{name}-version.yaml", VERSION_FOLDER, f"{name}-{FOLDER}"),
    ):
        yield (
            part,
            f"""\
# Written by `mlops render` for the line `- models/{name}.yaml` in ../kustomization.yaml.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {name}-{folder}
  namespace: flux-system
  labels:
    mlops-blueprint/pipeline: {name}
spec:
  dependsOn:
    - name: {waits_for}
  path: ./apps/{name}/{environment}/{folder}
  serviceAccountName: pipelines
  sourceRef:
    kind: GitRepository
    name: flux-system
  timeout: 5m
  wait: true
""",
        )


def _listing(comment: str, resources: list[str]) -> str:
    head = f"{comment}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
    return head + "".join(f"  - {resource}\n" for resource in resources)


def _cluster_folder(root: Path, environment: str) -> Path:
    return root / "clusters" / environment / "pipelines"
