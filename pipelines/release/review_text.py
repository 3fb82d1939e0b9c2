"""What a request to review a release says: what changes, how the gate judged it, the model card, what to look at."""

import re

from pipelines.git.forge import Forge
from pipelines.metric_catalog import MetricInfo, find_metric
from pipelines.plugins import PluginBroken
from pipelines.release.evidence import Evidence
from pipelines.release.release import Release, readable
from pipelines.release.releases import Proposal

LEFT_FOR_PEOPLE = 5_536  # characters, of those that the host takes
COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}")
MENTION = re.compile(r"(?<![\w`/.@])@(?=[A-Za-z0-9])")
PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+(\*[^\n]*\*\n)?", re.MULTILINE)
CHECKLIST = {
    "promotion": (
        "The metrics are good enough for production, in every slice that matters.",
        "Staging has served this release without alerts.",
        "The data and the code are ones that may go to production.",
        "Who is accountable for the model, named in the card, knows.",
    ),
    "rollback": (
        "What is restored is known to work with today's clients and data.",
        "The reason is one that the next training will take care of.",
    ),
}


def write_text(proposal: Proposal, evidence: Evidence, forge: Forge, most_characters: int) -> str:
    """The body. It ends with the commit's trailers, so that a squash merge that takes it for the message keeps them."""
    head = [
        f"**{proposal.release.bento}** → {proposal.environment}. Merging this deploys it; nothing else does.",
        _reason(proposal),
        _table(proposal, evidence, forge),
    ]
    tail = [
        "### Before merging\n\n" + "\n".join(f"- [ ] {point}" for point in CHECKLIST[proposal.kind]),
        f"To take it back: `mlops rollback {proposal.usecase} --environment {proposal.environment}`, or revert this.",
        proposal.trailers,
    ]
    room = most_characters - LEFT_FOR_PEOPLE - sum(len(part) + 2 for part in (*head, *tail))
    return "\n\n".join(part for part in (*head, *_findings(evidence, room), *tail) if part) + "\n"


def _reason(proposal: Proposal) -> str:
    return f"Reason: {_quiet(proposal.reason)}" if proposal.kind == "rollback" else ""


def _table(proposal: Proposal, evidence: Evidence, forge: Forge) -> str:
    new, old = proposal.release, proposal.current
    rows = [["Bento", old.bento if old else "none", new.bento, ""]]
    for name in dict.fromkeys([*new.metrics, *(old.metrics if old else {})]):
        before, after = (release.metrics.get(name) if release else None for release in (old, new))
        rows.append([name, _number(before), _number(after), _change(name, before, after)])
    rows += [
        ["data", f"`{old.data}`" if old else "", f"`{new.data}`", "the same" if old and old.data == new.data else ""],
        ["code", _code(old, forge) if old else "", _code(new, forge), _compare(old, new, forge)],
        ["MLflow run", f"`{old.run}`" if old else "", _link(f"`{new.run}`", evidence.run_url), ""],
        ["image", "", f"`{new.image}`", ""],
    ]
    titles = ["", f"{proposal.environment} now", "after merging", "change"]
    lines = [titles, ["---"] * 4, *rows]
    note = "Each column was measured in its own run, on that run's test rows." if old else "The first release."
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{note}"


def _findings(evidence: Evidence, room: int) -> list[str]:
    """Verdict and card, cut where they would not fit."""
    if evidence.problem:
        return [f"> **The gate's verdict and the model card are not shown here**: {_quiet(evidence.problem)}"]
    parts = []
    if evidence.verdict:
        parts.append("### The gate's verdict\n\n" + _cut(_quiet(evidence.verdict), room // 2, "verdict.md"))
    if evidence.card:
        opening = "<details><summary>Model card</summary>\n\n"
        closing = "\n\n</details>"
        left = room - sum(len(part) + 2 for part in parts) - len(opening) - len(closing)
        parts.append(opening + _cut(_quiet(_plain(evidence.card)), left, "model-card.md") + closing)
    return parts


def _plain(card: str) -> str:
    """The card without its pictures, which only its own folder has, and one level deeper."""
    text = PICTURE.sub("", card)
    return re.sub(r"^(#+) ", r"##\1 ", text, flags=re.MULTILINE).strip()


def _cut(text: str, room: int, name: str) -> str:
    if len(text) <= room:
        return text
    note = f"\n\n*Cut here; the whole text is `evaluation/{name}` of the run in MLflow.*"
    kept = text[: max(0, room - len(note))]
    return kept.rpartition("\n")[0] + note


def _quiet(text: str) -> str:
    """Names in a report call nobody, and nothing in it ends the part that it is shown in."""
    return MENTION.sub("@\u200b", text).replace("</details>", "&lt;/details&gt;")


def _change(name: str, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    if before == after:
        return "the same"
    known = _known_metric(name)
    word = ("higher" if after > before else "lower") if known is None else (
        "better" if (after > before) == (known.better == "higher") else "worse"
    )  # fmt: skip
    return f"{readable(abs(after - before))} {word}"


def _known_metric(name: str) -> MetricInfo | None:
    """A report is written where the plugin of a metric is missing or broken, too: without saying what is better."""
    try:
        return find_metric(name)
    except PluginBroken:
        return None


def _number(value: float | None) -> str:
    return "" if value is None else readable(value)


def _code(release: Release, forge: Forge) -> str:
    commit, _, dirty = release.code.partition("+")
    url = forge.commit_page(commit) if COMMIT_PATTERN.fullmatch(commit) else None
    return _link(f"`{commit[:12]}`", url) + (" and uncommitted changes" if dirty else "")


def _compare(old: Release | None, new: Release, forge: Forge) -> str:
    if old is None or old.code == new.code:
        return "the same" if old else ""
    both = [release.code.partition("+")[0] for release in (old, new)]
    if not all(COMMIT_PATTERN.fullmatch(commit) for commit in both):
        return ""
    page = forge.compare_page(both[0], both[1])
    return f"[compare]({page})" if page else ""


def _link(text: str, url: str | None) -> str:
    return f"[{text}]({url})" if url else text
