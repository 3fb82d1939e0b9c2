"""What a source looks like from outside, to see whether it has changed: cheaper than loading it where that can be.

file     names, sizes and times (or ETags) of the matching files; nothing is downloaded
sql      number of rows and newest `data.time`, counted by the database
python   the content of what load() gives: there is no cheaper way to ask it
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data.sources.load import load_table
from pipelines.usecase.model import Data, FileSource, SqlSource

if TYPE_CHECKING:
    import pyarrow as pa

STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated")


def fingerprint(data: Data, folder: Path) -> str:
    """64 hex digits, the same as long as the source is. `folder`: the use case's. Raises what loading raises."""
    source = data.source
    if isinstance(source, FileSource):
        return _hash(_files(source, folder))
    if isinstance(source, SqlSource):
        return _hash(_rows(source, folder, data.time))
    return _content(load_table(source, folder, None))


def _files(source: FileSource, folder: Path) -> list[Any]:
    from pipelines.data.sources.files import list_files

    seen = []
    for name, told in list_files(source, folder):
        stamp = next((str(told[key]) for key in STAMPS if told.get(key) is not None), "")
        seen.append([name, told.get("size"), stamp])
    return seen


def _rows(source: SqlSource, folder: Path, time: str | None) -> list[str]:
    from pipelines.data.sources.sql import summarize_query

    return [str(value) for value in summarize_query(source, folder, time)]


def _hash(seen: list[Any]) -> str:
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _content(table: pa.Table) -> str:
    """Of the values, however they are cut into chunks."""
    import pyarrow as pa

    digest = hashlib.sha256(table.schema.remove_metadata().to_string().encode())
    sink = pa.BufferOutputStream()
    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    digest.update(sink.getvalue())
    return digest.hexdigest()
