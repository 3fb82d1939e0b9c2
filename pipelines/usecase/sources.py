"""`data.source`: the settings of each kind of source. What reads them is in pipelines.data.sources."""

from typing import Annotated, Any, Literal

from pydantic import Field

from pipelines.usecase.pluggable import Pluggable
from pipelines.usecase.strict import EntryPoint, Strict, Words


class SourceSettings(Strict):
    """The base of every source's settings; each narrows `type` to its own name."""

    type: str


class PythonSource(SourceSettings):
    """A function in the use case's own code.

    It takes no arguments and returns an Arrow or pandas table, or a dict of arrays.
    """

    type: Literal["python"] = Field(description="The rows come from a function.")
    load: EntryPoint = Field(description="The file and its function.", examples=["model.py:load"])


class FileSource(SourceSettings):
    """Files at any fsspec URL: on disk, in S3, Google or Azure storage, over HTTP."""

    type: Literal["file"] = Field(description="The rows come from files.")
    url: Words = Field(
        description="One file, or many with `*`, read in name order. A relative path starts at the use case's folder.",
        examples=["s3://bucket/flights/*.parquet", "data/flights.csv"],
    )
    format: Literal["csv", "parquet", "json"] | None = Field(
        default=None,
        description="Left out, it follows from the file extension; json means one object per line.",
        examples=["parquet"],
    )
    options: dict[str, Any] = Field(
        default={},
        description="Passed to fsspec.",
        examples=[{"anon": True}, {"endpoint_url": "http://seaweedfs:8333"}],
    )


class SqlSource(SourceSettings):
    """A query against any SQLAlchemy URL."""

    type: Literal["sql"] = Field(description="The rows come from a database.")
    url: Words = Field(
        description="`${NAME}` is read from the environment: secrets do not belong in Git.",
        examples=["${FLIGHTS_URL}"],
    )
    query: Words = Field(
        description="`:as_of` in the query is bound to the run's date.",
        examples=["SELECT * FROM flights WHERE departed < :as_of"],
    )


SOURCES = Pluggable("sources", SourceSettings, (PythonSource, FileSource, SqlSource))
AnySource = Annotated[SourceSettings, SOURCES]
