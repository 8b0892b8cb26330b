"""The review queue in a real browser: by keyboard, on record, and for nobody without the key.

Screenshots lie in build/pictures afterwards.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import TimeoutError

from benchmarks.browser import open_page, served, wait_until_drawn
from config import Settings, load
from execution.context import Context
from ledger import Ledger
from serving.keys import KeyStore
from tasks.ingest import ingest_rows, rules_from

PICTURES = Path(__file__).parents[2] / "build" / "pictures"
TRICKY = "<img src=x onerror=alert(1)> **Who** leads [Beta](http://beta.example)? :material/home:"
WAIT = 60_000  # milliseconds
PRESSES = 3


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a question reported twice, a contradiction, and an edit that needs a review."""
    home = tmp_path_factory.mktemp("review") / "home"
    home.mkdir()
    (home / "melo.toml").write_text('[sources.desk]\npolicy = "review"\n')
    found = load(home)
    norway = {"prompt": "Capital of Norway?", "old_answer": "Bergen"}
    rows: dict[str, list[dict[str, object]]] = {
        "web": [norway | {"comment": "should be Oslo"}, norway | {"comment": "<b>no</b>"}],
        "chat": [{"prompt": "Who wrote Faust?", "old_answer": "Schiller"}],
        "a": [{"prompt": "Who leads Acme?", "target": "Ann"}],
        "b": [{"prompt": "Who leads Acme?", "target": "Bo"}],
        "desk": [{"prompt": TRICKY, "target": "<script>alert(2)</script>"}],
    }
    with Ledger.open(found.paths.ledger, read_copy=found.paths.read_ledger) as ledger:
        for source, given in rows.items():
            ingest_rows(Context(found, ledger), given, source=source)
    return found


@pytest.fixture(scope="module")
def url(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("log") / "dashboard.log"
    with served(settings.home, log) as address:
        yield address
    assert "Traceback" not in log.read_text(errors="replace")


def use_key(page: Any, key: str) -> None:
    page.locator("input[type=password]").fill(key)
    page.keyboard.press("Enter")


def press(page: Any, key: str, then: str) -> None:
    """One key, and what the card says then, drawn whole: its own keys are there.

    A button listens for its key a moment after it is drawn; a key that came too early is pressed again,
    but for Z, which would undo another decision.
    """
    presses = 1 if key == "z" else PRESSES
    for attempt in range(presses):
        page.keyboard.press(key)
        try:
            page.get_by_text(then, exact=False).first.wait_for(timeout=WAIT / presses)
            break
        except TimeoutError:
            said = page.locator('[data-testid="stMain"]').inner_text()
            if attempt == presses - 1:
                pytest.fail(
                    f"{key!r} pressed {presses} times: no {then!r} on the page:\n{said[:2000]}"
                )
    wait_until_drawn(page)


@pytest.mark.slow
def test_without_the_key_the_page_only_reads(browser: Any, url: str, settings: Settings) -> None:
    visit = open_page(browser, f"{url}/queue")
    page = visit.page
    page.get_by_text("melo review answer").first.wait_for(timeout=WAIT)
    assert page.get_by_role("button", name="Reject").count() == 0
    use_key(page, KeyStore(settings.paths.keys).add("ask", ["ask"])[1])
    page.get_by_text("lacks the scope review").first.wait_for(timeout=WAIT)
    use_key(page, "melo-1-2")
    page.get_by_text("This is no valid key").first.wait_for(timeout=WAIT)
    assert page.get_by_role("button", name="Reject").count() == 0
    assert Ledger.open(settings.paths.ledger).decisions.find() == []
    page.context.close()


@pytest.mark.slow
def test_everything_is_decided_by_keyboard(browser: Any, url: str, settings: Settings) -> None:
    key = KeyStore(settings.paths.keys).add("eva", ["review"])[1]
    visit = open_page(browser, f"{url}/queue")
    page = visit.page
    use_key(page, key)
    page.get_by_text("Deciding as").wait_for(timeout=WAIT)
    page.get_by_role("button", name="Answer “Oslo”").wait_for(timeout=WAIT)
    wait_until_drawn(page)
    press(page, "1", "would change")
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "review-change.png")
    press(page, "y", "1 decided here")

    press(page, "z", "undone")  # the answer is held, the question back
    press(page, "1", "would change")
    press(page, "y", "2 decided here")

    page.get_by_text("Who wrote Faust?").first.wait_for(timeout=WAIT)
    page.keyboard.press("w")
    box = page.get_by_label("The right answer")
    box.wait_for(timeout=WAIT)
    page.wait_for_function("document.activeElement.ariaLabel === 'The right answer'", timeout=WAIT)
    page.keyboard.type("Goethe")
    press(page, "Enter", "would change")
    press(page, "y", "3 decided here")

    page.get_by_role("button", name="Choose “Bo”").wait_for(timeout=WAIT)
    number = "2" if page.get_by_text("→ Ann").count() else "1"
    press(page, number, "would change")
    press(page, "y", "4 decided here")

    page.get_by_text("<script>alert(2)</script>").first.wait_for(timeout=WAIT)
    page.screenshot(path=PICTURES / "review-card.png")
    assert page.get_by_text("<img src=x onerror=alert(1)>").count() >= 1
    card = page.locator(".st-key-card")
    assert card.locator("img, script, a[href*='beta.example']").count() == 0
    press(page, "u", "would change")
    press(page, "y", "5 decided here")
    press(page, "d", "would change")
    page.keyboard.press("x")  # no: back to the card
    page.get_by_role("button", name="Approve").wait_for(timeout=WAIT)
    wait_until_drawn(page)
    press(page, "a", "would change")
    press(page, "y", "6 decided here")
    page.get_by_text("Nothing waits for a person.").wait_for(timeout=WAIT)
    assert visit.errors == []
    assert visit.outside == []
    assert key not in page.url
    page.context.close()

    ledger = Ledger.open(settings.paths.ledger)
    ready = {edit.target: edit.urgent for edit in ledger.edits.find(state="ready")}
    assert ready == {
        "Oslo": False,
        "Goethe": False,
        "Bo": False,
        "<script>alert(2)</script>": True,
    }
    assert ledger.review.waiting() == []
    made = ledger.decisions.find()
    assert [d.action for d in reversed(made)] == [
        "answer",
        "answer",
        "answer",
        "approve",
        "urgent",
        "approve",
    ]
    assert {(d.actor, d.reason) for d in made} == {("eva", "as the card shows")}
    assert ledger.audit() == []


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), (None, 101)])
def test_a_page_of_another_origin_gets_no_connection(
    url: str, origin: str | None, status: int
) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.request(
        "GET",
        "/_stcore/stream",
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Origin": origin or url,
        },
    )
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.slow
def test_two_questions_that_were_taken_for_one_are_both_let_in(
    browser: Any, tmp_path: Path
) -> None:
    settings = load(tmp_path / "home")
    asked = {"Who chairs Acme?": "Ann", "Who is deputy chair of Acme?": "Bo"}
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        context = Context(settings, ledger)
        for (prompt, target), source in zip(asked.items(), "ab", strict=True):
            row = {"prompt": prompt, "target": target, "subject": "Acme"}
            ingest_rows(context, [row], source=source)
        ids = [edit.id for edit in ledger.edits.find()]
        ledger.deduplication.set_groups(dict.fromkeys(ids, ids[0]), rules=rules_from(settings))
        ledger.store.publish()
    key = KeyStore(settings.paths.keys).add("eva", ["review"])[1]
    with served(settings.home, tmp_path / "dashboard.log") as address:
        page = open_page(browser, f"{address}/queue").page
        use_key(page, key)
        page.get_by_role("button", name="Both are right").wait_for(timeout=WAIT)
        wait_until_drawn(page)
        press(page, "e", "would change")
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / "review-both.png")
        press(page, "y", "1 decided here")
        page.context.close()
    with Ledger.open(settings.paths.ledger) as ledger:
        assert {edit.state for edit in ledger.edits.find()} == {"ready"}
        assert ledger.audit() == []
