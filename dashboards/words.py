"""Numbers as people say them: durations, shares, counts, ids, times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

NOTHING = "–"


def duration(seconds: float | None) -> str:
    """8 s, 12 min, 3.4 h, 5.2 days."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            amount = seconds / size
            return f"{amount:.0f} {name}" if amount >= 10 else f"{amount:.1f} {name}"
    return f"{seconds:.0f} s"


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, `–` where never."""
    return NOTHING if since is None else duration(max(0.0, (now - since).total_seconds()))


def share(value: float | None) -> str:
    """91.3%; 100% only where it is all, 0% only where it is none."""
    if value is None:
        return NOTHING
    if value in (0.0, 1.0):
        return f"{value:.0%}"
    return f"{min(max(100 * value, 0.1), 99.9):.1f}%"


def size(amount: float | None) -> str:
    """14 kB, 3.2 MB, 1.1 GB."""
    if amount is None:
        return NOTHING
    for limit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= limit:
            return f"{amount / limit:.1f} {name}"
    return f"{amount:.0f} B"


def count(number: int | None, singular: str, plural: str | None = None) -> str:
    """1 edit, 1,204 edits."""
    if number is None:
        return NOTHING
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def when(at: datetime | None) -> str:
    """2026-11-23 04:49 UTC."""
    return NOTHING if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def short(name: str | None) -> str:
    """An id as far as people read it."""
    return NOTHING if not name else name[:12]


def cut(text: str | None, length: int = 80) -> str:
    """A text that fits a line."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def from_home(text: str, home: Path) -> str:
    """A text with paths that begin at the home's own name, not with where it is on this machine."""
    place = str(home.absolute())
    return text.replace(place, home.absolute().name) if home.absolute().name else text
