"""Alerts about releases and about the monitor itself."""

from tests.monitoring.rules import Story
from tests.monitoring.scenes import FLIGHTS, RELEASE, model

APPLIED = (
    'flux_resource_info{kind="Kustomization", exported_namespace="flux-system", name="flights", '
    'ready="%s", reason="%s", revision="main@sha1:%s"}'
)
MONITOR = 'up{job="monitor", namespace="mlops"}'

PLATFORM = [
    model("a release does not get ready, and is rolled back")
    .given(RELEASE, "1x60")
    .given(APPLIED % ("True", "ReconciliationSucceeded", "a"), "1x10 _x20 1x30")
    .given(APPLIED % ("False", "HealthCheckFailed", "b"), "_x11 1x18 _x31")
    .silent("ReleaseFailed", 9, 14)
    .fires(
        "ReleaseFailed",
        20,
        says="The release of flights to staging does not come up: HealthCheckFailed",
        reason="HealthCheckFailed",
        **FLIGHTS,
    )
    .silent("ReleaseFailed", 40),
    model("a use case that was never released has nothing to apply")
    .given(APPLIED % ("False", "BuildFailed", "a"), "1x60")
    .silent("ReleaseFailed", 5, 30, 60),
    model("a release while the monitor is down")
    .given(RELEASE, "1x10 _x50")
    .given(APPLIED % ("False", "HealthCheckFailed", "b"), "_x20 1x40")
    .fires("ReleaseFailed", 30, reason="HealthCheckFailed", **FLIGHTS),
    model("something of the platform is not ready: that is not a release")
    .given(RELEASE, "1x60")
    .given((APPLIED % ("False", "HealthCheckFailed", "b")).replace('name="flights"', 'name="platform"'), "1x60")
    .silent("ReleaseFailed", 30),
    Story("the monitor stops, and starts again")
    .given(MONITOR, "1x10 0x10 1x20")
    .silent("MonitorDown", 10, 14)
    .fires("MonitorDown", 17, says="The monitor is down: no model is watched, and no alert starts a run")
    .silent("MonitorDown", 22),
    Story("there never was a monitor, or its pod is gone altogether").fires("MonitorDown", 6),
]
