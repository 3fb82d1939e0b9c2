"""The few kinds of panels that the dashboards are made of."""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

LIMIT = "limit"  # a line whose name begins so is drawn as one
SOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
FULL, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
HEIGHT = 8

Query = tuple[str, str]


def lines(
    title: str,
    unit: str,
    *queries: Query,
    text: str = "",
    width: int = THIRD,
    stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Queries over time, each with its legend."""
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(HEIGHT)
    panel = panel.min(0).fill_opacity(25 if stacked else 8).show_points(shapes.VisibilityMode.NEVER).line_width(1)
    panel = panel.legend(common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM))
    panel = panel.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    for position, (expression, legend) in enumerate(queries):
        panel = panel.with_target(_target(position, expression, legend))
    return panel.override_by_regexp(
        f"^{LIMIT}.*",
        [
            models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
            models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
            models.DynamicConfigValue("custom.fillOpacity", 0),
            models.DynamicConfigValue("custom.stacking", {"mode": "none"}),
        ],
    )


def number(title: str, unit: str, expression: str, *, text: str = "", bad_from: float | None = None) -> stat.Panel:
    """One number, as it is now; red from `bad_from` on."""
    steps = [models.Threshold(None, "green" if bad_from is not None else "text")]
    if bad_from is not None:
        steps.append(models.Threshold(bad_from, "red"))
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(SIXTH).height(4)
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    panel = panel.graph_mode(shapes.BigValueGraphMode.NONE).no_value("none")
    return panel.with_target(_target(0, expression, "").instant())


def listing(
    title: str, expression: str, hidden: Sequence[str] = (), *, text: str = "", width: int = HALF
) -> table.Panel:
    """One row a series, its labels as columns."""
    panel = table.Panel().title(title).description(text).datasource(SOURCE).span(width).height(HEIGHT)
    panel = panel.with_target(_target(0, expression, "").instant().format(PromQueryFormat.TABLE))
    for name in ("Time", "Value", *hidden):
        panel = panel.override_by_name(name, [models.DynamicConfigValue("custom.hidden", True)])
    return panel


def states(title: str, names: dict[int, tuple[str, str]], *queries: Query, text: str = "") -> statetimeline.Panel:
    """Numbers over time as named, coloured bars."""
    results = {
        str(value): models.ValueMappingResult(text=name, color=color, index=value)
        for value, (name, color) in names.items()
    }
    panel = statetimeline.Panel().title(title).description(text).datasource(SOURCE).span(FULL).height(HEIGHT)
    panel = panel.mappings([models.ValueMap(options=results)]).show_value(shapes.VisibilityMode.NEVER)
    for position, (expression, legend) in enumerate(queries):
        panel = panel.with_target(_target(position, expression, legend))
    return panel


def row(title: str) -> dashboard.Row:
    return dashboard.Row(title)


def choice(name: str, label: str, query: str, *, several: bool = True) -> dashboard.QueryVariable:
    """A variable that is filled from the labels of a metric."""
    chosen = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    chosen = chosen.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    return chosen.multi(several).include_all(several)


def page(uid: str, title: str, text: str, since: str) -> dashboard.Dashboard:
    made = dashboard.Dashboard(title).uid(uid).description(text).tags(["mlops-blueprint"]).readonly().refresh("1m")
    made = made.time(f"now-{since}", "now").timezone("utc").tooltip(models.DashboardCursorSync.CROSSHAIR)
    others = dashboard.DashboardLink("Models and platform").type(models.DashboardLinkType.DASHBOARDS)
    return made.link(others.tags(["mlops-blueprint"]).include_vars(True).keep_time(True))


def fill(made: dashboard.Dashboard, *parts: dashboard.Row | Any) -> dashboard.Dashboard:
    """Put rows and panels in, from left to right."""
    for part in parts:
        made = made.with_row(part) if isinstance(part, dashboard.Row) else made.with_panel(part)
    return made


def written(made: dashboard.Dashboard, *marks: dict[str, Any]) -> str:
    """The dashboard's JSON; `marks` are annotations, of which the library knows only a part."""
    known: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    known["annotations"] = {"list": list(marks)}
    return json.dumps(known, indent=2, sort_keys=True) + "\n"


def releases(selector: str) -> dict[str, Any]:
    """A mark at every release, named by its version."""
    return {
        "name": "Releases",
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "enable": True,
        "iconColor": "purple",
        "expr": f"max by (usecase, environment) (model_release_timestamp_seconds{{{selector}}}) * 1000 "
        "* on (usecase, environment) group_left (bento, commit) "
        f"max by (usecase, environment, bento, commit) (model_release_info{{{selector}}})",
        "useValueForTime": True,
        "step": "60s",
        "titleFormat": "{{bento}}",
        "textFormat": "released to {{environment}} by {{commit}}",
    }


def _target(position: int, expression: str, legend: str) -> prometheus.Dataquery:
    reference = chr(ord("A") + position)
    return prometheus.Dataquery().ref_id(reference).datasource(SOURCE).expr(expression).legend_format(legend)
