"""A synthetic home, pages that run without a browser, and a home whose versions are real."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from altair.utils.schemapi import enable_debug_mode
from streamlit.testing.v1 import AppTest

from benchmarks.large_home import make_home as make_synthetic_home
from config import Settings
from dashboards.charts import base as _base  # noqa: F401  which turns it off
from ledger.insight import ReadCopy
from ledger.store import Connection
from tests.conftest import make_home, report
from tests.pipeline import promoted, take

enable_debug_mode()  # every chart that a test draws is held against Vega-Lite's schema

APP = Path(__file__).parents[2] / "dashboards" / "app.py"


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of 900 edits, 30 versions and a week's traffic. Nobody may write to it."""
    home = tmp_path_factory.mktemp("synthetic") / "home"
    return make_synthetic_home(home, edits=900, versions=30, probes=132, requests=900, key_size=16)


@pytest.fixture
def raw(synthetic: Settings) -> Iterator[Connection]:
    """The raw tables of the synthetic home."""
    with ReadCopy(synthetic.paths.read_ledger).open() as con:
        yield con


@pytest.fixture(scope="session")
def lived(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_backbone_path: Path,
    projections: Path,
    empty_store: Path,
) -> Settings:
    """A home in which two jobs were trained, gated, registered and promoted. Nobody may write to it."""
    from execution.context import open_ledger

    settings = make_home(tmp_path_factory.mktemp("lived") / "home", tiny_backbone_path)
    shutil.copy(empty_store, settings.paths.mlflow_db)
    shutil.copytree(projections, settings.paths.cache / "projections")
    with open_ledger(settings) as ledger:
        for number in range(2):
            take(settings, ledger, report(number), report(number + 2))
            promoted(settings, ledger)
    return settings


Opened = Callable[..., AppTest]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a page of a home, as the address with these filters would."""
    import streamlit as st

    def open_page(home: Path, page: str = "overview", **filters: str) -> AppTest:
        monkeypatch.setenv("MELO_HOME", str(home))
        app = AppTest.from_file(APP, default_timeout=90)
        app.run()
        for name, value in filters.items():
            app.query_params[name] = value
        if page != "overview" or filters:
            app.switch_page(f"views/{page}.py").run()
        return app

    st.cache_data.clear()
    return open_page


def said(app: AppTest) -> str:
    """All text of a page."""
    parts = [*app.title, *app.markdown, *app.caption, *app.warning, *app.code]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def figures(app: AppTest) -> dict[str, str]:
    """The cards of a page: label and value."""
    return {metric.label: str(metric.value).replace("\\", "") for metric in app.metric}


def address(app: AppTest, name: str) -> str:
    """What the page's address says for a filter."""
    value = app.query_params[name]
    return value if isinstance(value, str) else "".join(value)
