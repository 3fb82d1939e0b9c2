"""What brings a file that people wrote from one version to the next: one module a version, one function a step.

A migration changes a document of ruamel.yaml in place, so that comments, quotes and order stay. It says in sentences
what it changed. The version itself is written by `mlops migrate`, after it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.usecase.migrations import v1

# Kinds of files are named as `pipelines.usecase.migrate` names them.
Migration = Callable[[str, Any], list[str]]

# By the version that a migration starts from; 0 is a file without `apiVersion`.
MIGRATIONS: Mapping[int, Migration] = {0: v1.migrate}
