"""What the monitor itself can be told, beside what every part of the pipeline can (pipelines.settings).

MLOPS_WATCH           git: the checkout and the branch (default); cluster: the API server
MLOPS_EVALUATE_EVERY  pause between two rounds of evaluations (default: 5m)
MLOPS_ACT_ON          what starts runs beside requests: assessments, schedule, new-data (default: all three).
                      Where Alertmanager tells the monitor what lasts, assessments are left out; where schedules are
                      CronJobs, schedules are
MLOPS_START_RUNS      0: this monitor only watches; what asks for a run is refused, and people are told (default: 1)
MLOPS_RUNS_AT_ONCE    of different use cases (default: 1)
MLOPS_LONGEST_COOLDOWN  shortens every retrain.cooldown to this, to try things out (default: none)
MLOPS_MLFLOW_URL      where people find MLflow     } only for links
MLOPS_GRAFANA_URL     where people find Grafana    }
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from pipelines.errors import MlopsError
from pipelines.usecase.durations import parse_duration

Watch = Literal["git", "cluster"]
Cause = Literal["assessments", "schedule", "new-data"]
CAUSES: tuple[Cause, ...] = get_args(Cause)


class OptionWrong(MlopsError):
    """A variable of the monitor has a value that it cannot have."""


@dataclass(frozen=True)
class Options:
    """Read once, when the monitor starts."""

    watch: Watch = "git"
    evaluate_every: timedelta = timedelta(minutes=5)
    act_on: tuple[Cause, ...] = CAUSES
    starts_runs: bool = True
    runs_at_once: int = 1
    longest_cooldown: timedelta | None = None
    mlflow: str = ""
    grafana: str = ""

    def acts_on(self, cause: Cause) -> bool:
        """Whether this cause starts a run."""
        return self.starts_runs and cause in self.act_on

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Options":
        """Raises OptionWrong."""
        env = os.environ if environ is None else environ
        cooldown = env.get("MLOPS_LONGEST_COOLDOWN", "")
        return cls(
            watch=_watch(env.get("MLOPS_WATCH", "git")),
            evaluate_every=_duration("MLOPS_EVALUATE_EVERY", env.get("MLOPS_EVALUATE_EVERY", "5m")),
            act_on=_causes(env.get("MLOPS_ACT_ON", ",".join(CAUSES))),
            starts_runs=_yes_or_no("MLOPS_START_RUNS", env.get("MLOPS_START_RUNS", "1")),
            runs_at_once=_count("MLOPS_RUNS_AT_ONCE", env.get("MLOPS_RUNS_AT_ONCE", "1")),
            longest_cooldown=_duration("MLOPS_LONGEST_COOLDOWN", cooldown) if cooldown else None,
            mlflow=env.get("MLOPS_MLFLOW_URL", "").rstrip("/"),
            grafana=env.get("MLOPS_GRAFANA_URL", "").rstrip("/"),
        )


def _watch(value: str) -> Watch:
    known: dict[str, Watch] = {"git": "git", "cluster": "cluster"}
    if value not in known:
        raise OptionWrong(f"MLOPS_WATCH is {value!r}; allowed: {', '.join(known)}")
    return known[value]


def _duration(name: str, value: str) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise OptionWrong(f"{name} is {value!r}: {error}", hint="write one such as 30s, 5m or 1h") from None


def _causes(value: str) -> tuple[Cause, ...]:
    asked = [part.strip() for part in value.split(",") if part.strip()]
    for one in asked:
        if one not in CAUSES:
            raise OptionWrong(f"MLOPS_ACT_ON names {one!r}; allowed, with commas between: {', '.join(CAUSES)}")
    return tuple(cause for cause in CAUSES if cause in asked)


def _yes_or_no(name: str, value: str) -> bool:
    if value not in {"0", "1"}:
        raise OptionWrong(f"{name} is {value!r}; it is 1 or 0")
    return value == "1"


def _count(name: str, value: str) -> int:
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise OptionWrong(f"{name} is {value!r}; it is a whole number from 1 on")
