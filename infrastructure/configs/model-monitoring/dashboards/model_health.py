"""Model health: are the answers still right, and do the requests still look like the training data?"""

from parts import FULL, HALF, choice, fill, lines, listing, number, page, releases, row, states, written

OF = 'usecase=~"$usecase", environment=~"$environment"'
PLACE = "{{usecase}} {{environment}}"
KINDS = ("inputs", "predictions", "quality", "labels")
STATUSES = {
    1: ("ok", "green"),
    2: ("alert", "red"),
    3: ("too few", "blue"),
    4: ("skipped", "text"),
    5: ("failed", "orange"),
}


def status_of(kind: str) -> str:
    """One number for the status that is 1."""
    known = ("ok", "alert", "too-few", "skipped", "failed")
    return " + ".join(
        f'{code} * max by (usecase, environment) (model_assessment_status{{{OF}, kind="{kind}", status="{status}"}})'
        for code, status in enumerate(known, 1)
    )


def dashboard() -> str:
    made = page("model-health", "Model health", "Drift, live quality, labels, and the runs that answer them.", "14d")
    made = made.with_variable(choice("usecase", "Use case", "label_values(model_usecase_info, usecase)"))
    made = made.with_variable(choice("environment", "Environment", "label_values(model_usecase_info, environment)"))
    judged = f"time() - min(max by (usecase, environment) (model_assessment_timestamp_seconds{{{OF}}}))"
    covered = f"min(model_label_coverage_ratio{{{OF}}})"
    alert = f'sum(max by (usecase, environment, kind) (model_assessment_status{{{OF}, status="alert"}}))'
    age = f"time() - min(max by (usecase, environment) (model_release_timestamp_seconds{{{OF}}}))"
    filled = fill(
        made,
        number("Models released", "none", f"count(max by (usecase, environment) (model_release_info{{{OF}}}))"),
        number(
            "Judged bad", "none", f"{alert} or vector(0)", text="Of inputs, predictions, quality, labels.", bad_from=1
        ),
        number("Longest not judged", "s", judged, bad_from=3600),
        number("Oldest version", "s", age),
        number("Label coverage, lowest", "percentunit", covered),
        number("Runs waiting", "none", 'sum(retrain_pending{usecase=~"$usecase"}) or vector(0)'),
        states(
            "Verdicts",
            STATUSES,
            *((status_of(kind), f"{PLACE} {kind}") for kind in KINDS),
            text="What the monitor's evaluations gave. Too few: not enough predictions or labels to judge by.",
        ),
        row("Live quality"),
        lines(
            "Quality and its limit",
            "none",
            (f"max by (usecase, environment, metric) (model_quality{{{OF}}})", f"{PLACE} {{{{metric}}}}"),
            (
                f"max by (usecase, environment, metric, bound) (model_quality_threshold{{{OF}}})",
                f"limit {PLACE} {{{{metric}}}} {{{{bound}}}}",
            ),
            (f"max by (usecase, environment, metric) (model_quality_lower{{{OF}}})", f"{PLACE} lower end"),
            (f"max by (usecase, environment, metric) (model_quality_upper{{{OF}}})", f"{PLACE} upper end"),
            text="On predictions whose true value is known, with the 95 % interval. Purple marks are releases.",
            width=FULL,
        ),
        row("Drift"),
        lines(
            "Inputs: distance from the training data",
            "none",
            (
                f'max by (usecase, environment, column) (model_drift_score{{{OF}, kind="inputs"}})',
                "{{usecase}} {{column}}",
            ),
            (f"max by (usecase, environment) (model_drift_threshold{{{OF}}})", f"limit {PLACE}"),
            width=HALF,
        ),
        lines(
            "Predictions: distance from those on the training data",
            "none",
            (
                f'max by (usecase, environment, column) (model_drift_score{{{OF}, kind="predictions"}})',
                "{{usecase}} {{column}}",
            ),
            (f"max by (usecase, environment) (model_drift_threshold{{{OF}}})", f"limit {PLACE}"),
            width=HALF,
        ),
        row("Labels"),
        lines(
            "Coverage",
            "percentunit",
            (f"max by (usecase, environment) (model_label_coverage_ratio{{{OF}}})", PLACE),
            text="Of predictions old enough to have a true value, how many have one.",
            width=HALF,
            most=1,
        ),
        lines(
            "How long labels take",
            "s",
            (f"max by (usecase, environment, quantile) (model_label_lag_seconds{{{OF}}})", f"{PLACE} {{{{quantile}}}}"),
            width=HALF,
        ),
        row("Champion and candidates"),
        listing(
            "Champions: what is released",
            f"max by (usecase, environment, bento, model, commit) (model_release_info{{{OF}}})",
        ),
        listing(
            "Candidates: how the last runs ended",
            f"max by (usecase, environment, run, reason, outcome) (pipeline_run_info{{{OF}}})",
            text="Asked for by an alert, a schedule, new data or a person. `mlops show RUN` has the gate's verdict.",
        ),
        lines(
            "How long each step of the last run took",
            "s",
            (
                f"max by (usecase, environment, step) (pipeline_step_seconds{{{OF}}})",
                f"{PLACE} {{{{step}}}}",
            ),
            width=FULL,
        ),
        lines(
            "Requests for runs, and what came of them",
            "none",
            (
                'sum by (usecase, reason, outcome) (increase(retrain_requests_total{usecase=~"$usecase"}[1d]))',
                "{{usecase}} {{reason}}: {{outcome}}",
            ),
            text="Over a day. `joined`: the same cause told again, or one more for a run that waits already.",
            width=FULL,
        ),
    )
    return written(filled, releases(OF))
