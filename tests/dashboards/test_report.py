"""`melo report`: the overview as text and as one file that needs nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from config import Settings
from tests.conftest import Melo


def test_the_file_needs_nothing_beside_it(
    synthetic: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(synthetic.home)
    code, out, err = melo("report", "--html", str(tmp_path / "r.html"), "--since", "400d")
    assert code == 0, err
    assert "Written" in out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 4
    assert "<script" not in page
    fetched = re.findall(r"(?:src|srcset|data)=[\"']?([^\"' >]+)", page)
    fetched += re.findall(r"<link[^>]*>|@import|url\((?!#)[^)]*\)", page)
    assert fetched == []
    assert "The gate kept" in page


def test_the_text_says_what_the_page_says(
    synthetic: Settings, melo_in: Callable[[Path], Melo]
) -> None:
    code, out, _ = melo_in(synthetic.home)("report")
    assert code == 0
    for words in ("Champion: v30", "Edits in use:", "The gate kept", "Half of the reports"):
        assert words in out


def test_a_span_that_is_no_date_is_refused(
    synthetic: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    code, _, err = melo_in(synthetic.home)("report", "--since", "yesterdayish")
    assert code == 2
    assert "30d" in err
    code, _, err = melo_in(tmp_path / "nothing")("report")
    assert code == 2
    assert "nothing has been published yet" in err
