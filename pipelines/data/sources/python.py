"""Tables from a function of the use case's own code."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.data.arrow import LoadFailed, to_arrow
from pipelines.data.sources.source import Source
from pipelines.errors import MlopsError
from pipelines.usecase.code import load_function, raised_at
from pipelines.usecase.sources import PythonSource

if TYPE_CHECKING:
    import pyarrow as pa


class LoadFunction(Source[PythonSource]):
    """`load()` of model.py. Its fingerprint is that of its rows: there is no cheaper way to ask it."""

    settings = PythonSource

    def read(self, as_of: datetime | None) -> pa.Table:  # noqa: ARG002 - load() takes no argument
        """What load() gives. Raises LoadFailed, and what load() raises as a MlopsError, such as DatasetMissing."""
        entry = self.section.load
        load = load_function(self.folder, entry)
        try:
            value = load()
        except MlopsError:
            raise
        except (Exception, SystemExit) as error:
            raise LoadFailed(
                f"{entry} raised {type(error).__name__}{raised_at(error, self.folder.absolute())}: {error}",
                hint="raise pipelines.data.DatasetMissing with a hint where the data is not there"
                if isinstance(error, FileNotFoundError)
                else None,
            ) from error
        return to_arrow(value, entry)

    def check(self) -> None:
        """The file has the function. Raises CodeMissing, FunctionMissing or CodeUnimportable."""
        load_function(self.folder, self.section.load)
