"""The model card: complete, self-contained, the same bytes each time, and safe to open."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluation_cases import binary_usecase, delay_usecase, picture_usecase
from markdown_it import MarkdownIt

from pipelines.evaluation.card import CardLineage, ModelCard, write_card
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.gate import judge
from pipelines.evaluation.markdown import escape, number
from pipelines.evaluation.metrics import score, unscored
from pipelines.usecase import UseCase

random = np.random.default_rng(3)
TRUTH = random.integers(0, 2, 300)
LATE = np.clip(TRUTH * 0.3 + random.random(300) * 0.7, 0, 1)
CARRIER = np.array(["UA", "AA", "B6"], dtype=object)[random.integers(0, 3, 300)]

LINEAGE = CardLineage(
    environment="staging",
    run="8a7c11",
    data="0f3b2c9d1e77",
    code="d0b72d5",
    model="flight-delays/8",
    bento="flight-delays:8",
    commit="403c337d845d",
    params={"learning_rate": 0.1, "leaves": [15, 31]},
    seed=42,
    as_of="2013-04-01",
    created="2026-11-21T07:00:00Z",
)


def flights(**evaluation) -> UseCase:
    gates = [
        {"metric": "roc_auc", "champion": "not-worse", "margin": 0.05},
        {"metric": "roc_auc", "at_least": 0.5, "slices": ["carrier"], "min_rows": 50},
    ]
    return binary_usecase(**{"metrics": ["roc_auc", "brier"], "gates": gates, **evaluation})


def scored(usecase: UseCase, late: np.ndarray, carrier: np.ndarray = CARRIER):
    return score(usecase, TRUTH, np.stack([1 - late, late], axis=1), {"carrier": carrier})


def card_of(usecase: UseCase, folder: Path, lineage: CardLineage = LINEAGE, **evaluation) -> ModelCard:
    about = {"test_rows": 300, "agreement": 1e-6, "agreement_rows": 300, **evaluation}
    facts = Evaluation(**about)
    return write_card(usecase, facts, judge(usecase, facts), lineage, folder)


@pytest.fixture
def card(tmp_path) -> ModelCard:
    usecase = flights()
    return card_of(
        usecase,
        tmp_path,
        candidate=scored(usecase, LATE),
        champion=scored(usecase, LATE**2),
        champion_name="flight-delays/7",
        test_from="2013-03-01",
        test_to="2013-03-30",
    )


def test_the_card_answers_what_a_reviewer_asks(card):
    text = card.markdown.read_text()
    for fact in (
        "> Say before departure whether a flight arrives late.",
        "**Passed: all 4 rules hold (against flight-delays/7).**",
        "- **Owner**: operations, ops@example.com",
        "- **Accountable**: Head of Operations",
        "- **Risk**: limited",
        "- Crews over-trust it",
        "- Shown as one of three",
        "On 300 test rows from 2013-03-01 to 2013-03-30",
        "| learning_rate | 0.1 |",
        "| distance | number | any number |",
        "Code: model.py:train, seed 42.",
        "- Gate: roc_auc not worse than the champion's by more than 0.05",
        "99 of 100 answers within 50 ms",
        "- Drift: psi of all inputs over 1d up to 0.2",
        "- Live quality: roc_auc at least 0.6, labels known within 3d",
        "- **Run**: 8a7c11",
        "- **Data**: 0f3b2c9d1e77",
        "- **Code**: d0b72d5",
        "- **Model**: flight-delays/8",
        "- **Bento**: flight-delays:8",
        "- **Release**: commit 403c337d845d in staging",
    ):
        assert fact in text


def test_a_card_from_the_gate_does_not_pretend_to_know_the_release(tmp_path):
    usecase = flights()
    unregistered = LINEAGE.model_copy(update={"model": None, "bento": None, "commit": None})
    card = card_of(usecase, tmp_path, unregistered, candidate=scored(usecase, LATE))
    text = card.markdown.read_text()
    assert "- **Model**: not registered yet: this card is from the gate" in text
    assert "**Bento**" not in text
    assert "**Release**" not in text


def test_passed_and_failed_are_words_that_every_font_has(tmp_path):
    usecase = flights(gates=[{"metric": "brier", "at_most": 0.01}])
    text = card_of(usecase, tmp_path, candidate=scored(usecase, LATE)).markdown.read_text()
    rules = [line for line in text.split("## Verdict")[1].split("## ")[0].splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in rules[2:]] == ["| passed", "| passed", "| **failed**"]
    assert text.isascii()


def test_numbers_stand_to_the_right_and_pictures_under_a_heading_of_their_own(card):
    text = card.markdown.read_text()
    assert (
        "| Column | Value | Rows | roc_auc (champion) | brier (champion) |\n| --- | --- | ---: | ---: | ---: |" in text
    )
    assert 'style="text-align:right">Rows</th>' in card.html.read_text()
    assert text.index("## Verdict") < text.index("\n## Plots\n\n![Confusion") < text.index("## Slices")


def test_the_champion_stands_beside_the_candidate(card):
    usecase = flights()
    mine = scored(usecase, LATE).metrics["brier"]
    champions = scored(usecase, LATE**2).metrics["brier"]
    row = next(line for line in card.markdown.read_text().splitlines() if line.startswith("| brier "))
    assert row.endswith(f"| lower | {mine:.4g} | {champions:.4g} |")


def test_every_slice_has_its_line(card):
    slices = card.markdown.read_text().split("## Slices")[1].split("![")[0]
    lines = [line.split(" | ") for line in slices.splitlines() if line.startswith("| carrier")]
    assert [cells[1:3] for cells in lines] == [[name, str(np.sum(name == CARRIER))] for name in ("AA", "B6", "UA")]


def test_a_slice_without_a_value_says_why(tmp_path):
    usecase = flights()
    carrier = CARRIER.copy()
    carrier[np.flatnonzero(TRUTH == 1)[:4]] = "HA"
    carrier[np.flatnonzero(TRUTH == 1)[4:6]] = "O|O"
    card = card_of(usecase, tmp_path, candidate=scored(usecase, LATE, carrier))
    slices = card.markdown.read_text().split("## Slices")[1].split("![")[0]
    assert "| carrier | HA | 4 | - | " in slices
    assert "- roc_auc has no value for carrier HA, O\\|O: all rows are of class 'late'\n" in slices
    assert "roc_auc has no value for carrier HA, O|O: all rows are of class 'late'" in Page.of(card.html).text


def test_the_pictures_a_pair_of_classes_gets(card):
    assert [plot.stem for plot in card.plots] == ["confusion", "calibration", "roc", "slices-1-carrier"]
    for plot in card.plots:
        ElementTree.parse(plot)
        assert f"](plots/{plot.name})" in card.markdown.read_text()


def test_the_pictures_of_pictures_and_of_numbers(tmp_path):
    pictures, delays = picture_usecase(), delay_usecase()
    kinds = random.integers(0, 3, 60)
    card = card_of(pictures, tmp_path / "a", candidate=score(pictures, kinds, np.eye(3)[kinds], {}))
    assert [plot.stem for plot in card.plots] == ["confusion", "calibration"]
    minutes = random.normal(0, 20, 60)
    card = card_of(delays, tmp_path / "b", candidate=score(delays, minutes, minutes[:, None] + 1, {}))
    assert [plot.stem for plot in card.plots] == ["true-and-predicted"]


def test_the_html_stands_alone(card):
    page = Page.of(card.html)
    assert page.tags.count("svg") == len(card.plots)
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert [url for url in page.links if not url.startswith("#")] == []
    assert "prefers-color-scheme: dark" in card.html.read_text()
    assert "currentColor" in card.html.read_text()


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    usecase = flights()
    first, second = (card_of(usecase, tmp_path / name, candidate=scored(usecase, LATE)) for name in ("a", "b"))
    for one, other in zip(
        (first.html, first.markdown, *first.plots), (second.html, second.markdown, *second.plots), strict=True
    ):
        assert one.read_bytes() == other.read_bytes()


def test_what_users_write_is_shown_and_never_run(tmp_path):
    evil = "<script>alert(1)</script> [x](javascript:alert(2)) ![y](plots/z.svg) | `a` &amp; $x$"
    told = flights().model_dump()
    told["purpose"] = evil
    told["risk"]["concerns"] = [f"# {evil}", "1. first"]
    told["data"]["features"]["carrier"]["one_of"] = [evil]
    usecase = UseCase.model_validate(told)
    carrier = np.where(CARRIER == "UA", evil, CARRIER)
    lineage = LINEAGE.model_copy(update={"params": {evil: evil}, "run": evil})
    card = card_of(usecase, tmp_path, lineage, candidate=scored(usecase, LATE, carrier))
    page = Page.of(card.html)
    assert "script" not in page.tags
    assert not any("javascript" in url for url in page.links)
    assert page.text.count(evil) >= 5
    assert f"# {evil}" in page.text
    assert "1. first" in page.text
    raw = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.markdown.read_text())
    assert "<script" not in raw
    for plot in card.plots:
        assert "script" not in [element.tag.rpartition("}")[2] for element in ElementTree.parse(plot).iter()]


def test_a_first_release_and_a_silent_champion_are_told_apart(tmp_path):
    usecase = flights()
    alone = card_of(usecase, tmp_path / "a", candidate=scored(usecase, LATE))
    assert "There is no champion: this is a first release." in alone.markdown.read_text()
    broken = card_of(
        usecase,
        tmp_path / "b",
        candidate=scored(usecase, LATE),
        champion_name="flight-delays/7",
        champion_problem="the model cannot be loaded",
    )
    assert "flight-delays/7, could not be scored: the model cannot be loaded." in broken.markdown.read_text()
    assert "**Rejected: 1 of 4 rules failed" in broken.markdown.read_text()


def test_a_candidate_without_a_single_number_still_gets_its_card(tmp_path):
    usecase = flights()
    why = "3 of 300 outputs are not finite, first in row 17"
    nothing = {"candidate": unscored(usecase, 300, why), "candidate_problem": why, "agreement": None}
    card = card_of(
        usecase, tmp_path, LINEAGE.model_copy(update={"model": None, "as_of": None, "params": {}}), **nothing
    )
    text = card.markdown.read_text()
    assert "**Rejected" in text
    assert f"- roc_auc has no value: {why}" in text
    assert text.count("- **Model**: none, it was rejected") == 2
    assert "No parameters were set." in text
    assert card.plots == ()


def test_many_slices_and_long_names_stay_readable(tmp_path):
    usecase = flights(gates=[{"metric": "brier", "at_most": 0.9, "slices": ["carrier"], "min_rows": 2}])
    cells = np.array([f"a rather long name of carrier {index % 60}" for index in range(300)])
    card = card_of(usecase, tmp_path, candidate=scored(usecase, LATE, cells))
    text = card.markdown.read_text()
    assert "20 more values with fewer rows are in the evaluation file." in text
    assert "the 25 largest of 60" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("roc_auc at least 0.65", "roc_auc at least 0.65"),
        ("a|b\nc", r"a\|b c"),
        ("- item", r"\- item"),
        ("2. item", r"2\. item"),
        ("_soft_ *loud*", r"\_soft\_ \*loud\*"),
    ],
)
def test_text_is_escaped_only_where_it_must_be(text, escaped):
    assert escape(text) == escaped
    shown = re.sub("<.*?>", "", MarkdownIt("commonmark").render(escape(text))).strip()
    assert shown == " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0.123456, "0.1235"), (2e-6, "2e-06"), (1234567.8, "1,234,568"), (-3.0, "-3")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


class Page(HTMLParser):
    """The tags, links and visible text of an HTML file."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    @classmethod
    def of(cls, path: Path) -> "Page":
        page = cls()
        page.feed(path.read_text())
        return page

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data
