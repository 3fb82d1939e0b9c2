"""Tables from files at any fsspec URL: local, s3, gs, az, http and more; CSV, Parquet or JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from pipelines.data.arrow import concatenate, values_to_arrow
from pipelines.data.sources.secrets import fill_variables, hide_secrets
from pipelines.data.sources.source import Source, hash_facts
from pipelines.errors import MlopsError
from pipelines.usecase.sources import FileSource

if TYPE_CHECKING:
    import pyarrow as pa

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated")


class FilesystemMissing(MlopsError):
    """The package that speaks a URL's protocol is not installed, or there is none for it."""


class FilesNotFound(MlopsError):
    """No file matches the URL."""


class FileUnreadable(MlopsError):
    """A file cannot be opened, or does not hold what its format says."""


class Files(Source[FileSource]):
    """Every matching file in name order, one after the other; a column that some files lack is missing in their rows.

    Each method raises FilesystemMissing, FilesNotFound, FileUnreadable and VariableMissing.
    """

    settings = FileSource

    def read(self, as_of: datetime | None) -> pa.Table:  # noqa: ARG002 - files are what they are now
        """All rows of all files."""
        fs, path = self._open()
        return concatenate([_read(fs, one, self.section) for one in _matching(fs, path, self.section.url)])

    def fingerprint(self, time: str | None) -> str:  # noqa: ARG002
        """Of the names, sizes and times (or ETags) of the files; none is opened."""
        facts = []
        for name, known in self._list():
            stamp = next((str(known[key]) for key in STAMPS if known.get(key) is not None), "")
            facts.append([name, known.get("size"), stamp])
        return hash_facts(facts)

    def _list(self) -> list[tuple[str, dict[str, Any]]]:
        """The matching files with what the store says of each."""
        url = self.section.url
        fs, path = self._open()
        fs.invalidate_cache()
        names = _matching(fs, path, url)
        try:
            return [(name, fs.info(name)) for name in names]
        except Exception as error:
            message = f"data.source.url: {url} cannot be listed: {type(error).__name__}: {error}"
            raise FileUnreadable(hide_secrets(message, url)) from error

    def _open(self) -> tuple[Any, str]:
        url = fill_variables(self.section.url, "data.source.url")
        return open_filesystem(url, self.folder, _fill_options(self.section.options))


def open_filesystem(url: str, folder: Path, options: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The fsspec filesystem of a URL, and the path in it. Raises FilesystemMissing."""
    import fsspec

    protocol = url.partition("://")[0] if "://" in url else "file"
    try:
        fs, path = fsspec.core.url_to_fs(url if "://" in url else str(folder.absolute() / url), **(options or {}))
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        install = f"pip install 'mlops-blueprint[{extra}]'" if extra else f"install what it asks for: {error}"
        raise FilesystemMissing(f"{protocol}:// needs a package that is not installed", hint=install) from error
    except ValueError as error:
        raise FilesystemMissing(
            f"{url}: {error}", hint="protocols with an extra of their own: s3, gs, az; file and http are there"
        ) from None
    return fs, path


def _fill_options(value: Any) -> Any:
    if isinstance(value, str):
        return fill_variables(value, "data.source.options")
    if isinstance(value, dict):
        return {key: _fill_options(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill_options(inner) for inner in value]
    return value


def _matching(fs: Any, path: str, url: str) -> list[str]:
    is_web = "http" in fs.protocol
    try:
        if any(sign in path for sign in ("*" if is_web else "*?[")):
            found = sorted(one for one in fs.glob(path) if not one.endswith("/"))
        else:
            found = [path] if fs.exists(path) else []
        is_folder = bool(found) and not is_web and found == [path] and fs.isdir(path)
    except Exception as error:
        message = f"data.source.url: {url} cannot be listed: {type(error).__name__}: {error}"
        raise FileUnreadable(hide_secrets(message, url)) from error
    if is_folder:
        shown = hide_secrets(url, url)
        raise FilesNotFound(
            f"data.source.url: {shown} is a folder", hint=f"name its files: {shown.rstrip('/')}/*.parquet"
        )
    if not found:
        raise FilesNotFound(
            hide_secrets(
                f"data.source.url: no file matches {url}" + ("" if "://" in url else f" (looked for {path})"), url
            ),
            hint="a relative path starts at the use case's folder; * matches within one folder, ** below it too",
        )
    return found


def _read(fs: Any, path: str, source: FileSource) -> pa.Table:
    import pyarrow as pa

    read = _READERS[source.format or _format_of(path)]
    try:
        with fs.open(path, "rb", compression="infer") as stream:
            return read(stream)
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise FileUnreadable(
            hide_secrets(
                f"data.source: {path} cannot be read as {source.format or _format_of(path)}: {error}", source.url
            ),
            hint="see whether the file is whole, and whether data.source.format says what it is",
        ) from error


def _format_of(path: str) -> str:
    endings = [end for end in PurePosixPath(path.partition("?")[0]).suffixes if end not in COMPRESSIONS]
    if endings and endings[-1].lower() in FORMATS:
        return FORMATS[endings[-1].lower()]
    raise FileUnreadable(
        f"data.source: the ending of {path} says no format",
        hint=f"set data.source.format to csv, parquet or json; known endings: {', '.join(FORMATS)}",
    )


def _read_parquet(stream: IO[bytes]) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.ParquetFile(stream).read()


def _read_json(stream: IO[bytes]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    content = stream.read()
    if content.lstrip()[:1] == b"[":
        raise ValueError("it holds one array; write one object a line")
    if not content.strip():
        raise ValueError("the file is empty")
    try:
        return json.read_json(pa.BufferReader(content))
    except pa.ArrowInvalid:
        return _read_json_rows(content)


def _read_json_rows(content: bytes) -> pa.Table:
    """The slow way, for columns whose type changes: they become text."""
    import json

    import pyarrow as pa

    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no object")  # noqa: TRY004 - it is the file's fault, not a caller's
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: values_to_arrow([row.get(name) for row in rows]) for name in names})


def _read_csv(stream: IO[bytes]) -> pa.Table:
    """Types are read off the values; a column that changes its mind half way is read as text first."""
    import pyarrow as pa
    from pyarrow import csv

    content = stream.read()
    parse = csv.ParseOptions(newlines_in_values=True)
    try:
        table = csv.read_csv(pa.BufferReader(content), parse_options=parse)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise
        header = csv.open_csv(pa.BufferReader(content), parse_options=parse).schema.names
        convert = csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
        table = csv.read_csv(pa.BufferReader(content), parse_options=parse, convert_options=convert)
        table = pa.table({name: _guess_type(table[name]) for name in header})
    return pa.table({name: _blank_is_missing(table[name]) for name in table.column_names})


def _guess_type(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_in(column, pa.array(["", "NA", "NaN", "nan", "null", "NULL", "N/A"]))
    values = pc.if_else(missing, pa.scalar(None, pa.string()), column)
    for kind in (pa.int64(), pa.float64(), pa.timestamp("us")):
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _blank_is_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


_READERS: dict[str, Callable[[IO[bytes]], Any]] = {"csv": _read_csv, "parquet": _read_parquet, "json": _read_json}
