"""Alertmanager's webhook (version 4) as requests for runs and as causes that are gone.

An alert asks for a run by its labels: `usecase`, `environment` and `retrain`, the reason (drift, quality,
missing-labels). Alerts without `retrain` are for people only.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.retraining.triggers import Reason, Trigger, in_one_line

VERSION = "4"
MOST_ALERTS = 1000
FROM_ALERTS: tuple[Reason, ...] = tuple(reason for reason in get_args(Reason) if reason not in ("manual", "schedule"))


class AlertsInvalid(MlopsError):
    """The body is no webhook of Alertmanager."""


class _Alert(BaseModel):
    """One alert, as far as it matters here; Alertmanager may say more."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    fingerprint: str = Field(min_length=1, max_length=100)


class _Webhook(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: Literal["4"]
    alerts: list[_Alert] = Field(max_length=MOST_ALERTS)


class Gone(Value):
    """A cause that is gone."""

    usecase: str
    environment: str
    fingerprint: str


class Alerts(Value):
    """What a webhook asks for. `ignored`: alerts that ask for no run, and why."""

    triggers: list[Trigger]
    gone: list[Gone]
    ignored: list[str]


def read_alerts(body: bytes) -> Alerts:
    """Read a webhook's body. Raises AlertsInvalid."""
    try:
        webhook = _Webhook.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the body"
        raise AlertsInvalid(
            f"{key}: {first['msg']}", hint=f"expected Alertmanager's webhook of version {VERSION}"
        ) from None
    return _sorted_out(webhook.alerts)


def _sorted_out(alerts: Sequence[_Alert]) -> Alerts:
    triggers, gone, ignored = [], [], []
    for alert in alerts:
        name = in_one_line(alert.labels.get("alertname", "an alert"))
        reason = alert.labels.get("retrain")
        missing = [label for label in ("usecase", "environment") if not alert.labels.get(label)]
        if reason is None:
            ignored.append(f"{name}: has no label retrain, so that it asks for no run")
        elif reason not in FROM_ALERTS:
            ignored.append(f"{name}: its label retrain is {in_one_line(reason)}; allowed: {', '.join(FROM_ALERTS)}")
        elif missing:
            ignored.append(f"{name}: has no label {missing[0]}")
        elif alert.status == "resolved":
            gone.append(Gone(**_cause(alert)))
        else:
            evidence = alert.annotations.get("summary") or name
            known: dict[str, Any] = {"reason": reason, "evidence": in_one_line(evidence), **_cause(alert)}
            triggers.append(Trigger.model_validate(known))
    return Alerts(triggers=triggers, gone=gone, ignored=ignored)


def _cause(alert: _Alert) -> dict[str, str]:
    labels = alert.labels
    return {
        "usecase": labels["usecase"][:40],
        "environment": labels["environment"][:40],
        "fingerprint": f"alert:{alert.fingerprint}",
    }
