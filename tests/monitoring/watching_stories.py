"""Alerts about drift, quality, labels and the runs that answer them."""

from tests.monitoring.scenes import FLIGHTS, OF, model

LIMIT = f'model_drift_threshold{{instance="monitor", {OF}}}'


def drift(column: str, kind: str = "inputs") -> str:
    return f'model_drift_score{{instance="monitor", column="{column}", kind="{kind}", {OF}}}'


def quality(suffix: str = "", bound: str = "", metric: str = "roc_auc") -> str:
    side = f'bound="{bound}", ' if bound else ""
    return f'model_quality{suffix}{{instance="monitor", {side}metric="{metric}", {OF}}}'


def status(kind: str, status: str) -> str:
    return f'model_assessment_status{{instance="monitor", kind="{kind}", status="{status}", {OF}}}'


def judged(kind: str = "inputs") -> str:
    return f'model_assessment_timestamp_seconds{{instance="monitor", kind="{kind}", {OF}}}'


def ended(run: str, outcome: str, reason: str = "drift") -> str:
    return f'pipeline_run_info{{instance="monitor", run="{run}", reason="{reason}", outcome="{outcome}", {OF}}}'


SINCE = f'model_release_timestamp_seconds{{instance="monitor", {OF}}}'
STALE = f'model_stale_after_seconds{{instance="monitor", {OF}}}'

WATCHING = [
    model("one column of the requests drifts, and a new model is used to it")
    .given(LIMIT, "0.2x60")
    .given(drift("distance"), "0.01x60")
    .given(drift("temperature"), "0.05x9 3.1x30 0.04x21")
    .given(drift("label", "predictions"), "0.02x60")
    .silent("InputsDrifted", 9, 15)
    .fires(
        "InputsDrifted",
        25,
        says="Requests to flights in staging differ from the training data: temperature by 3.10",
        **FLIGHTS,
    )
    .silent("PredictionsDrifted", 25)
    .silent("InputsDrifted", 45),
    model("exactly at the limit is not over it")
    .given(LIMIT, "0.2x60")
    .given(drift("temperature"), "0.2x60")
    .silent("InputsDrifted", 50),
    model("a single evaluation over the limit, and the next one is well again")
    .given(LIMIT, "0.2x60")
    .given(drift("temperature"), "0.05x9 3.1x5 0.05x40")
    .silent("InputsDrifted", 12, 20, 50),
    model("a use case that is not watched for drift has no limit")
    .given(drift("temperature"), "3.1x60")
    .silent("InputsDrifted", 50),
    model("the answers drift, the requests do not")
    .given(LIMIT, "0.2x60")
    .given(drift("temperature"), "0.05x60")
    .given(drift("label", "predictions"), "0.02x9 0.41x30 0.02x21")
    .silent("PredictionsDrifted", 9)
    .fires(
        "PredictionsDrifted",
        25,
        says="Answers of flights in staging differ from those on the training data: label by 0.41",
        **FLIGHTS,
    )
    .silent("InputsDrifted", 25)
    .silent("PredictionsDrifted", 45),
    model("quality falls below its limit, and a new model is better")
    .given(quality(), "0.66x10 0.59x30 0.68x20")
    .given(quality("_threshold", "at_least"), "0.62x60")
    .silent("QualityLow", 10, 15)
    .fires(
        "QualityLow",
        25,
        says="flights in staging is not good enough any more: roc_auc 0.590 on labelled predictions",
        metric="roc_auc",
        **FLIGHTS,
    )
    .silent("QualityLow", 45),
    model("an error that should be small is not")
    .given(quality(metric="mae"), "10x10 30x40")
    .given(quality("_threshold", "at_most", "mae"), "25x60")
    .silent("QualityLow", 10)
    .fires("QualityLow", 25, metric="mae", **FLIGHTS),
    model("a score that should be large is")
    .given(quality(), "0.9x60")
    .given(quality("_threshold", "at_least"), "0.62x60")
    .silent("QualityLow", 50),
    model("too few labels to judge by: quality has no value, and that is no bad quality")
    .given(quality("_threshold", "at_least"), "0.62x60")
    .silent("QualityLow", 50),
    model("labels stop coming, and come again")
    .given(status("labels", "alert"), "0x10 1x30 0x20")
    .given(status("labels", "ok"), "1x10 0x30 1x20")
    .silent("LabelsMissing", 10, 15)
    .fires(
        "LabelsMissing",
        25,
        says="No true values arrive for flights in staging: nobody knows whether its answers are right",
        **FLIGHTS,
    )
    .silent("LabelsMissing", 45),
    model("some labels come, for more than a day too few of them", step=5)
    .given(status("labels", "ok"), "1x400")
    .given(status("quality", "too-few"), "1x360 0x40")
    .silent("LabelsTooFew", 1400)
    .fires(
        "LabelsTooFew",
        1500,
        says="Too few true values arrive for flights in staging to judge its quality",
        **FLIGHTS,
    )
    .silent("LabelsMissing", 1500)
    .silent("LabelsTooFew", 1900),
    model("a model that is seldom asked has few labels because it has few predictions", step=5)
    .given(status("labels", "ok"), "0x400")
    .given(status("labels", "too-few"), "1x400")
    .given(status("quality", "too-few"), "1x400")
    .silent("LabelsTooFew", 1500, 1900),
    model("an evaluation fails for an hour")
    .given(status("inputs", "failed"), "0x10 1x60 0x20")
    .given(status("quality", "failed"), "0x90")
    .silent("AssessmentFailed", 10, 35)
    .fires("AssessmentFailed", 50, says="The inputs of flights in staging cannot be judged", kind="inputs", **FLIGHTS)
    .silent("AssessmentFailed", 80),
    model("evaluations stop while the monitor answers")
    .given(judged(), "0+60x10 600x120 7800+60x30")
    .given(judged("labels"), "0+60x10 600x120 7800+60x30")
    .silent("AssessmentOverdue", 9, 70)
    .fires("AssessmentOverdue", 90, says="flights in staging was last judged 1h 20m 0s ago", **FLIGHTS)
    .silent("AssessmentOverdue", 140),
    model("the same version for longer than it should be, until a new one comes")
    .given(SINCE, "0x300 18000x100")
    .given(STALE, "7200x400")
    .silent("ModelStale", 110, 170)
    .fires("ModelStale", 200, says="flights in staging has been the same version for 3h 20m 0s", **FLIGHTS)
    .silent("ModelStale", 320),
    model("stale_after is null: a version may stay for ever").given(SINCE, "0x400").silent("ModelStale", 390),
    model("a run fails for good, and the next one is released")
    .given(ended("flights-1", "failing"), "1x10 _x50")
    .given(ended("flights-3", "failed"), "_x10 1x30 _x20")
    .given(ended("flights-4", "released"), "_x40 1x20")
    .silent("PipelineFailed", 9)
    .fires(
        "PipelineFailed",
        20,
        says="The pipeline of flights failed for staging, three times in a row (drift)",
        run="flights-3",
        reason="drift",
        **FLIGHTS,
    )
    .silent("PipelineFailed", 50),
    model("the gate rejects a candidate, and lets the next one through")
    .given(ended("flights-0", "unchanged"), "1x10 _x50")
    .given(ended("flights-1", "rejected", "quality"), "_x10 1x30 _x20")
    .given(ended("flights-2", "released", "quality"), "_x40 1x20")
    .silent("CandidateRejected", 9)
    .fires(
        "CandidateRejected",
        20,
        says="A new flights was rejected by the gate (quality): staging keeps what it has",
        run="flights-1",
        reason="quality",
        **FLIGHTS,
    )
    .silent("PipelineFailed", 20)
    .silent("CandidateRejected", 50),
]
