"""Data on its way to a model: source → snapshot → checks → split → examples."""

from pipelines.data.examples import Examples
from pipelines.data.sources.load import DatasetMissing

__all__ = ["DatasetMissing", "Examples"]
