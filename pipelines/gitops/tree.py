"""Everything the checks look at, read once."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.gitops.flux import Applied, Cluster, read_clusters
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.schemas import SchemaFolder
from pipelines.gitops.sources import place_of
from pipelines.variables import Variables, variable


class TreeVariables(Variables):
    """Read by `mlops check`."""

    title: ClassVar[str] = "Checks of the tree"

    schemas: Path | None = variable(
        "MLOPS_SCHEMAS",
        None,
        "The folder of schemas that objects must have; see [checks](checks.md).",
        shown="`../shared/schemas`, else `.mlops/schemas` in the checkout",
    )


@dataclass(frozen=True)
class Tree:
    """A checkout's clusters as Flux sees them, and the schemas that their objects must have, where there are any."""

    root: Path
    clusters: list[Cluster]
    schemas: SchemaFolder

    @classmethod
    def read(cls, root: Path, schemas: Path | None = None) -> "Tree":
        root = root.resolve()
        return cls(root, read_clusters(root), SchemaFolder(schemas or schemas_folder(root)))

    def place(self, cluster: Cluster, applied: Applied, manifest: Manifest, field: str = "") -> str:
        """Where to look for a mistake in an object: its file and line, else the folder that it was built from."""
        return place_of(self.root, manifest, field) or applied.path or cluster.folder


def schemas_folder(root: Path) -> Path:
    """MLOPS_SCHEMAS, else `schemas` in a folder `shared` beside the checkout, else .mlops/schemas in it."""
    if named := TreeVariables.load().schemas:
        return named
    beside = root.parent / "shared" / "schemas"
    return beside if beside.is_dir() else root / ".mlops" / "schemas"
