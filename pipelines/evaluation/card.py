"""The model card: one page that says what a model is for, how good it is, and where it comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from pipelines.documents import Value, write_atomically
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import Verdict
from pipelines.evaluation.markdown import Markdown, escape, number, table
from pipelines.evaluation.metrics import Scores, SliceScore
from pipelines.evaluation.plots import Plot, draw_plots
from pipelines.metric_catalog import metric_info
from pipelines.usecase import UseCase
from pipelines.usecase.durations import format_duration
from pipelines.usecase.model import CategoryFeature, NumberFeature, RandomSplit, TensorFeature, TimeSplit

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN_FILE = "model-card.md"
HTML_FILE = "model-card.html"
PLOTS_FOLDER = "plots"
MOST_SLICES_A_COLUMN = 40


class CardLineage(Value):
    """Where a model comes from and what it became: `data` is a snapshot's hash, `code` a commit, `model` a name and
    version. `model`, `bento` and `commit`, the one that released it, are None as long as there are none.
    """

    run: str
    data: str
    code: str
    model: str | None = None
    bento: str | None = None
    commit: str | None = None
    environment: str
    params: dict[str, JsonValue]
    seed: int
    as_of: str | None
    created: str


@dataclass(frozen=True)
class ModelCard:
    """The files of a card. The HTML stands alone; the Markdown shows the plots beside it."""

    markdown: Path
    html: Path
    plots: tuple[Path, ...]


def write_card(
    usecase: UseCase, evaluation: Evaluation, verdict: Verdict, lineage: CardLineage, folder: Path
) -> ModelCard:
    """Write the card into the folder. The same inputs give the same bytes."""
    plots = draw_plots(usecase, evaluation.candidate, evaluation.champion)
    markdown = _markdown(usecase, evaluation, verdict, lineage, plots)
    card = ModelCard(
        markdown=folder / MARKDOWN_FILE,
        html=folder / HTML_FILE,
        plots=tuple(folder / PLOTS_FOLDER / f"{plot.name}.svg" for plot in plots),
    )
    write_atomically(card.markdown, markdown)
    write_atomically(card.html, _html(f"Model card: {usecase.name}", markdown, plots))
    for path, plot in zip(card.plots, plots, strict=True):
        write_atomically(path, _on_paper(plot.svg))
    return card


# --- Markdown -----------------------------------------------------------------------------------------------


def _markdown(
    usecase: UseCase, evaluation: Evaluation, verdict: Verdict, lineage: CardLineage, plots: Sequence[Plot]
) -> str:
    shown = _largest_slices(usecase, evaluation.candidate)
    template = _templates().get_template("model-card.md.j2")
    return template.render(
        usecase=usecase,
        evaluation=evaluation,
        verdict=verdict,
        lineage=lineage,
        plots=plots,
        metrics=_metrics(usecase, evaluation),
        rules=verdict.to_table(),
        slices=_slices(usecase, evaluation, shown) if shown else None,
        slices_without_value=_without_value(usecase, shown),
        slices_left_out=len(evaluation.candidate.slices) - len(shown),
        features=_features(usecase),
        params=_params(lineage),
        split=_split(usecase),
        limits=list(_limits(usecase, verdict)),
        became=list(_became(lineage, verdict)),
    )


def _templates() -> "Environment":
    """Everything a template prints is escaped, unless it is Markdown already."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(  # noqa: S701 - Markdown: `finalize` escapes it, where HTML escaping would be wrong
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markdown) else escape(value),
        keep_trailing_newline=True,
    )


def _became(lineage: CardLineage, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """What the run made of the model. The card is written with the verdict, and again with the release."""
    if lineage.model is None:
        yield "Model", "not registered yet: this card is from the gate" if verdict.passed else "none, it was rejected"
        return
    yield "Model", lineage.model
    if lineage.bento:
        yield "Bento", lineage.bento
    if lineage.commit:
        yield "Release", f"commit {lineage.commit} in {lineage.environment}"


def _metrics(usecase: UseCase, evaluation: Evaluation) -> Markdown:
    champion = evaluation.champion.metrics if evaluation.champion else {}
    rows = [
        [
            escape(name),
            escape(metric_info(name).meaning),
            metric_info(name).better,
            number(evaluation.candidate.metrics.get(name)),
            number(champion.get(name)),
        ]
        for name in usecase.reported_metrics
    ]
    values = ["This model", "Champion"]
    return table(["Metric", "Meaning", "Better is", *values], rows, numbers=values)


def _largest_slices(usecase: UseCase, candidate: Scores) -> list[SliceScore]:
    """The slices of each column that have the most rows, in the order they came."""
    shown: list[SliceScore] = []
    for column in usecase.reported_slices:
        own = [slice_ for slice_ in candidate.slices if slice_.column == column]
        largest = sorted(own, key=lambda slice_: -slice_.rows)[:MOST_SLICES_A_COLUMN]
        shown += [slice_ for slice_ in own if slice_ in largest]
    return shown


def _slices(usecase: UseCase, evaluation: Evaluation, shown: Sequence[SliceScore]) -> Markdown:
    names = usecase.reported_metrics
    champion = {(s.column, s.value): s for s in evaluation.champion.slices} if evaluation.champion else {}
    rows = [
        [
            escape(slice_.column),
            escape(slice_.value),
            f"{slice_.rows:,}",
            *(_beside(slice_, champion.get((slice_.column, slice_.value)), name) for name in names),
        ]
        for slice_ in shown
    ]
    titles = [f"{escape(name)} (champion)" if champion else escape(name) for name in names]
    return table(["Column", "Value", "Rows", *titles], rows, numbers=["Rows", *titles])


def _without_value(usecase: UseCase, shown: Sequence[SliceScore]) -> list[str]:
    """Why there is a dash in the table: the slices of a column that lack a metric for the same reason in one line."""
    lacking: dict[tuple[str, str, str], list[str]] = {}
    for slice_ in shown:
        for metric in usecase.reported_metrics:
            if slice_.metrics.get(metric) is None:
                why = slice_.problems.get(metric, "it was not computed")
                lacking.setdefault((slice_.column, metric, why), []).append(slice_.value)
    return [
        f"{metric} has no value for {column} {', '.join(values)}: {why}"
        for (column, metric, why), values in lacking.items()
    ]


def _beside(slice_: SliceScore, champion: SliceScore | None, metric: str) -> str:
    value = number(slice_.metrics.get(metric))
    return f"{value} ({number(champion.metrics.get(metric))})" if champion else value


def _features(usecase: UseCase) -> Markdown:
    rows = []
    for name, feature in usecase.data.features.items():
        match feature:
            case NumberFeature(min=low, max=high, unit=unit):
                about = ", ".join(part for part in (_range(low, high), unit) if part) or "any number"
            case CategoryFeature(one_of=names):
                about = f"one of {', '.join(names)}" if names else "any text"
            case TensorFeature(shape=shape, dtype=dtype):
                about = f"{' × '.join(map(str, shape))} {dtype}"  # noqa: RUF001 - that is how sizes are written
        rows.append([escape(name), feature.type, escape(about)])
    return table(["Input", "Type", "Values"], rows)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"{low:g} or more"
    return f"{low:g} to {high:g}" if low is not None else f"{high:g} or less"


def _params(lineage: CardLineage) -> Markdown | None:
    if not lineage.params:
        return None
    return table(["Parameter", "Value"], [[escape(name), escape(value)] for name, value in lineage.params.items()])


def _split(usecase: UseCase) -> str:
    match usecase.data.split:
        case TimeSplit(test=test, validation=validation):
            return (
                f"by {usecase.data.time}: the last {format_duration(test)} are the test, "
                f"the {format_duration(validation)} before them the validation"
            )
        case RandomSplit(test=share, validation=validation_share):
            return f"at random: {share:.0%} test, {validation_share:.0%} validation"
        case given:
            return f"given by the column {given.column}"


def _limits(usecase: UseCase, verdict: Verdict) -> Iterator[str]:
    """What this model promises, and when somebody is called."""
    for rule in verdict.rules:
        yield f"Gate: {rule.rule}"
    serving, drift, quality = usecase.serving, usecase.monitoring.drift, usecase.monitoring.quality
    yield (
        f"Serving: 99 of 100 answers within {serving.p99_ms:g} ms, at most {serving.max_batch} instances a request, "
        f"given up after {format_duration(serving.timeout)}"
    )
    if drift:
        columns = ", ".join(drift.columns) or "all inputs"
        yield (
            f"Drift: {drift.method} of {columns} over {format_duration(drift.window)} up to {drift.threshold:g}, "
            f"judged from {drift.min_rows} rows on"
        )
    if quality:
        limit = f"at least {quality.at_least:g}" if quality.at_least is not None else f"at most {quality.at_most:g}"
        yield (
            f"Live quality: {quality.metric} {limit}, labels known within {format_duration(quality.labels_within)}, "
            f"judged from {quality.min_labels} labels on"
        )
    if not (drift or quality):
        yield "Monitoring: no limit is set"


# --- HTML ---------------------------------------------------------------------------------------------------


def _html(title: str, markdown: str, plots: Sequence[Plot]) -> str:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, keep_trailing_newline=True)
    body = Markup(_body(markdown, plots))  # noqa: S704 - rendered with raw HTML switched off
    return environment.get_template("model-card.html.j2").render(title=title, body=body)


def _body(markdown: str, plots: Sequence[Plot]) -> str:
    """The card as HTML with its plots inline; HTML that stands in the Markdown is shown as text."""
    from markdown_it import MarkdownIt

    inline = {f"{PLOTS_FOLDER}/{plot.name}.svg": plot for plot in plots}

    def image(_: Any, tokens: Sequence[Any], index: int, *__: Any) -> str:
        plot = inline[tokens[index].attrGet("src")]
        return plot.svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(plot.caption)}" ', 1)

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.add_render_rule("image", image)
    renderer.add_render_rule("table_open", lambda *_: '<div class="table"><table>')
    renderer.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return str(renderer.render(markdown))


def _attribute(text: str) -> str:
    from html import escape as escape_html

    return escape_html(text, quote=True)


def _on_paper(svg: str) -> str:
    """A picture that is a file of its own does not know its page's colours, so it brings its own."""
    return svg.replace("<svg ", '<svg style="color: #1f2328; background: #ffffff" ', 1)
