"""`melo report`: the overview in a terminal, or as one file for mail or a pull request."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from artifacts.atomic import write_atomically
from console.context import State, new_app, state

app = new_app()


@app.command()
def report(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="Versions since: a date (2026-11-01), or 30d, 12h, 8w.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a self-contained page to this file.", dir_okay=False)
    ] = None,
) -> None:
    """Is it getting better or worse? The overview, from the ledger's published copy."""
    from dashboards.queries import Records
    from dashboards.report import as_html, as_text

    here = state(ctx)
    settings, now = here.settings, datetime.now(UTC)
    start = moment(since, now) if since else None
    data = Records(settings, _to_read(here)).overview(now, None, start)
    if html is None:
        typer.echo(as_text(data, now))
        return
    write_atomically(html, as_html(data, now, start, settings.dashboard_url))
    typer.echo(f"Written to {html}.")


def _to_read(here: State) -> Path:
    """The published copy; the ledger itself where there is none and none can be written."""
    from ledger.insight import ReadCopy

    paths = here.settings.paths
    if not paths.ledger.exists() or ReadCopy(paths.read_ledger).is_current():
        return paths.read_ledger
    try:
        with here.ledger(create=False):
            pass
    except OSError:
        return paths.ledger
    return paths.read_ledger if paths.read_ledger.exists() else paths.ledger


def moment(text: str, now: datetime) -> datetime:
    """A date, or a span that ends now. Raises UsageProblem."""
    from console.errors import UsageProblem

    if span := re.fullmatch(r"(\d{1,4})([hdw])", text):
        hours = {"h": 1, "d": 24, "w": 168}[span[2]]
        return now - timedelta(hours=int(span[1]) * hours)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(
            f'--since "{text}" is no date; say 2026-11-01, or a span like 12h, 30d or 8w.'
        ) from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
