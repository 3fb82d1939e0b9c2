"""Platform: pipelines, Flux, the monitor, and what they stand on."""

from parts import HALF, THIRD, fill, lines, listing, number, page, row, written

OURS = 'namespace=~"mlops|mlflow|kubeflow|flux-system|monitoring"'
FLUX = 'exported_namespace="flux-system"'


def dashboard() -> str:
    made = page("platform", "Platform", "Pipelines, Flux, the monitor, databases and volumes.", "1d")
    not_ready = 'count(max by (kind, name, exported_namespace) (flux_resource_info{ready="False"})) or vector(0)'
    suspended = 'count(max by (kind, name, exported_namespace) (flux_resource_info{suspended="True"})) or vector(0)'
    pending = 'sum(kube_pod_status_phase{phase="Pending"})'
    filled = fill(
        made,
        number("Monitor", "none", 'sum(up{job="monitor"}) or vector(0)', text="How many are up."),
        number("Not as in Git", "none", not_ready, text="Flux objects that are not ready.", bad_from=1),
        number("Suspended", "none", suspended, text="Where Git does not decide at the moment.", bad_from=1),
        number("Runs under way", "none", "sum(retrain_running) or vector(0)"),
        number("Pods waiting", "none", pending, bad_from=1),
        number("Databases up", "none", "sum(cnpg_collector_up)"),
        row("Pipelines"),
        lines(
            "Runs that wait",
            "none",
            ("sum by (usecase, reason) (retrain_pending)", "{{usecase}} {{reason}}"),
            width=THIRD,
        ),
        lines(
            "Runs under way",
            "none",
            ("sum by (usecase, reason) (retrain_running)", "{{usecase}} {{reason}}"),
            width=THIRD,
        ),
        lines(
            "How requests end",
            "none",
            ("sum by (outcome) (increase(retrain_requests_total[1h]))", "{{outcome}}"),
            width=THIRD,
            stacked=True,
        ),
        row("Flux"),
        listing(
            "Not ready",
            'max by (kind, exported_namespace, name, reason) (flux_resource_info{ready="False"})',
            text="What Git says and the cluster is not. A model before its first release has nothing to build.",
        ),
        listing(
            "Applied", f'max by (name, revision) (flux_resource_info{{kind="Kustomization", ready="True", {FLUX}}})'
        ),
        lines(
            "Time to apply, p95",
            "s",
            (
                "histogram_quantile(0.95, sum by (le, kind) (rate(gotk_reconcile_duration_seconds_bucket[15m])))",
                "{{kind}}",
            ),
            width=HALF,
        ),
        lines(
            "Restarts in an hour",
            "none",
            (
                f"sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total{{{OURS}}}[1h])) > 0",
                "{{namespace}} {{pod}}",
            ),
            width=HALF,
        ),
        row("Databases and volumes"),
        lines(
            "Database size",
            "bytes",
            ("max by (namespace, datname) (cnpg_pg_database_size_bytes)", "{{namespace}} {{datname}}"),
        ),
        lines("Connections", "none", ("sum by (namespace, pod) (cnpg_backends_total)", "{{namespace}} {{pod}}")),
        lines(
            "Volumes",
            "percentunit",
            (
                "max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_used_bytes) "
                "/ max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_capacity_bytes)",
                "{{namespace}} {{persistentvolumeclaim}}",
            ),
            most=1,
        ),
    )
    return written(filled)
