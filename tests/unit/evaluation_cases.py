"""Use cases for the tests of evaluation: small, complete, and changed by keyword."""

from typing import Any

from pipelines.usecase import UseCase

CARRIERS = {"carrier": {"type": "category"}, "distance": {"type": "number"}}


def binary_usecase(**evaluation: Any) -> UseCase:
    """Late flights: two classes, slices by carrier."""
    return _usecase(
        task="classification",
        data={"classes": ["on-time", "late"], "time": "departs", "keep": ["carrier"]},
        evaluation={"metrics": ["roc_auc", "brier"], "gates": [{"metric": "roc_auc", "at_least": 0.6}], **evaluation},
    )


def picture_usecase(**evaluation: Any) -> UseCase:
    """Three kinds of clothes."""
    return _usecase(
        task="classification",
        data={"classes": ["shirt", "shoe", "bag"]},
        evaluation={"metrics": ["accuracy"], "gates": [{"metric": "accuracy", "at_least": 0.5}], **evaluation},
    )


def delay_usecase(**evaluation: Any) -> UseCase:
    """Minutes of delay: a regression."""
    return _usecase(
        task="regression",
        data={},
        evaluation={"metrics": ["mae"], "gates": [{"metric": "mae", "at_most": 10.0}], **evaluation},
    )


def _usecase(task: str, data: dict[str, Any], evaluation: dict[str, Any]) -> UseCase:
    return UseCase.model_validate(
        {
            "apiVersion": "mlops-blueprint/v1",
            "name": "flight-delays",
            "purpose": "Say before departure whether a flight arrives late.",
            "owner": {"team": "operations", "contact": "ops@example.com", "accountable": "Head of Operations"},
            "risk": {"level": "limited", "concerns": ["Crews over-trust it"], "mitigations": ["Shown as one of three"]},
            "task": task,
            "data": {
                "source": {"type": "python", "load": "model.py:load"},
                "target": "late",
                "features": CARRIERS,
                "split": {"by": "random", "test": 0.2, "validation": 0.2},
                **data,
            },
            "training": {"train": "model.py:train"},
            "evaluation": evaluation,
            "serving": {"p99_ms": 50},
            "monitoring": {
                "drift": {"threshold": 0.2},
                "quality": {"metric": evaluation["metrics"][0], "at_least": 0.6, "labels_within": "3d"},
            },
        }
    )
