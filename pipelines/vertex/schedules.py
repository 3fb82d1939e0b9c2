"""Schedules that Vertex AI keeps, made to match what usecase.yaml says: retrain.schedule, and what it would run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.vertex.api import Answer, VertexApi

CONTENT_LABEL = "content"
FIELDS = ("cron", "createPipelineJobRequest", "maxConcurrentRunCount", "maxConcurrentActiveRunCount")
OPERATION_SECONDS = 600.0


@dataclass(frozen=True)
class Wanted:
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
class Change:
    """One thing to do about a schedule; `known` is what Vertex AI has."""

    act: str
    title: str
    wanted: Wanted | None = None
    known: str = ""

    def __str__(self) -> str:
        at = f" at {self.wanted.cron!r} UTC" if self.wanted and self.act in ("create", "update") else ""
        return f"{self.act} the schedule {self.title!r}{at}"


def title_of(usecase: str, environment: str) -> str:
    """Schedules have no labels; by this name ours are known."""
    return f"mlops: {usecase} in {environment}"


def compare(api: VertexApi, environment: str, wanted: list[Wanted]) -> list[Change]:
    """What is to be done so that Vertex AI keeps just these schedules. Nobody else's are looked at."""
    by_title = {title_of(each.usecase, environment): each for each in wanted}
    changes: list[Change] = []
    seen: set[str] = set()
    for known in api.each(api.parent, "schedules"):
        title = known.get("displayName", "")
        if not (title.startswith("mlops: ") and title.endswith(f" in {environment}")):
            continue
        asked = by_title.get(title)
        if asked is None or title in seen or known.get("state") == "COMPLETED":
            changes.append(Change("delete", title, known=known["name"]))
            continue
        seen.add(title)
        if _content(known) != asked.content:
            changes.append(Change("update", title, asked, known["name"]))
        if known.get("state") == "PAUSED":
            changes.append(Change("resume", title, asked, known["name"]))
    return changes + [Change("create", title, asked) for title, asked in by_title.items() if title not in seen]


def apply(api: VertexApi, change: Change) -> None:
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


def _body(api: VertexApi, change: Change) -> Answer:
    assert change.wanted  # noqa: S101 - create and update have one
    job = dict(change.wanted.job)
    job["labels"] = {**job.get("labels", {}), CONTENT_LABEL: change.wanted.content}
    return {
        "displayName": change.title,
        "cron": change.wanted.cron,
        "createPipelineJobRequest": {"parent": api.parent, "pipelineJob": job},
        "maxConcurrentRunCount": "1",
        "maxConcurrentActiveRunCount": "1",
    }


def _content(known: Answer) -> str:
    labels = known.get("createPipelineJobRequest", {}).get("pipelineJob", {}).get("labels", {})
    return str(labels.get(CONTENT_LABEL, ""))
