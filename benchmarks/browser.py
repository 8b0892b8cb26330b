"""The dashboards in a real browser: a server of a home, chromium, and a page that is fully drawn.

    with served(home) as url, chromium() as browser:
        visit = open_page(browser, f"{url}/queue")

Chromium is Debian's; `make browser` installs it. Nothing outside 127.0.0.1 is ever asked: what a page
tries to fetch from elsewhere is refused and listed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

PAGES = ("overview", "queue", "version", "edit", "routing", "cost", "ask")
NAMES = ("chromium", "chromium-browser", "google-chrome")
PROJECT = Path(__file__).resolve().parents[1]
MARGIN = 12  # pixels around a part of a page
WAIT = 180.0  # seconds for a server to answer and for a page to be drawn, on a busy machine
# Streamlit looks for itself below the page's path first, and takes the 404 as an answer.
PROBED = "/_stcore/"


@dataclass
class Visit:
    """A page that was opened. seconds: until its last part was drawn."""

    page: Any
    seconds: float = 0.0
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def browser_path() -> str | None:
    """Where chromium is, None where it is not installed."""
    configured = os.environ.get("MELO_CHROMIUM")
    return configured or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def served(home: Path, log: Path | None = None, *, ask: bool = False) -> Iterator[str]:
    """`melo dashboard` of a home on a free port; its address. Ends the server it started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "--home",
        str(home),
        "dashboard",
        "--port",
        str(port),
    ]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("wb")) if log else subprocess.DEVNULL
        server = subprocess.Popen(
            [*command, "--ask" if ask else "--no-ask"],
            cwd=PROJECT,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(server, f"{url}/_stcore/health")
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def address(url: str, page: str) -> str:
    """Where a page is: the first one is the server's own address."""
    return url if page == PAGES[0] else f"{url}/{page}"


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser. Raises FileNotFoundError where none is installed."""
    with _playwright() as (kind, options):
        browser = kind.launch(**options)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def returning() -> Iterator[Any]:
    """The browser of somebody who comes back: its profile keeps files and compiled scripts on disk.

    Yields a context for `open_page`. Raises FileNotFoundError where no browser is installed.
    """
    with (
        _playwright() as (kind, options),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        context = kind.launch_persistent_context(profile, **options, **_window())
        try:
            yield context
        finally:
            context.close()


@contextlib.contextmanager
def _playwright() -> Iterator[tuple[Any, dict[str, Any]]]:
    path = browser_path()
    if path is None:
        raise FileNotFoundError("chromium is not installed; run `make browser`.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        yield play.chromium, {"executable_path": path, "args": args}


def _window(scheme: str = "light", width: int = 1360, height: int = 900) -> dict[str, Any]:
    return {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": height},
        "reduced_motion": "reduce",
    }


def open_page(
    browser: Any,
    url: str,
    *,
    scheme: str = "light",
    width: int = 1360,
    height: int = 900,
    context: Any = None,
) -> Visit:
    """Open an address and wait until everything on it is drawn.

    context: opens a tab there, whose files the browser may have from before; None for a fresh one.
    """
    context = context or browser.new_context(**_window(scheme, width, height))
    visit = Visit(context.new_page())
    visit.page.on("request", lambda r: _note_outside(visit, r.url))
    visit.page.on("pageerror", lambda e: visit.errors.append(str(e)))
    visit.page.on(
        "response",
        lambda r: (
            visit.errors.append(f"{r.status} {r.url}")
            if r.status >= 400 and PROBED not in r.url
            else None
        ),
    )
    began = time.perf_counter()
    visit.page.goto(url, wait_until="commit")
    wait_until_drawn(visit.page)
    visit.seconds = time.perf_counter() - began
    if visit.page.locator('[data-testid="stException"]').count():
        visit.errors.append(visit.page.locator('[data-testid="stException"]').first.inner_text())
    return visit


def wait_until_drawn(page: Any) -> None:
    """Until the script has ended and every chart has its marks. Raises playwright's TimeoutError."""
    page.wait_for_selector('[data-testid="stMain"] h1', timeout=1000 * WAIT)
    page.wait_for_function(_DRAWN, timeout=1000 * WAIT)


def picture(
    visit: Visit, path: Path, *, longest: int = 9000, start: str = "", end: str = ""
) -> None:
    """The whole page as a PNG, at most `longest` pixels high.

    start, end: selectors of the first and the last part, where only those and what is between
    them is wanted, without the side bar.
    """
    page = visit.page
    width = page.viewport_size["width"]
    for _ in range(2):  # what a taller window shows may be taller itself
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(longest, int(tall))})
        page.wait_for_timeout(400)
    wait_until_drawn(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not start:
        page.screenshot(path=path)
        return
    first = page.locator(start).first.bounding_box()
    last = page.locator(end).last.bounding_box()
    main = page.locator('[data-testid="stMain"]').bounding_box()
    top, bottom = first["y"] - MARGIN, last["y"] + last["height"] + MARGIN
    clip = {"x": main["x"], "y": top, "width": main["width"], "height": bottom - top}
    page.screenshot(path=path, clip=clip)


def _note_outside(visit: Visit, url: str) -> None:
    parts = urlparse(url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
        visit.outside.append(url)


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the dashboard's server ended with code {server.returncode}.")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the dashboard's server did not answer within {WAIT:.0f} s.")


# The script has ended, nothing spins, and each chart holds a drawing.
_DRAWN = """() => {
    const all = q => [...document.querySelectorAll(q)];
    const app = document.querySelector('[data-testid="stApp"]');
    if (!app || app.dataset.testScriptState === 'running' || app.dataset.testScriptState === 'initial')
        return false;
    if (all('[data-testid="stSpinner"], [data-testid="stSkeleton"]').length) return false;
    const parts = all('[data-testid^="stBidiComponent"]').map(c => c.shadowRoot || c.querySelector('*'));
    if (!parts.every(c => c && c.querySelector('svg'))) return false;
    return all('[data-testid="stVegaLiteChart"]').every(c => c.querySelector('canvas, svg.marks'));
}"""
