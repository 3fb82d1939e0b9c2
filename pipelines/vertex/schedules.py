"""Schedules that Vertex AI keeps, made to match what usecase.yaml says: retrain.schedule, and what it would run."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.vertex.api import VertexApi, VertexResponse

FIELDS = ("displayName", "cron", "createPipelineJobRequest", "maxConcurrentRunCount", "maxConcurrentActiveRunCount")
OPERATION_SECONDS = 600.0


@dataclass(frozen=True)
class WantedSchedule:
    """A schedule as Git has it."""

    usecase: str
    cron: str
    job: Mapping[str, Any]

    @property
    def content(self) -> str:
        """What tells that something differs: Vertex AI gives a pipeline back in another form than it got it."""
        text = json.dumps([self.cron, self.job], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ScheduleChange:
    """One thing to do about a schedule; `known` is what Vertex AI has."""

    act: str
    title: str
    wanted: WantedSchedule | None = None
    known: str = ""

    def __str__(self) -> str:
        at = f" at {self.wanted.cron!r} UTC" if self.wanted and self.act in ("create", "update") else ""
        return f"{self.act} the schedule {self.title!r}{at}"


def title_of(usecase: str, environment: str) -> str:
    """Schedules have no labels, and those of their jobs are not reliably kept; by this name ours are known."""
    return f"mlops: {usecase} in {environment}"


def _shown(title: str, content: str) -> str:
    return f"{title} [{content}]"


def _read(shown: str) -> tuple[str, str]:
    """Title and content of a schedule's name; its content is empty where somebody has renamed it."""
    match = re.fullmatch(r"(mlops: .+? in [a-z]+)(?: \[([0-9a-f]+)\])?", shown)
    return (match[1], match[2] or "") if match else ("", "")


def compare(api: VertexApi, environment: str, wanted: list[WantedSchedule]) -> list[ScheduleChange]:
    """What is to be done so that Vertex AI keeps just these schedules. Nobody else's are looked at."""
    by_title = {title_of(each.usecase, environment): each for each in wanted}
    changes: list[ScheduleChange] = []
    seen: set[str] = set()
    for known in api.each(api.parent, "schedules"):
        title, content = _read(known.get("displayName", ""))
        if not title.endswith(f" in {environment}"):
            continue
        asked = by_title.get(title)
        if asked is None or title in seen or known.get("state") == "COMPLETED":
            changes.append(ScheduleChange("delete", title, known=known["name"]))
            continue
        seen.add(title)
        if content != asked.content:
            changes.append(ScheduleChange("update", title, asked, known["name"]))
        if known.get("state") == "PAUSED":
            changes.append(ScheduleChange("resume", title, asked, known["name"]))
    return changes + [ScheduleChange("create", title, asked) for title, asked in by_title.items() if title not in seen]


def apply(api: VertexApi, change: ScheduleChange) -> None:
    """Bring one change about."""
    known = f"{api.parent}/schedules/{change.known.rpartition('/')[2]}"
    if change.act == "delete":
        api.wait(api.ask("DELETE", known), OPERATION_SECONDS)
    elif change.act == "resume":
        api.ask("POST", f"{known}:resume", {})
    elif change.act == "update":
        body = _body(api, change)
        api.ask("PATCH", known, body, {"updateMask": ",".join(FIELDS)})
    else:
        api.ask("POST", f"{api.parent}/schedules", _body(api, change))


def _body(api: VertexApi, change: ScheduleChange) -> VertexResponse:
    assert change.wanted  # noqa: S101 - create and update have one
    return {
        "displayName": _shown(change.title, change.wanted.content),
        "cron": change.wanted.cron,
        "createPipelineJobRequest": {"parent": api.parent, "pipelineJob": dict(change.wanted.job)},
        "maxConcurrentRunCount": "1",
        "maxConcurrentActiveRunCount": "1",
    }
