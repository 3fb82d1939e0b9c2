"""What every model format can do where a model is trained: take it, export it, and tell MLflow how to load it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bento.signature import Signature
from pipelines.errors import MlopsError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


# From a model folder and its mlflow.models.ModelSignature.
AddFlavor = Callable[[Path, Any], None]


class NotExportable(MlopsError):
    """The trained object is of a kind that cannot be exported, or its export failed."""


class Exporter(ABC):
    """The half of a format that trains. `name` is that of its serving half, a bento.formats.format.ModelFormat."""

    name: ClassVar[str]

    @abstractmethod
    def takes(self, model: Any) -> bool:
        """Whether it can export what train() returned, told without importing a framework."""

    @abstractmethod
    def export(self, model: Any, signature: Signature, folder: Path) -> None:
        """Write the files that the serving half names. The same model must give the same bytes.

        Raises:
            NotExportable: this model cannot be said in this format.
        """

    @abstractmethod
    def answer(
        self,
        model: Any,
        signature: Signature,
        columns: Mapping[str, np.ndarray],
        frame: pd.DataFrame | None,
    ) -> np.ndarray | None:
        """What the trained model itself answers, to hold the exported one to: (rows, classes) or (rows, 1), float32.

        columns     as the exported model gets them
        frame       the same as a table, None for a tensor

        None where the trained object is the exported one.
        """

    def mlflow_flavor(self) -> AddFlavor | None:
        """A function that writes `MLmodel` into a model folder, for a flavor that MLflow has of its own.

        None: MLflow loads the registered version by way of bento.pyfunc, with this package installed.
        """
        return None
