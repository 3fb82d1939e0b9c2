"""The names of all metrics that are really exported: asked of the code and of a running server, not written down.

Only what other people's programs tell is listed here by hand, with who tells it.
"""

import functools
import tempfile
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from pipelines.monitor.metrics.assessments import AssessmentMetrics
from pipelines.monitor.metrics.inventory import RunMetrics, WatchedMetrics
from pipelines.monitor.metrics.triggers import TriggerMetrics
from pipelines.predictions.store.database import Database
from pipelines.retraining.queue import TriggerTable
from tests.serving import serving
from tests.tiny_models import write_bento

OF_OTHERS = {
    "up": "Prometheus, of everything that it asks",
    "flux_resource_info": "flux-operator",
    "gotk_reconcile_duration_seconds_bucket": "Flux's controllers",
    "cnpg_collector_up": "CloudNativePG",
    "cnpg_pg_database_size_bytes": "CloudNativePG",
    "cnpg_backends_total": "CloudNativePG",
    "container_cpu_usage_seconds_total": "the kubelet",
    "container_memory_working_set_bytes": "the kubelet",
    "kubelet_volume_stats_used_bytes": "the kubelet",
    "kubelet_volume_stats_capacity_bytes": "the kubelet",
    "kube_pod_container_resource_requests": "kube-state-metrics",
    "kube_pod_container_resource_limits": "kube-state-metrics",
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "kube_pod_status_phase": "kube-state-metrics",
    "kube_horizontalpodautoscaler_status_current_replicas": "kube-state-metrics",
    "kube_horizontalpodautoscaler_spec_max_replicas": "kube-state-metrics",
}
# What a scrape adds to every series: Prometheus, the operator, and the relabelings of our own ServiceMonitors.
OF_A_SCRAPE = {"job", "instance", "namespace", "pod", "service", "container", "usecase", "environment"}
FLIGHT = {"distance": 1400, "origin": "EWR", "carrier": "UA"}

Labels = dict[str, set[str]]


@functools.cache
def of_monitor() -> Labels:
    """Names and labels that the monitor's collectors describe."""
    with tempfile.TemporaryDirectory() as folder:
        table = TriggerTable(Database(f"sqlite:///{folder}/monitor.db"))
        registry = CollectorRegistry()
        collectors = (
            AssessmentMetrics(registry),
            WatchedMetrics(registry),
            TriggerMetrics(table, registry),
            RunMetrics(table, registry),
        )
        families = [family for collector in collectors for family in collector.describe()]
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: set(getattr(family, "_labelnames", ()))
        for family in families
    }


@functools.cache
def of_servers() -> Labels:
    """Names and labels of a real server that has answered and refused, and those of what it records."""
    with tempfile.TemporaryDirectory() as folder:
        bento = write_bento(Path(folder) / "bento", version="7")
        with serving(bento, Path(folder) / "run") as server:
            httpx.post(f"{server.url}/predict", json={"instances": [FLIGHT]})
            httpx.post(f"{server.url}/predict", json={"instances": []})
            return labels_by_name(httpx.get(f"{server.url}/metrics").text) | _of_recording(Path(folder))


def _of_recording(folder: Path) -> Labels:
    """Servers register these where they know a monitor."""
    from bento.metrics import registered_labels
    from bento.recording.metrics import RecordingMetrics
    from bento.recording.spool import Spool

    RecordingMetrics(Spool(folder / "spool", limit=1_000_000))
    return {name: set(labels) for name, labels in registered_labels().items()}


def labels_by_name(text: str) -> Labels:
    """What an exposition tells."""
    found: Labels = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def own() -> Labels:
    return of_monitor() | of_servers()
