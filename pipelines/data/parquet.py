"""Tables as Parquet whose bytes depend on the content alone (and on the major version of Arrow).

A tensor is written as the plain bytes of its cells, row by row, little-endian, with shape and dtype in the
column's metadata: as a nested list a picture would be taken apart into numbers, which is ten times slower.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from pipelines.data.columns import is_tensor, tensor_column, tensor_values

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION = "zstd"
ROW_GROUP = 100_000
TENSOR = b"tensor"


def encode(table: pa.Table) -> bytes:
    """The whole Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = [_pack(field.name, column) for field, column in zip(table.schema, table.columns, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays([column for _, column in packed], schema=pa.schema([field for field, _ in packed])),
        sink,
        compression=COMPRESSION,
        compression_level=1,
        row_group_size=ROW_GROUP,
        version="2.6",
        data_page_version="1.0",
        use_dictionary=[field.name for field, _ in packed if not field.metadata],
        write_statistics=False,
    )
    return bytes(sink.getvalue())


def decode(content: bytes) -> pa.Table:
    """The table that was encoded, tensors as tensors again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    for index, field in enumerate(table.schema):
        if field.metadata and TENSOR in field.metadata:
            column = _unpack(table.column(index), json.loads(field.metadata[TENSOR]))
            table = table.set_column(index, field.name, column)
    return table.replace_schema_metadata(None)


def _pack(name: str, column: pa.ChunkedArray) -> tuple[pa.Field, pa.ChunkedArray]:
    import pyarrow as pa

    if not is_tensor(column) or column.null_count:
        return pa.field(name, column.type), column
    values = tensor_values(column)
    kind = pa.binary(math.prod(values.shape[1:]) * values.itemsize)
    cells = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    described = json.dumps({"shape": values.shape[1:], "dtype": str(values.dtype)})
    return pa.field(name, kind, metadata={TENSOR: described}), pa.chunked_array([cells])


def _unpack(column: pa.ChunkedArray, described: dict[str, list[int] | str]) -> pa.ChunkedArray:
    import numpy as np
    import pyarrow as pa

    shape, dtype = described["shape"], np.dtype(str(described["dtype"]))
    width = column.type.byte_width
    chunks = []
    for chunk in column.chunks:
        data = chunk.buffers()[1]
        flat = np.frombuffer(data, dtype, len(chunk) * width // dtype.itemsize, chunk.offset * width)
        chunks.append(tensor_column(flat.reshape(len(chunk), *shape)))
    return pa.chunked_array(chunks, pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), list(shape)))
