"""How long each page of the dashboards takes, on a made-up home of any size, in a real browser.

    server warm, cache cold    the ledger's copy was just published anew: every query is asked
    server warm, cache warm    the same page again

Seconds are from the navigation to the last chart drawn. `floor` is the time of the page Ask, which
asks the ledger next to nothing: what Streamlit and the browser take for any page on this machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.browser import PAGES, address, chromium, open_page, picture, served
from benchmarks.large_home import make_home

LIMIT = 2.0  # seconds that a page may take
ROUNDS = 3


def bench(
    *,
    edits: int,
    versions: int,
    home: Path | None = None,
    pictures: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Seconds of each page, the median of three. home: measure this one instead of a made-up one.

    pictures: a folder for a screenshot of each page in light and dark, wide and narrow.
    """
    say = progress or (lambda text, done, total: None)
    with tempfile.TemporaryDirectory() as scratch:
        if home is None:
            say("making up a home", 0, 1)
            home = Path(scratch) / "home"
            make_home(home, edits=edits, versions=versions)
        with served(home) as url, chromium() as browser:
            open_page(browser, url).page.context.close()
            found = {}
            for number, name in enumerate(PAGES):
                say(f"opening {name}", number, len(PAGES))
                cold: list[float] = []
                warm: list[float] = []
                for _ in range(ROUNDS):
                    _publish_again(home)
                    for series in (cold, warm):
                        visit = open_page(browser, address(url, name))
                        if visit.errors or visit.outside:
                            raise RuntimeError(f"page {name}: {(visit.errors + visit.outside)[0]}")
                        series.append(visit.seconds)
                        visit.page.context.close()
                found[name] = {"cold": _median(cold), "warm": _median(warm)}
            if pictures is not None:
                shoot(browser, url, pictures, say)
    slowest = max(found, key=lambda n: found[n]["cold"])
    return {
        "edits": edits,
        "versions": versions,
        "seconds": found,
        "floor": found["ask"]["warm"],
        "slowest": slowest,
        "slowest_seconds": found[slowest]["cold"],
        "limit": LIMIT,
        "within_limit": found[slowest]["cold"] < LIMIT,
    }


def shoot(browser: Any, url: str, folder: Path, say: Callable[[str, int, int], None]) -> list[Path]:
    """A screenshot of each page in light and dark, wide and narrow."""
    written = []
    for number, name in enumerate(PAGES):
        say(f"photographing {name}", number, len(PAGES))
        for scheme in ("light", "dark"):
            for width, kind in ((1360, "wide"), (420, "narrow")):
                visit = open_page(browser, address(url, name), scheme=scheme, width=width)
                written.append(folder / f"{name}-{scheme}-{kind}.png")
                picture(visit, written[-1])
                visit.page.context.close()
    return written


def documentation_pictures(home: Path, folder: Path) -> list[Path]:
    """The two small pictures of the documentation: the overview in light, an edit in dark."""
    wanted = (("dashboard-overview", "overview", "light"), ("dashboard-edit", "edit", "dark"))
    written = []
    with served(home) as url, chromium() as browser:
        for name, page, scheme in wanted:
            visit = open_page(browser, address(url, page), scheme=scheme, width=1280)
            picture(visit, folder / f"{name}.png", longest=900 if page == "overview" else 1500)
            visit.page.context.close()
            written.append(folder / f"{name}.png")
    return [smaller(path) for path in written]


def smaller(path: Path, colours: int = 128) -> Path:
    """The picture with a palette instead of true colour: a third of its bytes."""
    from PIL import Image

    with Image.open(path) as full:
        full.convert("RGB").quantize(colours).save(path, optimize=True)
    return path


def _publish_again(home: Path) -> None:
    """As a writer does: a new copy in the place of the old one, so that no cached record holds."""
    copy = home / "read" / "ledger.duckdb"
    fresh = copy.with_name(".again")
    fresh.write_bytes(copy.read_bytes())
    os.replace(fresh, copy)


def _median(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 3)
