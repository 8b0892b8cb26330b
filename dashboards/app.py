"""The pages, one a question. Started by `melo dashboard`; reads only."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from dashboards import session
from dashboards.words import when
from registry.client import import_mlflow

ICON = Path(__file__).parent / "icon.svg"  # a named icon would be fetched from outside
# Streamlit's own margins leave half of a laptop's screen empty.
STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding: 2.6rem 2.4rem 4rem}
@media (max-width: 640px) {[data-testid="stMainBlockContainer"] {padding: 3rem 1rem 3rem}}
</style>"""
PAGES = {
    "overview": ("Overview", ":material/monitoring:"),
    "queue": ("Queue", ":material/inbox:"),
    "version": ("Version", ":material/deployed_code:"),
    "edit": ("Edit", ":material/edit_note:"),
    "routing": ("Routing", ":material/hub:"),
    "cost": ("Cost", ":material/speed:"),
    "ask": ("Ask", ":material/chat:"),
}


def main() -> None:
    """The frame around every page: navigation, and when the ledger was last published."""
    st.set_page_config(page_title="melo", page_icon=str(ICON), layout="wide")
    st.html(STYLE)
    _warm()
    pages = [
        st.Page(
            f"views/{name}.py", title=title, icon=icon, url_path=name, default=name == "overview"
        )
        for name, (title, icon) in PAGES.items()
    ]
    chosen = st.navigation(pages)
    with st.sidebar:
        _follow()
    chosen.run()


@st.fragment(run_every="10s")
def _follow() -> None:
    """Shows how old the copy is, and draws the page anew when another one is published."""
    stamp = session.stamp()
    if "stamp" in st.session_state and st.session_state.stamp != stamp:
        st.session_state.stamp = stamp
        st.rerun()
    st.session_state.stamp = stamp
    st.caption(f"Home `{session.settings().home.name}`")
    st.caption("No ledger is published here" if stamp is None else f"Ledger of {_published()}")


def _published() -> str:
    at = session.settings().paths.read_ledger.stat().st_mtime
    return when(datetime.fromtimestamp(at, UTC))


@st.cache_resource(show_spinner=False)
def _warm() -> threading.Thread:
    """Import what takes seconds while the first page is being read."""
    thread = threading.Thread(target=import_mlflow, name="warm", daemon=True)
    thread.start()
    return thread


main()
