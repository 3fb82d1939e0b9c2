"""usecase.yaml as typed config: the contract between a data scientist and the platform."""

from pipelines.usecase.document import UsecaseInvalid
from pipelines.usecase.load import UsecaseNotFound, load_usecase, usecase_names
from pipelines.usecase.model import UseCase

__all__ = ["UseCase", "UsecaseInvalid", "UsecaseNotFound", "load_usecase", "usecase_names"]
