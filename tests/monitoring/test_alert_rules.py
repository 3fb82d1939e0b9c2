"""Every alert fires when it should, is silent when it should be, and stops: played through by promtool."""

import re

import pytest

from tests.monitoring import tools
from tests.monitoring.platform_stories import PLATFORM
from tests.monitoring.rules import ROOT, Story, alerts, rule_file
from tests.monitoring.serving_stories import SERVING
from tests.monitoring.watching_stories import WATCHING

STORIES = [*SERVING, *WATCHING, *PLATFORM]
SEVERITIES = {"critical", "warning", "info"}


def test_prometheus_takes_the_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(rule_file())
    checked = tools.run("promtool", "check", "rules", "--lint-fatal", tmp_path / "rules.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_what_the_alerts_make_of_it(story: Story, tmp_path):
    story.play(tmp_path)


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_its_stories(alert):
    told = [[moment for moment in story.moments if moment.alert == alert] for story in STORIES]
    moments = [moment for story in told for moment in story]
    assert any(moment.firing for moment in moments), "no story in which it fires"
    assert any(moment.says for moment in moments), "no story that reads what it says"
    resolves = any(
        not later.firing and later.minute > earlier.minute
        for story in told
        for earlier in story
        if earlier.firing
        for later in story
    )
    assert resolves, "no story in which it stops"
    spared = any(
        not moment.firing and all(moment.minute < fires.minute for fires in story if fires.firing)
        for story in told
        for moment in story
    )
    assert spared, "no story in which it is silent to begin with"


@pytest.mark.parametrize("alert", alerts().values(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_and_leads_on(alert):
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["labels"]["severity"] in SEVERITIES
    owned = "owner" in alert["labels"] or "usecase:owner:info" in alert["expr"]
    assert owned, "nobody is told: no label owner, and no join with usecase:owner:info"
    url, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert url.endswith("/blob/main/docs/alerts.md")
    assert anchor in _anchors(), f"docs/alerts.md has no section {alert['alert']}"


def test_the_runbook_has_no_sections_of_alerts_that_are_gone():
    sections = re.findall(r"^### (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert sections == sorted(set(sections), key=sections.index)
    assert set(sections) == set(alerts())


def _anchors() -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
