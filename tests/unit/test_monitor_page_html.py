"""The page as browsers and scripts get it: HTML that escapes everything, JSON, reports, cards, and dead ends."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from pipelines.monitor.inventory.inventory import Health
from pipelines.monitor.page import charts
from pipelines.monitor.page.routes import page_routes
from pipelines.monitor.page.view_models import ModelPage, Overview, Point
from pipelines.retraining.triggers import RunOutcome
from pipelines.usecase.model import Owner
from tests.monitoring_cases import NOW
from tests.page_cases import PRODUCTION, ROOT, STAGING, Platform, a_busy_week, evaluated, model, moved

RUN = "tiny-20261121-030002-1a2b"
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass
class Browser:
    """Asks the routes, mounted as the monitor mounts them or below a path."""

    platform: Platform
    below: str = ""

    def get(self, path: str, method: str = "GET") -> httpx.Response:
        routes = page_routes(self.platform.sources)
        app = Starlette(routes=[Mount(self.below, routes=routes)] if self.below else routes)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://monitor") as client:
                return await client.request(method, self.below + path)

        return asyncio.run(ask())

    def page(self, path: str) -> Page:
        found = self.get(path)
        assert found.status_code == 200, found.text
        return Page(found.text)


class Page(HTMLParser):
    """Its elements and its text; badly nested tags fail the test."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.elements, self.words, self.open = html, [], [], []
        self.feed(html)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> within {self.open}"
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def links(self) -> list[str]:
        return [str(attrs["href"]) for attrs in self.all("a")]


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path, [model()])
    yield made
    made.store.close()


@pytest.fixture
def browser(platform):
    return Browser(platform)


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """Read only."""
    made = a_busy_week(tmp_path_factory.mktemp("week"))
    yield Browser(made)
    made.store.close()


class TestAllModels:
    def test_the_page_says_how_many_need_a_person(self, week):
        page = week.page("/")
        assert "4 models: 2 with problems , 1 fine , 1 not released" in page.text
        assert "(2) Models" in page.text
        assert page.text.index("fashion-mnist") < page.text.index("churn")

    def test_every_model_leads_to_its_page(self, week):
        links = [link for link in week.page("/").links if link.startswith("/models/")]
        assert links == [
            "/models/fashion-mnist/staging",
            "/models/flight-delays/staging",
            "/models/flight-delays/production",
            "/models/churn/staging",
        ]
        assert {week.get(link).status_code for link in links} == {200}

    def test_numbers_stand_beside_their_limits(self, week):
        text = week.page("/").text
        told = {one.kind: one for one in evaluated(2.0, 0.45)}
        assert f"{told['quality'].value:.3f} < 0.7" in text
        assert f"{told['inputs'].value:.3f} > 0.2" in text

    def test_what_is_not_released_says_how_to_release_it(self, week):
        assert "mlops run churn" in week.page("/").text

    def test_nothing_is_watched_yet(self, platform, browser):
        platform.models = []
        page = browser.page("/")
        assert "No model is watched yet" in page.text
        assert "mlops run NAME" in page.text
        assert page.all("table") == []

    def test_a_database_that_is_away(self, platform, browser):
        (platform.folder / "monitor.db").unlink(missing_ok=True)  # it is made when it is first used
        platform.store.close()
        (platform.folder / "monitor.db").mkdir()
        for path in ("/", "/models/tiny/staging"):
            text = browser.page(path).text
            assert "The monitor's database does not answer" in text
            assert "tiny:7" in text
            assert "serving" in text
        assert browser.get("/api/models").json()["problems"]

    def test_it_is_loaded_anew_only_for_those_who_ask(self, browser):
        assert "refresh" not in {attrs.get("http-equiv") for attrs in browser.page("/").all("meta")}
        asked = browser.page("/?refresh=60")
        assert {"http-equiv": "refresh", "content": "60"} in asked.all("meta")
        assert "http-equiv" not in str(browser.page("/?refresh=0.001").all("meta"))


class TestOneModel:
    def test_charts_say_their_numbers(self, week):
        page = week.page("/models/flight-delays/staging")
        charts = [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("class") == "chart"]
        quality = next(one for one in evaluated(2.0, 0.45) if one.kind == "quality")
        low, high = quality.detail["interval"]
        assert charts[0].startswith(
            f"Live quality: last {quality.value:.3f} [{low:.3f}, {high:.3f}], limit 0.7; from {quality.value:.3f} to "
        )
        assert len(charts) == 4
        assert {attrs["role"] for attrs in page.all("svg") if "aria-hidden" not in attrs} == {"img"}

    def test_a_release_is_marked_on_every_chart(self, week):
        assert week.get("/models/flight-delays/staging").text.count('<line class="release"') == 4
        assert '<line class="release"' not in week.get("/models/flight-delays/production").text

    def test_other_environments_are_a_link_away(self, week):
        assert "/models/flight-delays/production" in week.page("/models/flight-delays/staging").links

    def test_a_shorter_time(self, week):
        page = week.page("/models/flight-delays/staging?days=1")
        assert "since 2026-11-20 12:00" in page.text
        assert week.page("/models/flight-delays/staging?days=x").text == week.page("/models/flight-delays/staging").text

    def test_a_model_that_nobody_watches_that_way(self, platform, browser):
        watch_none = platform.models[0].usecase
        monitoring = watch_none.monitoring.model_copy(update={"drift": None, "quality": None})
        platform.models = [replace(model(), usecase=watch_none.model_copy(update={"monitoring": monitoring}))]
        text = browser.page("/models/tiny/staging").text
        assert "has neither drift nor quality" in text
        assert "not watched" in text

    def test_a_model_that_is_not_released_any_more(self, platform, browser):
        platform.keep(evaluated(2.0, 0.45))
        platform.models = [model(version=None)]
        page = browser.page("/models/tiny/staging")
        assert "Not released" in page.text
        assert page.all("svg") == []

    def test_a_slice_or_column_without_a_value(self, platform, browser):
        drift, quality = (next(one for one in evaluated() if one.kind == kind) for kind in ("inputs", "quality"))
        column = {"column": "size", "score": None, "drifted": False, "note": "only 3 predictions have it"}
        part = {"column": "kind", "value": "a", "rows": 1, "metrics": {"roc_auc": None}}
        found = (
            drift.model_copy(update={"status": "skipped", "value": None, "detail": {"columns": [column]}}),
            quality.model_copy(update={"status": "failed", "value": None, "detail": {"slices": [part]}}),
        )
        platform.keep(found)
        text = browser.page("/models/tiny/staging").text
        assert "only 3 predictions have it" in text
        assert "Skipped" in browser.page("/").text

    def test_tables_name_their_columns_and_rows(self, week):
        for path in ("/", "/models/flight-delays/staging"):
            page = week.page(path)
            assert {attrs.get("scope") for attrs in page.all("th")} == {"col", "row"}
            assert page.html.count("<h1") == 1

    def test_a_state_is_a_word_and_a_shape_besides_its_colour(self, week):
        marks = [attrs for tag, attrs in week.page("/").elements if "mark" in str(attrs.get("class")).split()]
        assert marks
        assert all(attrs["data-shape"] in "■▲●○" for attrs in marks)


class TestHostileWords:
    @pytest.fixture
    def hostile(self, platform):
        """Everything that comes from outside: use cases, releases, evidence, columns, notes, problems."""
        usecase = platform.models[0].usecase.model_copy(
            update={"purpose": EVIL * 2, "owner": Owner(team=EVIL, contact=EVIL, accountable=EVIL)}
        )
        health = Health("failed", bento=EVIL, detail=EVIL, problem=EVIL, url="javascript:alert(1)")
        platform.models = [replace(model(), usecase=usecase, health=health, commit=EVIL)]
        platform.problems = (EVIL,)
        drift = next(one for one in evaluated(2.0, 0.45) if one.kind == "inputs")
        column = {"column": EVIL, "score": 3.0, "drifted": True, "note": EVIL, "new_categories": [EVIL]}
        detail = drift.detail | {"columns": [column], "left_out": {EVIL: EVIL}, "report_problem": EVIL}
        quality = next(one for one in evaluated() if one.kind == "quality")
        part = {"column": EVIL, "value": EVIL, "rows": 1, "metrics": {"roc_auc": 0.1}}
        platform.keep(
            (
                drift.model_copy(update={"summary": EVIL, "detail": detail, "report_path": EVIL}),
                quality.model_copy(update={"summary": EVIL, "detail": quality.detail | {"slices": [part]}}),
            )
        )
        platform.keep((moved(quality, "tiny", STAGING, NOW - timedelta(hours=1), bento=f"tiny:{EVIL}"),))
        platform.ask("tiny", "drift", EVIL, NOW, RunOutcome(outcome="failed", note=EVIL, run_id=EVIL))
        return Browser(platform)

    @pytest.mark.parametrize("path", ["/", "/models/tiny/staging", "/models/%3Cscript%3E/x", "/usecases/%3Cscript%3E"])
    def test_stay_words(self, hostile, path):
        page = Page(hostile.get(path).text)
        assert page.all("script") == []
        assert page.all("img") == []
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
        assert not [link for link in page.links if link.lower().startswith(("javascript:", "data:"))]
        assert "<script>" in page.text

    def test_a_report_that_could_not_be_drawn_is_said_to_be(self, hostile):
        assert "could not be drawn: " in Page(hostile.get("/models/tiny/staging").text).text

    def test_and_the_browser_is_told_to_run_nothing(self, hostile):
        policy = hostile.get("/").headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self' data:")
        assert "script" not in policy
        assert hostile.get("/").headers["x-content-type-options"] == "nosniff"


class TestJson:
    def test_is_what_the_page_shows(self, week):
        seen = Overview.model_validate(week.get("/api/models").json())
        assert [one.mark for one in seen.models] == ["problem", "problem", "fine", "unreleased"]
        one = ModelPage.model_validate(week.get("/api/models/flight-delays/staging?days=1").json())
        assert (one.days, one.line.quality.status) == (1, "alert")

    def test_a_model_that_is_not_there_is_a_problem_document(self, browser):
        found = browser.get("/api/models/churn/staging")
        assert found.status_code == 404
        assert found.headers["content-type"] == "application/problem+json"
        assert json.loads(found.text)["detail"] == "churn is not watched in staging; watched are: tiny/staging"


class TestWaysThere:
    def test_a_use_case_leads_to_where_it_is_released_for_good(self, week):
        found = week.get("/usecases/flight-delays")
        assert (found.status_code, found.headers["location"]) == (307, "/models/flight-delays/production")
        assert week.get("/usecases/churn").headers["location"] == "/models/churn/staging"

    @pytest.mark.parametrize("path", ["/models/nobody/staging", "/models/flight-delays/local", "/usecases/nobody"])
    def test_what_is_unknown_lists_what_is_known(self, week, path):
        found = week.get(path)
        assert found.status_code == 404
        assert "/models/flight-delays/production" in Page(found.text).links

    def test_below_another_path_all_links_stay_there(self, week):
        below = Browser(week.platform, "/monitor")
        for path in ("/", "/models/flight-delays/staging"):
            page = below.page(path)
            own = [link for link in page.links if not link.startswith(("http", "?"))]
            assert own
            assert all(link.startswith("/monitor/") for link in own)
            style = next(attrs["href"] for attrs in page.all("link") if attrs["rel"] == "stylesheet")
            assert below.get(style.removeprefix("/monitor")).status_code == 200
        assert below.get("/usecases/churn").headers["location"] == "/monitor/models/churn/staging"

    def test_nothing_is_asked_from_elsewhere(self, week):
        for path in ("/", "/models/flight-delays/staging"):
            page = week.page(path)
            fetched = [attrs["href"] for attrs in page.all("link")] + [attrs["src"] for attrs in page.all("img")]
            assert fetched
            assert all(address.startswith("/static/") for address in fetched)

    def test_reading_is_all_one_can_do(self, browser):
        for path in ("/", "/models/tiny/staging", "/api/models"):
            assert browser.get(path, "POST").status_code == 405
            assert browser.get(path, "HEAD").status_code == 200


class TestFiles:
    def test_the_style_sheet_is_kept_for_ever_under_the_name_of_its_content(self, browser):
        style = next(attrs["href"] for attrs in browser.page("/").all("link") if attrs["rel"] == "stylesheet")
        found = browser.get(style)
        assert re.fullmatch(r"/static/page\.[0-9a-f]{12}\.css", style)
        assert found.headers["content-type"].startswith("text/css")
        assert found.headers["cache-control"] == "public, max-age=31536000, immutable"

    @pytest.mark.parametrize("name", ["page.css", "page.000000000000.css", "../routes.py", "..%2froutes.py", ""])
    def test_no_other_file_is_static(self, browser, name):
        assert browser.get(f"/static/{name}").status_code == 404

    def test_a_report_may_draw_itself_and_no_more(self, platform, browser):
        folder = platform.reports / STAGING / "tiny"
        folder.mkdir(parents=True)
        (folder / "20261121-120000-alert.html").write_text("<script>draw()</script>")
        found = browser.get("/reports/staging/tiny/20261121-120000-alert.html")
        assert found.text == "<script>draw()</script>"
        policy = found.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts; default-src 'none'")
        assert "allow-same-origin" not in policy
        assert "connect-src" not in policy

    @pytest.mark.parametrize(
        "path",
        [
            "/reports/staging/tiny/20261121-120000-ok.html",
            "/reports/staging/tiny/..%2f..%2f..%2fmonitor.db",
            "/reports/..%2f..%2f..%2fetc/tiny/passwd",
            "/reports/staging/tiny/.20261121-120000-alert.html.17.tmp",
            "/reports/staging/..%2f/monitor.db",
            "/cards/..%2f..%2fmonitor.db",
            "/cards/%2e%2e",
            "/cards/tiny-20261121-120000-aaaa",
        ],
    )
    def test_no_path_leads_out_of_the_folders(self, platform, browser, path):
        (platform.reports / STAGING / "tiny").mkdir(parents=True)
        (platform.reports / STAGING / "tiny" / ".20261121-120000-alert.html.17.tmp").touch()
        assert browser.get(path).status_code == 404

    def test_nor_does_a_link_in_the_file_system(self, platform, browser):
        folder = platform.reports / STAGING / "tiny"
        folder.mkdir(parents=True)
        (folder / "20261121-120000-ok.html").symlink_to(platform.folder / "monitor.db")
        assert browser.get("/reports/staging/tiny/20261121-120000-ok.html").status_code == 404

    def test_the_model_card_of_a_run(self, platform, browser):
        platform.run(RUN, NOW)
        assert f"/cards/{RUN}" in browser.page("/models/tiny/staging").links
        found = browser.get(f"/cards/{RUN}")
        assert "<h1>Model card</h1>" in found.text
        assert found.headers["content-security-policy"].startswith("sandbox; default-src 'none'")

    def test_a_cluster_has_no_state_folder(self, platform, browser):
        platform.links = replace(platform.links, state=None)
        assert browser.get(f"/cards/{RUN}").status_code == 404


class TestCharts:
    def points(self, *values, hours=2, **more):
        return [
            Point(
                kind="inputs", time=NOW + timedelta(hours=hours * n), status="ok", bento="tiny:7", value=value, **more
            )
            for n, value in enumerate(values)
        ]

    def test_nothing_to_draw(self):
        assert charts.chart(self.points(None, None), "Drift") == ""
        assert charts.sparkline((None,), 0.2, "at_most", "Drift") == ""
        assert charts.in_words(self.points(None), "Drift") == "Drift: no value yet"

    @pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-3.5, -3.5], [1e-9, 2e-9], [1e12, 2e12], [5.0, 1e9]])
    def test_any_numbers_lie_within_the_picture(self, values):
        drawn = str(charts.chart(self.points(*values, threshold=0.2), "Drift"))
        heights = [float(y) for y in re.findall(r'(?:cy|y1|y)="([-0-9.]+)"', drawn)]
        assert heights
        assert all(0 <= y <= charts.HEIGHT for y in heights)
        assert "nan" not in drawn

    def test_a_gap_is_told_from_what_was_judged(self):
        with_gap = charts.sparkline((1, 2, None, 4, 5), None, "at_most", "Drift")
        assert [with_gap.count(f'<polyline class="{name}"') for name in ("gap", "line")] == [1, 2]
        assert 'class="gap"' not in charts.sparkline((1, 2, 4, 5), None, "at_most", "Drift")

    def test_what_is_beyond_is_a_square(self):
        assert "<rect" in charts.sparkline((0.1, 0.3), 0.2, "at_most", "Drift")
        assert "<rect" not in charts.sparkline((0.1, 0.3), 0.2, "at_least", "Quality")


def test_environments_of_a_use_case_are_told_apart(platform, browser):
    platform.models = [model(), model("tiny", PRODUCTION, "6", health=Health("down"))]
    assert [one["mark"] for one in browser.get("/api/models").json()["models"]] == ["problem", "fine"]


def test_reports_that_another_machine_wrote_have_no_link(platform, browser):
    platform.keep(evaluated(2.0, 0.45), report_path=str(Path("/elsewhere/20261121-120000-alert.html")))
    assert not [link for link in browser.page("/models/tiny/staging").links if link.startswith("/reports")]


def test_a_page_costs_no_heavy_library():
    """Evaluations have their own process; the one that answers stays small."""
    code = (
        "import sys\nfrom pipelines.monitor.page.routes import page_routes\n"
        "from pipelines.monitor.page.rendering import render\nrender\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not set(loaded.split()) & {"pandas", "evidently", "sklearn", "matplotlib", "mlflow", "pyarrow"}
