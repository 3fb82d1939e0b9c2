"""What holds for all tests."""

import pytest
from hypothesis import HealthCheck, settings

# No deadlines: a busy machine is no fault of the code's. Found examples are the same on every machine.
settings.register_profile(
    "here", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")


@pytest.fixture(autouse=True, scope="session")
def builds_of_this_session(tmp_path_factory: pytest.TempPathFactory):
    """Folders of the tree that were built once are not built again by the other worker."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLOPS_BUILD_CACHE", str(shared / "builds"))
        yield
