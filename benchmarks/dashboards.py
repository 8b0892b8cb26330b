"""How long each page of the dashboards takes, on a synthetic home of any size, in a real browser.

    cold    the ledger's copy was just published anew: every query is asked
    warm    the same page again

Each is a new tab of a browser that has opened each page before, with its profile on disk: it has the
server's script files, compiled. `first_visit` is the overview in a browser that has been nowhere yet.
Seconds are from the navigation to the last chart drawn. `floor` is the time of the page Ask, which asks
the ledger next to nothing: what Streamlit and the browser take for any page on this machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from artifacts.atomic import write_atomically
from benchmarks.browser import (
    PAGES,
    address,
    chromium,
    open_page,
    picture,
    returning,
    served,
)
from benchmarks.large_home import make_home
from benchmarks.progress import Report, silent
from config import load
from ledger.insight import ReadCopy
from ledger.insight.readcopy import row

LIMIT = 2.0  # seconds that a page may take
ROUNDS = 5


def bench(
    *,
    edits: int,
    versions: int,
    home: Path | None = None,
    pictures: Path | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """Seconds of each page, the median of five. home: measure this one instead of a synthetic one.

    pictures: a folder for a screenshot of each page in light and dark, wide and narrow.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if home is None:
            home = Path(scratch) / "home"
            make_home(home, edits=edits, versions=versions, progress=progress)
        with served(home) as url:
            with chromium() as browser:
                open_page(browser, url).page.context.close()  # the server's imports
                first = open_page(browser, url)
                if pictures is not None:
                    shoot(browser, url, pictures, progress)
            with returning() as context:
                for name in PAGES:
                    open_page(None, address(url, name), context=context).page.close()
                seconds = {name: _seconds(context, url, name, home, progress) for name in PAGES}
    slowest = max(seconds, key=lambda n: seconds[n]["cold"])
    return {
        "edits": edits,
        "versions": versions,
        "seconds": seconds,
        "first_visit": round(first.seconds, 3),
        "floor": seconds["ask"]["warm"],
        "slowest": slowest,
        "slowest_seconds": seconds[slowest]["cold"],
        "limit": LIMIT,
        "within_limit": seconds[slowest]["cold"] < LIMIT,
    }


def _seconds(context: Any, url: str, name: str, home: Path, say: Report) -> dict[str, float]:
    """Of one page, cold and warm: the median of some rounds."""
    series: dict[str, list[float]] = {"cold": [], "warm": []}
    for turn in range(ROUNDS):
        say(f"opening {name}", turn, ROUNDS)
        _publish_again(home)
        for seconds in series.values():
            visit = open_page(None, address(url, name), context=context)
            if visit.errors or visit.outside:
                raise RuntimeError(f"page {name}: {(visit.errors + visit.outside)[0]}")
            seconds.append(visit.seconds)
            visit.page.close()
    say(f"opening {name}", ROUNDS, ROUNDS)
    return {kind: _median(seconds) for kind, seconds in series.items()}


def shoot(browser: Any, url: str, folder: Path, say: Report) -> list[Path]:
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
    written = [folder / "dashboard-overview.png", folder / "dashboard-edit.png"]
    edit = f"{address('', 'edit')}?edit={telling_edit(home)}"
    with served(home) as url, chromium() as browser:
        visit = open_page(browser, url, width=1280)
        picture(visit, written[0], longest=940)
        visit.page.context.close()
        visit = open_page(browser, url + edit, scheme="dark", width=1280)
        picture(visit, written[1], start="h3", end='[data-testid="stVegaLiteChart"]')
        visit.page.context.close()
    return [smaller(path) for path in written]


def telling_edit(home: Path) -> str:
    """The edit in use with the most kinds of probes near it: there is most to see on its page."""
    with ReadCopy(load(home).paths.read_ledger).open() as con:
        edit = row(con, _TELLING)
    if edit is None:
        raise RuntimeError(f"{home.name} has no edit in use whose probes are on record.")
    return str(edit["edit_id"])


def smaller(path: Path, colours: int = 256) -> Path:
    """The picture with a palette instead of true colour: a third of its bytes."""
    from PIL import Image

    with Image.open(path) as full:
        # A colour that only a few points have is kept: it tells what they are.
        few = full.convert("RGB").quantize(colours, method=Image.Quantize.MAXCOVERAGE)
        few.save(path, optimize=True)
    return path


_TELLING = """
SELECT s.edit_id
FROM edit_states s JOIN edits e USING (edit_id)
     JOIN probe_results p ON split_part(p.probe_id, ':', 2) = s.edit_id
WHERE s.state = 'active' AND NOT isnan(p.distance)
GROUP BY s.edit_id, e.seq ORDER BY count(DISTINCT p.suite) DESC, count(DISTINCT p.prompt) DESC, e.seq
LIMIT 1
"""


def _publish_again(home: Path) -> None:
    """As a writer does: a new copy in the place of the old one, so that no cached record holds."""
    copy = home / "read" / "ledger.duckdb"
    write_atomically(copy, copy.read_bytes())


def _median(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 3)
