"""Service health: do the models answer, rightly and in time, and have they room left?"""

from parts import QUARTER, choice, fill, lines, number, page, releases, row, written

OF = 'usecase=~"$usecase", environment=~"$environment"'
PREDICT = f'endpoint="/predict", {OF}'
REQUESTS = "bentoml_service_request_total"
DURATIONS = "bentoml_service_request_duration_seconds_bucket"
POD = 'namespace=~"$usecase", container="model-server"'


def share_of_errors(window: str) -> str:
    errors = f'sum(rate({REQUESTS}{{{PREDICT}, http_response_code=~"5.."}}[{window}]))'
    return f"({errors} or vector(0)) / sum(rate({REQUESTS}{{{PREDICT}}}[{window}]))"


def quantile(share: float, by: str) -> str:
    answered = f'rate({DURATIONS}{{{PREDICT}, http_response_code="200"}}[$__rate_interval])'
    return f"histogram_quantile({share:g}, sum by (le, {by}) ({answered}))"


def dashboard() -> str:
    made = page("service-health", "Service health", "Requests, errors, latency and room, by model and version.", "6h")
    made = made.with_variable(choice("usecase", "Use case", "label_values(model_usecase_info, usecase)"))
    made = made.with_variable(choice("environment", "Environment", "label_values(model_usecase_info, environment)"))
    filled = fill(
        made,
        number("Servers up", "none", f'sum(up{{job="model-server", {OF}}})'),
        number("Servers down", "none", f'count(up{{job="model-server", {OF}}} == 0) or vector(0)', bad_from=1),
        number("Requests", "reqps", f"sum(rate({REQUESTS}{{{PREDICT}}}[5m]))"),
        number("Errors", "percentunit", share_of_errors("5m"), text="Answers of 500 to 599.", bad_from=0.001),
        number("p99, slowest model", "s", f"max(usecase:request_duration_seconds:p99_5m{{{OF}}})"),
        number("Versions served", "none", f"count(count by (service_name, service_version) ({REQUESTS}{{{PREDICT}}}))"),
        row("Requests"),
        lines(
            "Requests by version",
            "reqps",
            (
                f"sum by (service_name, service_version) (rate({REQUESTS}{{{PREDICT}}}[$__rate_interval]))",
                "{{service_name}}:{{service_version}}",
            ),
            text="Two lines of one model cross while a release rolls out.",
            stacked=True,
        ),
        lines(
            "Answers by status",
            "reqps",
            (
                f"sum by (http_response_code) (rate({REQUESTS}{{{PREDICT}}}[$__rate_interval]))",
                "{{http_response_code}}",
            ),
            text="400 is what callers send wrong; 500 and above is the server's own.",
            stacked=True,
        ),
        lines(
            "Predictions by label",
            "ops",
            (
                f"sum by (usecase, label) (rate(model_predictions_total{{{OF}}}[$__rate_interval]))",
                "{{usecase}} {{label}}",
            ),
            text="How many instances got which answer; `value` for models without classes.",
            stacked=True,
        ),
        row("Errors against the budget"),
        lines(
            "Errors over an hour",
            "percentunit",
            (f"usecase:request_errors:ratio_rate1h{{{OF}}}", "{{usecase}} {{environment}}"),
            (f"14.4 * usecase:error_budget:ratio{{{OF}}}", "limit {{usecase}} {{environment}}"),
            text="Above the limit, and in the last five minutes too, ErrorBudgetBurnsFast fires.",
        ),
        lines(
            "Errors over six hours",
            "percentunit",
            (f"usecase:request_errors:ratio_rate6h{{{OF}}}", "{{usecase}} {{environment}}"),
            (f"6 * usecase:error_budget:ratio{{{OF}}}", "limit {{usecase}} {{environment}}"),
        ),
        lines(
            "Errors over three days",
            "percentunit",
            (f"usecase:request_errors:ratio_rate3d{{{OF}}}", "{{usecase}} {{environment}}"),
            (f"usecase:error_budget:ratio{{{OF}}}", "limit {{usecase}} {{environment}}"),
        ),
        row("Latency"),
        lines(
            "p99 and its limit",
            "s",
            (f"usecase:request_duration_seconds:p99_5m{{{OF}}}", "{{usecase}} {{environment}}"),
            (f"usecase:latency_limit_seconds:p99{{{OF}}}", "limit {{usecase}} {{environment}}"),
            text="serving.p99_ms in usecase.yaml is the limit.",
        ),
        lines(
            "p99 by version",
            "s",
            (quantile(0.99, "service_name, service_version"), "{{service_name}}:{{service_version}}"),
        ),
        lines(
            "p50 by version",
            "s",
            (quantile(0.5, "service_name, service_version"), "{{service_name}}:{{service_version}}"),
        ),
        row("Saturation"),
        lines(
            "CPU of what is requested",
            "percentunit",
            (
                f"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{{{POD}}}[$__rate_interval])) "
                f'/ sum by (namespace, pod) (kube_pod_container_resource_requests{{{POD}, resource="cpu"}})',
                "{{pod}}",
            ),
            text="Above 70 % on average more servers are started; there is no limit on CPU.",
            width=QUARTER,
        ),
        lines(
            "Memory of the limit",
            "percentunit",
            (
                f"max by (namespace, pod) (container_memory_working_set_bytes{{{POD}}}) "
                f'/ max by (namespace, pod) (kube_pod_container_resource_limits{{{POD}, resource="memory"}})',
                "{{pod}}",
            ),
            text="At 100 % the pod is killed.",
            width=QUARTER,
            most=1,
        ),
        lines(
            "Servers",
            "none",
            (
                'sum by (namespace) (kube_horizontalpodautoscaler_status_current_replicas{namespace=~"$usecase"})',
                "{{namespace}}",
            ),
            (
                'sum by (namespace) (kube_horizontalpodautoscaler_spec_max_replicas{namespace=~"$usecase"})',
                "limit {{namespace}}",
            ),
            width=QUARTER,
        ),
        lines(
            "Requests under way",
            "none",
            (f"sum by (service_name) (bentoml_service_request_in_progress{{{PREDICT}}})", "{{service_name}}"),
            width=QUARTER,
        ),
        row("What is kept of predictions"),
        lines(
            "Dropped",
            "ops",
            (
                f"sum by (usecase, reason) (rate(model_predictions_dropped_total{{{OF}}}[$__rate_interval]))",
                "{{usecase}} {{reason}}",
            ),
            text="Answered, and lost for the monitor.",
        ),
        lines(
            "Recorded and shipped",
            "ops",
            (
                f"sum by (usecase) (rate(model_predictions_recorded_total{{{OF}}}[$__rate_interval]))",
                "{{usecase}} recorded",
            ),
            (
                f"sum by (usecase) (rate(model_predictions_shipped_total{{{OF}}}[$__rate_interval]))",
                "{{usecase}} shipped",
            ),
        ),
        lines(
            "Waiting on disk",
            "bytes",
            (f"sum by (usecase) (model_predictions_spooled_bytes{{{OF}}})", "{{usecase}}"),
        ),
    )
    return written(filled, releases(OF))
