"""The page in a real browser that finds no host but this one: it loads, its numbers are right, it asks nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

from pipelines.monitor.page.routes import page_routes
from pipelines.monitor.page.view import look_at_all, look_at_model
from tests.chromium import Tab, chromium
from tests.page_cases import STAGING, Platform, a_busy_week, report_of
from tests.serving import free_port, wait_until

pytestmark = pytest.mark.slow

MODEL = "/models/flight-delays/staging"
DESK, PHONE = (1400, 800), (390, 800)
RUN = "flight-delays-20261116-120000-3c4d"


@pytest.fixture(scope="module")
def platform(tmp_path_factory) -> Iterator[Platform]:
    made = a_busy_week(tmp_path_factory.mktemp("page"))
    made.store.save_assessments([report_of(made)])
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def address(platform) -> Iterator[str]:
    """The routes behind a real server, in a thread of this process."""
    port = free_port()
    config = uvicorn.Config(Starlette(routes=page_routes(platform.sources)), port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the page's server")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser) -> Tab:
    browser.requests.clear()
    browser.complaints.clear()
    browser.look(*DESK)
    return browser


def rows(tab: Tab, table: str = ".models") -> list[str]:
    return tab.value(f"[...document.querySelectorAll('{table} tbody tr')].map(row => row.innerText)")


def overflow(tab: Tab) -> int:
    """How far the page is wider than its window."""
    return tab.value("document.documentElement.scrollWidth - window.innerWidth")


def contrast(tab: Tab, selector: str) -> float:
    """Of an element's words against the page, as WCAG measures it."""
    return tab.value(
        """(() => {
          const light = color => {
            const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(Number).map(x => x / 255)
              .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const words = light(getComputedStyle(document.querySelector('SELECTOR')).color);
          const ground = light(getComputedStyle(document.body).backgroundColor);
          return (Math.max(words, ground) + 0.05) / (Math.min(words, ground) + 0.05);
        })()""".replace("SELECTOR", selector)
    )


def test_all_models_with_their_numbers(tab, address, platform):
    tab.open(address)
    found = rows(tab)
    seen = look_at_all(platform.sources).models
    assert len(found) == len(seen)
    for row, line in zip(found, seen, strict=True):
        assert row.startswith(f"{line.usecase}\n{line.environment}")
        for one in (line.quality, line.drift):
            assert one is None or f"{one.value:.3f}" in row
    assert tab.value("document.title") == "(2) Models"
    assert tab.complaints == []


def test_a_click_leads_to_a_model_and_back(tab, address, platform):
    tab.open(address)
    tab.open(tab.value("document.querySelectorAll('.models th a')[1].href"))
    assert tab.text("h1") == "flight-delays in staging"
    assert tab.value("document.querySelectorAll('svg.chart polyline').length") >= 4
    quality = look_at_model(platform.sources, "flight-delays", STAGING).line.quality
    assert f"last {quality.value:.3f}" in tab.text("figcaption")
    assert tab.value("document.querySelector('.top nav a').href") == f"{address}/"
    assert tab.complaints == []


def test_no_request_leaves_the_host(tab, address):
    for path in ("/", MODEL, f"/cards/{RUN}", "/models/nobody/nowhere"):
        tab.open(address + path)
    assert len(tab.requests) >= 6
    assert [url for url in tab.requests if not url.startswith(f"{address}/")] == []


def test_charts_are_drawn_in_their_colours(tab, address):
    """The policy lets no inline style through: the style sheet has to reach into the pictures."""
    tab.open(address + MODEL)
    assert tab.value("getComputedStyle(document.querySelector('svg.chart .line')).fill") == "none"
    drawn = tab.value("[...document.querySelectorAll('svg.chart')].map(one => one.getBoundingClientRect().height)")
    assert all(height > 100 for height in drawn)


@pytest.mark.parametrize("path", ["/", MODEL])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_by_day_and_by_night(tab, address, path, dark):
    tab.look(*DESK, dark=dark)
    tab.open(address + path)
    ground = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark
    for selector in ("h1", "small", "a[href]", ".problem", ".fine", ".foot p"):
        assert contrast(tab, selector) >= 4.5, selector
    assert tab.complaints == []


@pytest.mark.parametrize("path", ["/", MODEL])
def test_a_phone_shows_it_without_scrolling_sideways(tab, address, path):
    tab.look(*PHONE)
    tab.open(address + path)
    assert overflow(tab) <= 0
    assert "Live quality" in tab.text()
    assert tab.value("[...document.querySelectorAll('td')].every(one => one.getBoundingClientRect().width <= 390)")


def test_evidently_s_report_draws_itself_within_its_fence(tab, address, platform):
    """Its scripts run, and reach neither the monitor nor anyone else."""
    report = look_at_model(platform.sources, "flight-delays", STAGING).reports[0]
    tab.open(address + report.url)
    wait_until(lambda: "Drift" in tab.text(), "the report", 60)
    assert tab.value("window.origin") == "null"
    assert [url for url in tab.requests if not url.startswith((address, "data:", "blob:"))] == []


def test_a_hostile_report_reaches_nothing(tab, address, platform):
    path: Path = platform.reports / STAGING / "flight-delays" / "20200101-000000-ok.html"
    path.write_text(
        "<script>document.title = 'ran'; fetch('/api/models').then(() => document.title = 'reached')"
        ".catch(() => document.title = 'fenced')</script>"
    )
    tab.open(f"{address}/reports/{STAGING}/flight-delays/{path.name}")
    wait_until(lambda: tab.value("document.title") != "ran", "the report's script")
    assert tab.value("document.title") == "fenced"
    path.unlink()


def test_a_model_card_is_shown_without_scripts(tab, address):
    tab.open(f"{address}/cards/{RUN}")
    assert tab.text("h1") == "Model card"
