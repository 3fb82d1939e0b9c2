"""The model card's pictures, as SVG text that is the same for the same scores.

Ink is `currentColor` and the ground is transparent, so that they follow a page's light or dark colours.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.evaluation.metrics import Scores, SliceScore
from pipelines.usecase import UseCase
from pipelines.usecase.gates import SliceGate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
CANDIDATE = "#2f81f7"
CHAMPION = "#8b949e"
LIMIT = "#d1242f"
MOST_CLASSES = 30
MOST_BARS = 25


@dataclass(frozen=True)
class Plot:
    """`name` is a file name without ending; `caption` says what is seen, for those who cannot see it too."""

    name: str
    caption: str
    svg: str


def draw_plots(usecase: UseCase, candidate: Scores, champion: Scores | None) -> list[Plot]:
    """Every picture these scores have the numbers for."""
    plots = [
        _confusion(candidate),
        _calibration(candidate, champion),
        _roc(candidate, champion),
        _true_and_predicted(candidate),
        *(_slices(usecase, candidate, column) for column in usecase.reported_slices),
    ]
    return [plot for plot in plots if plot]


def _confusion(scores: Scores) -> Plot | None:
    if not (scores.confusion and scores.classes and scores.rows) or len(scores.classes) > MOST_CLASSES:
        return None
    counts, names = scores.confusion, [_short(name) for name in scores.classes]

    def draw(axes: "Axes") -> None:
        from matplotlib.patches import Rectangle

        for row, cells in enumerate(counts):
            for column, count in enumerate(cells):
                share = count / (sum(cells) or 1)
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=CANDIDATE, alpha=share, linewidth=0))
                if count:
                    axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xticks(
            range(len(names)), names, rotation=45 if len(names) > 3 else 0, ha="right" if len(names) > 3 else "center"
        )
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")

    side = 2.2 + 0.45 * len(names)
    caption = "Confusion matrix: test rows by true class (down) and predicted class (across)."
    return Plot("confusion", caption, _render("confusion", (side + 0.6, side), draw))


def _calibration(candidate: Scores, champion: Scores | None) -> Plot | None:
    if not candidate.calibration:
        return None
    about = f"that it is {_short(candidate.positive)}" if candidate.positive is not None else "of the top class"

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for scores, color, label in _both(candidate, champion):
            bins = scores.calibration or []
            said, observed = [bin_.mean_predicted for bin_ in bins], [bin_.observed for bin_ in bins]
            axes.plot(said, observed, color=color, marker="o", markersize=4, label=label)
        _unit_square(axes, f"probability said {about}", "share that came true")
        axes.legend(frameon=False, labelcolor=INK)

    caption = "Calibration: where the model says 30%, it should come true in 30% of the rows (the dotted line)."
    return Plot("calibration", caption, _render("calibration", (4.6, 4.2), draw))


def _roc(candidate: Scores, champion: Scores | None) -> Plot | None:
    if not candidate.roc:
        return None

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for scores, color, label in _both(candidate, champion):
            points = scores.roc or []
            axes.plot([x for x, _ in points], [y for _, y in points], color=color, label=label)
        _unit_square(axes, "false alarms among the others", f"found of {_short(candidate.positive)}")
        axes.legend(frameon=False, labelcolor=INK, loc="lower right")

    caption = "ROC curve: share of positives found against share of false alarms, over all thresholds."
    return Plot("roc", caption, _render("roc", (4.6, 4.2), draw))


def _true_and_predicted(scores: Scores) -> Plot | None:
    if not scores.sample:
        return None
    truth, predicted = [x for x, _ in scores.sample], [y for _, y in scores.sample]
    ends = [min(*truth, *predicted), max(*truth, *predicted)]

    def draw(axes: "Axes") -> None:
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
        axes.plot(truth, predicted, color=CANDIDATE, marker="o", markersize=3, linestyle="", alpha=0.6)
        axes.set_xlabel("true value")
        axes.set_ylabel("predicted value")

    caption = f"True and predicted values of {len(truth)} test rows; a perfect model is on the dotted line."
    return Plot("true-and-predicted", caption, _render("true-and-predicted", (4.6, 4.2), draw))


def _slices(usecase: UseCase, scores: Scores, column: str) -> Plot | None:
    """Bars of the first gated metric of this column, or of the first metric reported."""
    gates = [g for g in usecase.evaluation.gates if isinstance(g, SliceGate) and column in g.slices]
    metric = gates[0].metric if gates else usecase.reported_metrics[0]
    known = [
        (slice_, value)
        for slice_ in scores.slices
        if slice_.column == column and (value := slice_.metrics.get(metric)) is not None
    ]
    if not known:
        return None
    shown = _largest(known)
    min_rows = gates[0].min_rows if gates else 0
    limit = (gates[0].at_least if gates[0].at_least is not None else gates[0].at_most) if gates else None

    def draw(axes: "Axes") -> None:
        for position, (slice_, value) in enumerate(shown):
            color = CANDIDATE if slice_.rows >= min_rows else CHAMPION
            axes.barh(position, value, color=color, height=0.7)
            axes.annotate(
                f"{value:.3g}",
                (value, position),
                xytext=(3 if value >= 0 else -3, 0),
                textcoords="offset points",
                va="center",
                ha="left" if value >= 0 else "right",
                fontsize=8,
            )
        if limit is not None:
            axes.axvline(limit, color=LIMIT, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(shown)), [f"{_short(slice_.value)} ({slice_.rows:,})" for slice_, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.set_xlabel(metric)
        axes.set_ylabel(f"{column} (rows)")

    which = f" (the {len(shown)} largest of {len(known)})" if len(shown) < len(known) else ""
    about = f"; dashed: the gate's limit, grey: fewer than {min_rows} rows, not judged" if gates else ""
    name = f"slices-{usecase.reported_slices.index(column) + 1}-{_file_name(column)}"
    height = 1.1 + 0.26 * len(shown)
    return Plot(name, f"{metric} by {column}{which}{about}.", _render(name, (6.0, height), draw))


def _largest(known: list[tuple[SliceScore, float]]) -> list[tuple[SliceScore, float]]:
    """At most so many bars, those with the most rows, in the order they came."""
    keep = sorted(range(len(known)), key=lambda index: -known[index][0].rows)[:MOST_BARS]
    return [known[index] for index in sorted(keep)]


def _both(candidate: Scores, champion: Scores | None) -> list[tuple[Scores, str, str]]:
    drawn = [(champion, CHAMPION, "champion")] if champion else []
    return [*drawn, (candidate, CANDIDATE, "candidate")]


def _unit_square(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _file_name(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())


def _short(name: object) -> str:
    """Names as axis labels; a dollar sign would begin a formula."""
    text = " ".join(str(name).split())
    return (text if len(text) <= 24 else f"{text[:23]}…").replace("$", r"\$")


def _render(name: str, size: tuple[float, float], draw: Callable[["Axes"], None]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[str, Any] = {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with rc_context(style | dict.fromkeys(ink, INK)):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
