"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# No deadlines: a busy machine is no fault of the code's. Found examples are the same on every machine.
settings.register_profile(
    "here", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")
