"""What several integration tests stand on."""

import pytest

from tests.pipeline_cases import Lab


@pytest.fixture
def lab(tmp_path) -> Lab:
    """A checkout with one tiny use case."""
    return Lab(tmp_path / "checkout")


@pytest.fixture
def in_this_process(lab, monkeypatch) -> None:
    """Steps that run here find the checkout as a pod would: by the environment."""
    for key, value in lab.environ().items():
        monkeypatch.setenv(key, value)
