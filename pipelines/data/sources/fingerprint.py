"""What a source looks like from outside, to see whether it has changed: cheaper than loading it where that can be.

file     names, sizes and times (or ETags) of the matching files; nothing is downloaded
sql      number of rows and newest `data.time`, counted by the database
python   the content of what load() gives: there is no cheaper way to ask it
"""

from __future__ import annotations

from pathlib import Path

from pipelines.data.sources.load import open_source
from pipelines.usecase.model import Data


def fingerprint(data: Data, folder: Path) -> str:
    """64 hex digits, the same as long as the source is. `folder`: the use case's. Raises what loading raises."""
    return open_source(data.source, folder).fingerprint(data.time)
