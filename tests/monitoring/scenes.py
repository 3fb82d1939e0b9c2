"""What the stories share: one model, its owner and its limits."""

from tests.monitoring.rules import Story

FLIGHTS = {"usecase": "flights", "environment": "staging", "owner": "flight-team"}
OF = 'usecase="flights", environment="staging"'
UP = f'up{{job="model-server", instance="pod-1", {OF}}}'
OWNER = f'model_usecase_info{{instance="monitor", owner="flight-team", {OF}}}'
RELEASE = f'model_release_info{{bento="flights:7", model="flights/7", commit="abc", {OF}}}'
OBJECTIVE = f"model_availability_objective_ratio{{{OF}}}"
LIMIT = f"model_latency_limit_seconds{{{OF}}}"


def answers(code: int, endpoint: str = "/predict") -> str:
    labels = f'endpoint="{endpoint}", http_response_code="{code}", instance="pod-1", {OF}'
    return f"bentoml_service_request_total{{{labels}}}"


def within(seconds: str) -> str:
    labels = f'endpoint="/predict", http_response_code="200", le="{seconds}", instance="pod-1", {OF}'
    return f"bentoml_service_request_duration_seconds_bucket{{{labels}}}"


def model(name: str, step: int = 1) -> Story:
    """A model with an owner and limits: 99.9 % available, 99 of 100 answers within 50 ms."""
    return Story(name, step).given(OWNER, "1x8000").given(OBJECTIVE, "0.999x8000").given(LIMIT, "0.05x8000")
