"""Distributions of a test's own: a dist-info folder with entry points and a module, on sys.path for one test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from pipelines.plugins import scan_again

SOURCE = '''
from typing import Literal

import pyarrow as pa
from pydantic import Field

from pipelines.data.sources.source import Source
from pipelines.usecase.sources import SourceSettings


class CountSettings(SourceSettings):
    """Numbers from zero."""

    type: Literal["count"] = Field(description="The rows are numbers.")
    rows: int = Field(ge=1, description="How many.", examples=[10])
    start: int = Field(default=0, description="The first one.", examples=[0])


class Count(Source[CountSettings]):
    settings = CountSettings

    def read(self, as_of):
        return pa.table({"n": list(range(self.section.start, self.section.rows))})

    def takes_as_of(self):
        return True
'''


class Plugins:
    """Installs small distributions below a folder that is on sys.path."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def install(
        self, name: str, code: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.0"
    ) -> None:
        """One distribution with one module, named as it is; `entry_points`: group → name → value."""
        (self.site / f"{name}.py").write_text(dedent(code))
        info = self.site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        sections = [
            f"[mlops_blueprint.{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items())
            for group, names in entry_points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(sections))
        scan_again()


@pytest.fixture
def plugins(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """An empty place for plugins; their modules are forgotten when the test ends."""
    site = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)
    yield Plugins(site)
    for name in set(sys.modules) - before:
        if (site / f"{name}.py").exists():
            del sys.modules[name]
