"""What the monitor itself can be set to, beside what every part of the pipeline can (pipelines.settings)."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from pipelines.usecase.durations import Duration
from pipelines.variables import Variables, variable

WatchMode = Literal["git", "cluster"]
Cause = Literal["assessments", "schedule", "new-data"]
CAUSES: tuple[Cause, ...] = get_args(Cause)


def _causes(value: Any) -> Any:
    """`schedule,new-data` → both, in the order of CAUSES."""
    if not isinstance(value, str):
        return value
    asked = [part.strip() for part in value.split(",") if part.strip()]
    for one in asked:
        if one not in CAUSES:
            raise ValueError(f"{one!r} is no cause; expected some of {', '.join(CAUSES)}, with commas between")
    return tuple(cause for cause in CAUSES if cause in asked)


class Options(Variables):
    """Read once, when `mlops monitor` starts."""

    title: ClassVar[str] = "The monitor"

    watch: WatchMode = variable(
        "MLOPS_WATCH", "git", "What is deployed is read from `git`: the checkout and its branch; or from the `cluster`."
    )
    evaluate_every: Duration = variable(
        "MLOPS_EVALUATE_EVERY", timedelta(minutes=5), "Pause between two rounds of assessments.", shown="`5m`"
    )
    act_on: Annotated[tuple[Cause, ...], NoDecode, BeforeValidator(_causes)] = variable(
        "MLOPS_ACT_ON",
        CAUSES,
        "What starts runs beside requests; empty: nothing. Where Alertmanager calls the monitor, leave out "
        "`assessments`; where schedules are CronJobs, leave out `schedule`.",
        shown="`assessments,schedule,new-data`",
        empty=True,
    )
    starts_runs: bool = variable(
        "MLOPS_START_RUNS", True, "No: this monitor only watches, and refuses requests for a run."
    )
    runs_at_once: int = variable("MLOPS_RUNS_AT_ONCE", 1, "Runs of different use cases at the same time.", ge=1)
    longest_cooldown: Duration | None = variable(
        "MLOPS_LONGEST_COOLDOWN", None, "Shortens every `retrain.cooldown` to this, to try things out."
    )
    mlflow_url: str = variable("MLOPS_MLFLOW_URL", "", "Where people find MLflow; only for links.")
    grafana_url: str = variable("MLOPS_GRAFANA_URL", "", "Where people find Grafana; only for links.")

    @property
    def mlflow(self) -> str:
        """MLflow's address without a slash at its end."""
        return self.mlflow_url.rstrip("/")

    @property
    def grafana(self) -> str:
        """Grafana's address without a slash at its end."""
        return self.grafana_url.rstrip("/")

    def acts_on(self, cause: Cause) -> bool:
        """Whether this cause starts a run."""
        return self.starts_runs and cause in self.act_on
