"""Every page in a real browser, on the demo's home and on a large one: drawn whole, nothing outside.

Screenshots lie in build/pictures afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import (
    PAGES,
    Visit,
    address,
    open_page,
    picture,
    served,
)
from benchmarks.large_home import make_home

PICTURES = Path(__file__).parents[2] / "build" / "pictures"
HOMES = ("demo", "large")


@pytest.fixture(scope="module")
def addresses(
    demo_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Servers of the two homes, started by the command itself."""
    folder = tmp_path_factory.mktemp("large")
    make_home(folder / "home", probes=200, requests=5_000, key_size=32)
    with (
        served(demo_home, folder / "demo.log", ask=True) as demo,
        served(folder / "home", folder / "large.log") as large,
    ):
        yield {"demo": demo, "large": large}
    for name in HOMES:
        assert "Traceback" not in (folder / f"{name}.log").read_text(errors="replace")


def clean(visit: Visit) -> None:
    """Nothing failed and nothing outside was asked for."""
    assert visit.errors == []
    assert visit.outside == []
    assert visit.page.get_by_text("Page not found").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_drawn_whole_and_asks_nothing_outside(
    home: str, page: str, browser: Any, addresses: dict[str, str]
) -> None:
    visit = open_page(browser, address(addresses[home], page))
    picture(visit, PICTURES / f"{home}-{page}.png")
    clean(visit)
    assert visit.page.locator("h1").inner_text().lower() == page
    charts = visit.page.locator('[data-testid="stVegaLiteChart"]').count()
    suites = visit.page.locator(".multiples svg").count()
    assert suites >= (10 if page == "overview" else 0)
    assert (
        charts
        >= {"overview": 3, "queue": 2, "version": 1, "edit": 1, "routing": 1, "cost": 1, "ask": 0}[
            page
        ]
    )
    for chart in visit.page.locator('[data-testid="stVegaLiteChart"]').all():
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 100
        assert box["height"] > 60
    assert (PICTURES / f"{home}-{page}.png").stat().st_size > 10_000
    visit.page.context.close()


@pytest.mark.slow
def test_dark_and_narrow_pages_fit(browser: Any, addresses: dict[str, str]) -> None:
    for page in ("overview", "edit"):
        visit = open_page(browser, address(addresses["demo"], page), scheme="dark", width=400)
        picture(visit, PICTURES / f"demo-{page}-dark-narrow.png")
        clean(visit)
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert visit.page.evaluate(wide)
        colour = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        red = int(visit.page.evaluate(colour).split("(")[1].split(",")[0])
        assert red < 60
        visit.page.context.close()


@pytest.mark.slow
def test_a_chart_is_downloaded_and_a_filter_kept_by_keyboard(
    browser: Any, addresses: dict[str, str]
) -> None:
    visit = open_page(browser, f"{addresses['demo']}/queue")
    page = visit.page
    page.get_by_role("button", name="Save").first.focus()
    page.keyboard.press("Enter")
    for name, start in (("CSV", b"state"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            page.get_by_test_id("stDownloadButton").get_by_role("button", name=name).first.click()
        assert start in Path(download.value.path()).read_bytes()[:40]
    page.keyboard.press("Escape")
    box = page.get_by_role("combobox").first
    box.focus()
    box.press_sequentially("held")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queue?state=held")
    clean(visit)
    page.context.close()


@pytest.mark.slow
def test_a_question_is_answered_side_by_side(browser: Any, addresses: dict[str, str]) -> None:
    visit = open_page(browser, f"{addresses['demo']}/ask")
    page = visit.page
    page.get_by_label("Question").fill("How much does Tessel One cost?")
    page.keyboard.press("Enter")
    page.get_by_text("€199").first.wait_for(timeout=120_000)
    page.get_by_text("€149").first.wait_for()
    assert page.get_by_text("an edit answered").count() >= 1
    picture(visit, PICTURES / "demo-ask-answered.png")
    clean(visit)
    page.context.close()
