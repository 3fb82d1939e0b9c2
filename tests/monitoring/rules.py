"""The alert rules of the tree, as Prometheus reads them, and stories about them that promtool plays through."""

import functools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring import tools

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infrastructure" / "configs" / "model-monitoring"
MINUTE = 60
VARIABLES = yaml.safe_load((ROOT / "clusters" / "staging" / "cluster-vars.yaml").read_text())["data"]


@functools.cache
def rule_objects() -> dict[str, dict[str, Any]]:
    """Every PrometheusRule by its file's name, with the cluster's variables filled in as Flux does."""
    return {path.name: yaml.safe_load(_substituted(path.read_text())) for path in sorted(FOLDER.glob("rules/*.yaml"))}


def groups() -> list[dict[str, Any]]:
    return [group for rule in rule_objects().values() for group in rule["spec"]["groups"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def rule_file(spoken: set[str] | None = None) -> str:
    """All groups as one file of rules; of annotations only the summaries of the alerts named in `spoken`, or all."""
    kept = groups()
    if spoken is not None:
        kept = [{**group, "rules": [_quiet(rule, spoken) for rule in group["rules"]]} for group in kept]
    return yaml.safe_dump({"groups": kept}, sort_keys=False)


def _quiet(rule: dict[str, Any], spoken: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in rule.items() if name != "annotations"}
    if rule.get("alert") in spoken:
        kept["annotations"] = {"summary": rule["annotations"]["summary"]}
    return kept


def _substituted(text: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: VARIABLES[found[1]], text)


@dataclass(frozen=True)
class Moment:
    """What one alert should be at one time, in minutes: firing with these labels, or silent (none)."""

    alert: str
    minute: float
    firing: tuple[dict[str, str], ...] = ()
    says: str | None = None


@dataclass
class Story:
    """Series over time, one value each `step` minutes in promtool's notation, and what the alerts make of them.

    story.given('up{job="model-server"}', "1x9 0x20").silent("ModelDown", 9).fires("ModelDown", 13, ...)
    """

    name: str
    step: int = 1
    series: list[tuple[str, str]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def given(self, series: str, values: str) -> "Story":
        self.series.append((series, values))
        return self

    def fires(
        self, alert: str, minute: float, *others: dict[str, str], says: str | None = None, **labels: str
    ) -> "Story":
        """With exactly these labels, beside those that the rule itself gives."""
        fixed = alerts()[alert]["labels"]
        firing = tuple({**fixed, **some} for some in (labels, *others))
        self.moments.append(Moment(alert, minute, firing, says))
        return self

    def silent(self, alert: str, *minutes: float) -> "Story":
        self.moments += [Moment(alert, minute) for minute in minutes]
        return self

    def play(self, folder: Path) -> None:
        """Fails with promtool's own words where it comes out differently."""
        spoken = {moment.alert for moment in self.moments if moment.says}
        (folder / "rules.yaml").write_text(rule_file(spoken))
        test = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": f"{self.step}m",
            "group_eval_order": [group["name"] for group in groups()],
            "tests": [
                {
                    "interval": f"{self.step}m",
                    "input_series": [{"series": series, "values": values} for series, values in self.series],
                    "alert_rule_test": [_expected(moment) for moment in self.moments],
                }
            ],
        }
        (folder / "story.yaml").write_text(yaml.safe_dump(test, sort_keys=False))
        played = tools.run("promtool", "test", "rules", folder / "story.yaml")
        assert played.returncode == 0, f"{self.name}:{os.linesep}{played.stdout}{played.stderr}"


def _expected(moment: Moment) -> dict[str, Any]:
    said = {"exp_annotations": {"summary": moment.says}} if moment.says else {}
    return {
        "eval_time": f"{round(moment.minute * MINUTE)}s",
        "alertname": moment.alert,
        "exp_alerts": [{"exp_labels": labels, **said} for labels in moment.firing],
    }
