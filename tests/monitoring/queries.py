"""Every query of a rule or a dashboard, parsed."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

from tests.monitoring.rules import FOLDER, groups

# Grafana's own variables, as they look once it has filled them in.
GRAFANA = {
    "$__rate_interval": "5m",
    "$__interval": "1m",
    "$__range": "6h",
    "$usecase": "flights",
    "$environment": "staging",
    "$datasource": "prometheus",
}
IN_A_TEMPLATE = re.compile(r'printf "(?P<query>[^"]+)"')


@dataclass(frozen=True)
class Query:
    """Where it stands, and what it asks."""

    place: str
    text: str

    def selectors(self) -> list[promql_parser.VectorSelector]:
        """Raises what the parser raises."""
        found: list[promql_parser.VectorSelector] = []

        def look(node: Any) -> bool:
            if isinstance(node, promql_parser.VectorSelector):
                found.append(node)
            return True

        promql_parser.walk(promql_parser.parse(self.text), look)
        return found


def of_rules() -> Iterator[Query]:
    for group in groups():
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            yield Query(f"{group['name']}: {name}", rule["expr"])
            for text in rule.get("annotations", {}).values():
                for found in IN_A_TEMPLATE.finditer(text):
                    if "{" in found["query"]:
                        yield Query(f"{group['name']}: {name}, in a text", found["query"].replace("%s", "flights"))


def recorded() -> set[str]:
    return {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("dashboards/*.json"))}


def of_dashboards() -> Iterator[Query]:
    for name, dashboard in dashboards().items():
        for title, text in _asked(dashboard):
            yield Query(f"{name}: {title}", _filled_in(text))


def _asked(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in dashboard["panels"]:
        for part in [panel, *panel.get("panels", [])]:
            for target in part.get("targets", []):
                yield part["title"], target["expr"]
    for variable in dashboard["templating"].get("list", []):
        if variable["type"] == "query":
            query = variable["query"]
            text = query if isinstance(query, str) else query["query"]
            found = re.fullmatch(r"label_values\((?P<query>.+), \w+\)", text)
            yield f"variable {variable['name']}", found["query"] if found else text
    for annotation in dashboard["annotations"]["list"]:
        if annotation.get("expr"):
            yield f"annotation {annotation['name']}", annotation["expr"]


def _filled_in(text: str) -> str:
    for name, value in GRAFANA.items():
        text = text.replace(name, value)
    return text
