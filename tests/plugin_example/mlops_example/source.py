from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.data.sources.source import Source
from pipelines.usecase.sources import SourceSettings


class DrawnSettings(SourceSettings):
    """Rows drawn at random, to try a use case before its data is there."""

    type: Literal["drawn"] = Field(description="The rows are drawn.")
    rows: int = Field(ge=1, description="How many.", examples=[1000])
    seed: int = Field(default=0, description="The same seed gives the same rows.", examples=[0])


class Drawn(Source[DrawnSettings]):
    settings = DrawnSettings

    def read(self, as_of):
        random = np.random.default_rng(self.section.seed)
        size = random.uniform(0, 10, self.section.rows)
        when = np.datetime64("2026-01-01T00:00", "us") + np.arange(self.section.rows) * np.timedelta64(1, "h")
        return pa.table({"size": size, "big": size + random.normal(0, 1, self.section.rows) > 5, "when": when})

    def fingerprint(self, time):
        return f"{self.section.rows}-{self.section.seed}"
